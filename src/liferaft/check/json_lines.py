"""Our own format: JSON lines, one event a line, in the order in which things happened.

    {"process": 1, "type": "invoke", "f": "put", "key": "k", "value": "v", "time": 1.25}
    {"process": 1, "type": "ok", "f": "put", "key": "k", "time": 1.5}

`type` is invoke, ok, fail (it has not happened) or info (it may have). `key` and `time` may be left
out; the order of the lines counts, not the time. See docs/check.md.
"""

from collections.abc import Hashable, Iterable, Iterator

import msgspec

from liferaft.check.history import HistoryError
from liferaft.check.pairing import EventType, HistoryEvent
from liferaft.check.values import frozen


class JsonEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One line."""

    process: int | str
    type: EventType
    f: str
    key: object = None
    value: object = None
    time: float | None = None


_decode = msgspec.json.Decoder(JsonEvent).decode


def parse_json_lines(lines: Iterable[tuple[int, str]], *, file: str = "") -> Iterator[HistoryEvent]:
    """Return the events of numbered lines; raises `HistoryError` naming the line."""
    for number, text in lines:
        try:
            event = _decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise HistoryError(
                f'expected {{"process": ..., "type": "invoke", "f": ...}}: {error}',
                file=file,
                line=number,
            ) from error
        key = frozen(event.key)
        if not isinstance(key, Hashable):
            raise HistoryError(f"{event.key!r} cannot be a key", file=file, line=number)
        yield HistoryEvent(event.process, event.type, event.f, key, event.value, number)
