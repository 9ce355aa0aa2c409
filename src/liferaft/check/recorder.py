"""Writes a history down while it happens, as JSON lines that `reading.py` understands.

A line is with the system when the method returns, so a program that is killed leaves at most
operations whose answer is unknown. Nothing is kept back to be written later.
"""

import os
import threading
import time
from collections.abc import Hashable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from liferaft.check.history import HistoryError
from liferaft.check.pairing import EventType


class _Line(msgspec.Struct, omit_defaults=True):
    process: int | str
    type: EventType
    f: str
    time: float
    key: object = None
    value: object = None


class HistoryRecorder:
    """Appends what clients ask and are told to a file; any number of clients and threads share it.

    Each client has a process number of its own, for example from `new_process`, and does one thing
    at a time: `invoke` before the call, then `ok`, `fail` or `info`. After `info` the call may
    still take effect at any time; the client can go on.

    Values are what JSON can hold. Files are appended to: give each run a file of its own.
    """

    def __init__(self, path: Path | str) -> None:
        self.path: Final = Path(path)
        self._lock: Final = threading.Lock()
        self._open: Final[dict[int | str, tuple[str, Hashable]]] = {}
        self._process_count = 0
        self._descriptor: int | None = os.open(
            self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def new_process(self) -> int:
        """Return a process number that was not returned before, counted from 0."""
        with self._lock:
            self._process_count += 1
            return self._process_count - 1

    def invoke(
        self, process: int | str, function: str, value: object = None, *, key: Hashable = None
    ) -> None:
        """Write down that a process is about to call a function: before it does.

        Raises `HistoryError` when it has called another one that is not answered, or when a value
        cannot be written as JSON.
        """
        with self._lock:
            if process in self._open:
                raise HistoryError(
                    f"process {process} invokes {function}, but its {self._open[process][0]} is "
                    "not answered: call ok, fail or info first"
                )
            self._write(process, "invoke", function, key, value)
            self._open[process] = (function, key)

    def ok(self, process: int | str, value: object = None) -> None:
        """Write down that the call of a process was answered with this result."""
        self._answer(process, "ok", value)

    def fail(self, process: int | str, value: object = None) -> None:
        """Write down that the call of a process has definitely not happened, and never will.

        A call that was refused by the object itself, such as a cas, is `ok` with False instead.
        """
        self._answer(process, "fail", value)

    def info(self, process: int | str, value: object = None) -> None:
        """Write down that nobody knows what became of the call: it may have happened, or may yet.

        `value` can say why.
        """
        self._answer(process, "info", value)

    def close(self) -> None:
        """Close the file; calls that are not answered stay so."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _answer(self, process: int | str, kind: EventType, value: object) -> None:
        with self._lock:
            if process not in self._open:
                raise HistoryError(
                    f"process {process} is answered {kind}, but nothing of it is open: "
                    "call invoke first"
                )
            function, key = self._open[process]
            self._write(process, kind, function, key, value)
            del self._open[process]

    def _write(
        self, process: int | str, kind: EventType, function: str, key: Hashable, value: object
    ) -> None:
        if self._descriptor is None:
            raise HistoryError("the recorder is closed: make a new one", file=str(self.path))
        event = _Line(process, kind, function, time.monotonic(), key, value)
        try:
            data = memoryview(msgspec.json.encode(event) + b"\n")
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise HistoryError(f"this cannot be written as JSON: {error}") from error
        while data:
            data = data[os.write(self._descriptor, data) :]
