"""From events to operations: which answer belongs to which invocation.

The formats differ in how they write events, not in what these mean; that is decided here alone.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import Final, Literal

import msgspec

from liferaft.check.history import HistoryError, Operation

EventType = Literal["invoke", "ok", "fail", "info"]

EVENT_TYPES: Final = ("invoke", "ok", "fail", "info")

DEPTH_MAX: Final = 64
"""How deep values may be nested: far more than histories need, far less than Python's stack."""

NEMESIS: Final = "nemesis"
"""The process that makes the faults in Jepsen's histories; its events are no operations."""


class Event(msgspec.Struct, frozen=True):
    """One line of a history: a process asks for something, or is told what came of it."""

    process: int | str
    type: EventType
    function: str
    value: object
    key: Hashable
    line: int
    """Counted from 1."""


def event_of(fields: Mapping[str, object], *, line: int) -> Event | None:
    """Return the event with these fields; None for what the maker of faults did.

    Fields that mean nothing here are ignored. Raises `HistoryError`.
    """
    process, kind, function = (_field(fields, name, line) for name in ("process", "type", "f"))
    if process == NEMESIS:
        return None
    if isinstance(process, bool) or not isinstance(process, int | str):
        raise HistoryError(
            f"process is {process!r}: a whole number or a text is expected", line=line
        )
    if kind not in EVENT_TYPES:
        raise HistoryError(f"type is {kind!r}: invoke, ok, fail or info is expected", line=line)
    if not isinstance(function, str):
        raise HistoryError(f"f is {function!r}: the name of a function is expected", line=line)
    time = fields.get("time")
    if isinstance(time, bool) or not isinstance(time, int | float | None):
        raise HistoryError(f"time is {time!r}: a number is expected", line=line)
    return Event(
        process=process,
        type=kind,
        function=function,
        value=fields.get("value"),
        key=_key(fields.get("key"), line),
        line=line,
    )


def operations_of(events: Iterable[Event]) -> list[Operation]:
    """Return the operations of the events, in the order of their invocations.

    Times are numbers of lines. What failed has definitely not happened and is left out, as has a
    read that failed by timing out: it tells nothing. What was answered by `info`, or not at all,
    has no time of return. A process that was answered by `info` may go on.

    Raises `HistoryError` for an answer to nothing, or to something else than was asked, and when a
    process asks again before it was answered.
    """
    answers: dict[int, Event] = {}
    asked: list[Event] = []
    open_events: dict[int | str, Event] = {}
    for event in events:
        invocation = open_events.pop(event.process, None)
        if event.type == "invoke":
            if invocation is not None:
                raise HistoryError(
                    f"process {event.process} invokes {event.function}, but its "
                    f"{invocation.function} of line {invocation.line} has no answer yet: "
                    "ok, fail or info is expected first",
                    line=event.line,
                )
            open_events[event.process] = event
            asked.append(event)
        else:
            answers[_answered(invocation, event).line] = event
    paired = ((event, answers.get(event.line)) for event in asked)
    return [
        _operation(event, answer)
        for event, answer in paired
        if answer is None or answer.type != "fail"
    ]


def _answered(invocation: Event | None, answer: Event) -> Event:
    """Return the invocation that the answer is for, which must be the one that is open."""
    told = f"process {answer.process} is answered {answer.type} to {answer.function}"
    if invocation is None:
        raise HistoryError(f"{told}, which it has not invoked", line=answer.line)
    if answer.function != invocation.function:
        raise HistoryError(
            f"{told}, but it invoked {invocation.function} in line {invocation.line}",
            line=answer.line,
        )
    if answer.key is not None and answer.key != invocation.key:
        raise HistoryError(
            f"{told} for key {answer.key!r}, but it invoked it for key {invocation.key!r} "
            f"in line {invocation.line}",
            line=answer.line,
        )
    return invocation


def _operation(event: Event, answer: Event | None) -> Operation:
    is_answered = answer is not None and answer.type == "ok"
    return Operation(
        process=event.process,
        function=event.function,
        argument=event.value,
        result=answer.value if answer is not None and is_answered else None,
        invoked_at=event.line,
        returned_at=answer.line if answer is not None and is_answered else None,
        key=event.key,
        line=event.line,
    )


def _field(fields: Mapping[str, object], name: str, line: int) -> object:
    if name not in fields:
        raise HistoryError(f"{name} is missing: process, type and f are expected", line=line)
    return fields[name]


def _key(key: object, line: int) -> Hashable:
    """Return the key as something that compares as it is written: True is not 1, nor 1.0."""
    is_simple = key is None or (isinstance(key, str | int) and not isinstance(key, bool))
    if is_simple:
        return key
    if isinstance(key, list):
        return tuple(_key(part, line) for part in key)
    raise HistoryError(
        f"key is {key!r}: a text, a whole number or a list of such is expected", line=line
    )
