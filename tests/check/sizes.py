"""Writes the histories whose figures docs/check.md tells: python -m tests.check.sizes DIRECTORY."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from liferaft.check.history import Operation
from tests.check.test_limits import one_key, ten_keys, with_a_stale_read


def write_history(path: Path, operations: Sequence[Operation]) -> None:
    """Write operations as JSON lines, an unanswered one with its invocation only."""
    events: list[tuple[float, dict[str, object]]] = []
    process = 0
    names: dict[int | str, int] = {}
    for operation in operations:
        # A process whose operation got no answer is never heard of again, as in Jepsen.
        name = names.setdefault(operation.process, process)
        process = max(process, name + 1)
        if operation.returned_at is None:
            del names[operation.process]
        line = {"process": name, "f": operation.function, "key": operation.key}
        asked = {**line, "type": "invoke", "value": operation.argument}
        events.append((operation.invoked_at, asked))
        if operation.returned_at is not None:
            told = {**line, "type": "ok", "value": operation.result}
            events.append((operation.returned_at, told))
    events.sort(key=lambda event: event[0])
    encode = msgspec.json.Encoder().encode
    path.write_bytes(b"".join(encode(event) + b"\n" for _, event in events))


def main(directory: Path) -> None:
    """Write all of them."""
    directory.mkdir(parents=True, exist_ok=True)
    write_history(directory / "ten-keys.ndjson", ten_keys())
    write_history(directory / "ten-keys-stale.ndjson", with_a_stale_read(ten_keys()))
    write_history(directory / "one-key.ndjson", one_key(clients=10))
    write_history(directory / "thirty-clients.ndjson", one_key(clients=30))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
