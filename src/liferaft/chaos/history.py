"""What the clients did and were told: one JSON object a line, appended as it happens.

    {"process": 1, "type": "invoke", "f": "put", "key": "k", "value": "v", "time": 1.25}

`type` is "invoke", then for the same process one of "ok", "fail" (nothing was executed) and "info"
(executed or not, at any later time; that process does nothing any more). `time` is in seconds on
the machine's monotonic clock, which all processes share. A line is in the file before the call is
made, so a client that is killed leaves at most calls whose outcome is unknown.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

Value = str | int | None


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. An event of the to-do list has no key."""

    process: int
    type: Literal["invoke", "ok", "fail", "info"]
    f: str
    time: float
    key: str | None = None
    value: Value = None


class Call(msgspec.Struct, frozen=True):
    """An invocation and what became of it; `returned_at` is None when that is unknown."""

    process: int
    function: str
    key: str | None
    argument: Value
    result: Value
    invoked_at: float
    returned_at: float | None


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Event)


class Recorder:
    """Appends events to a file. Each is with the system when `record` returns."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def record(self, event: Event) -> None:
        """Append a line."""
        os.write(self._descriptor, _encoder.encode(event) + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def read_events(path: Path) -> Iterator[Event]:
    """Give the events of a file; a last line without its end was never written whole."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        yield _decoder.decode(line)


def calls_of(events: Iterable[Event]) -> list[Call]:
    """Return the calls in the order of their ends; those that failed for certain are left out.

    Raises `ValueError` when a process ends what it did not begin, or begins two things at once.
    """
    calls: list[Call] = []
    open_events: dict[int, Event] = {}
    for event in events:
        begun = open_events.pop(event.process, None)
        if (begun is None) != (event.type == "invoke"):
            raise ValueError(f"process {event.process} cannot have {event.type!r} at {event.time}")
        if begun is None:
            open_events[event.process] = event
        elif event.type != "fail":
            calls.append(_call(begun, event if event.type == "ok" else None))
    return calls + [_call(begun, None) for begun in open_events.values()]


def write_history(path: Path, calls: Iterable[Call]) -> None:
    """Write what all clients did with keys, so that `liferaft check --model kv` reads it.

    What began at the very moment at which another ended may have been at the same time.
    """
    moments: list[tuple[float, int, Event]] = []
    for call in calls:
        if call.key is None:
            continue
        event = Event(
            call.process, "invoke", call.function, call.invoked_at, call.key, call.argument
        )
        moments.append((call.invoked_at, 0, event))
        if call.returned_at is not None:
            event = Event(
                call.process, "ok", call.function, call.returned_at, call.key, call.result
            )
            moments.append((call.returned_at, 1, event))
    moments.sort(key=lambda moment: moment[:2])
    path.write_bytes(b"".join(_encoder.encode(event) + b"\n" for _, _, event in moments))


def _call(begun: Event, answer: Event | None) -> Call:
    return Call(
        process=begun.process,
        function=begun.f,
        key=begun.key,
        argument=begun.value,
        result=None if answer is None else answer.value,
        invoked_at=begun.time,
        returned_at=None if answer is None else answer.time,
    )
