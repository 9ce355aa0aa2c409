"""Writes a history down while it happens, as JSON lines that `reading.py` reads back."""

from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from liferaft.check.json_lines import JsonEvent
from liferaft.check.pairing import EventType


class HistoryRecorder:
    """Appends events to a file, each on disk's way before the next: a crash loses none behind it.

    One process of the operating system may record for many processes of the history.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - closed by `close`
        self._encode = msgspec.json.Encoder().encode

    def record(
        self,
        process: int | str,
        type: EventType,  # noqa: A002 - the format's own name
        function: str,
        *,
        key: object = None,
        value: object = None,
        time: float | None = None,
    ) -> None:
        """Write one event; its place among the others is what counts."""
        event = JsonEvent(process, type, function, key, value, time)
        self._file.write(self._encode(event) + b"\n")

    def close(self) -> None:
        """Close the file; may be called again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
