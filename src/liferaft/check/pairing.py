"""Events to operations: an invocation and what became of it. Pure; the formats come before this.

A definite failure is no operation, for it has not happened. An operation without an answer (none
came, or `info` did) may have happened at any time since, or never. A process that goes on after an
operation without an answer is taken as it is: harnesses differ in whether they give it a new
number.
"""

from collections.abc import Hashable, Iterable
from typing import Final, Literal

import msgspec

from liferaft.check.history import HistoryError, Operation

READS: Final = frozenset({"read", "get", "contains", "items"})
"""Functions that only read: one of them that failed, or has no answer, tells nothing."""

EventType = Literal["invoke", "ok", "fail", "info"]


class HistoryEvent(msgspec.Struct, frozen=True):
    """One line of a history, whatever its format."""

    process: int | str
    type: EventType
    function: str
    key: Hashable
    value: object
    line: int


def pair(events: Iterable[HistoryEvent], *, file: str = "") -> list[Operation]:
    """Return the operations in the order of their invocations; times are the lines' numbers.

    Raises `HistoryError` for an answer that nobody asked for, and for a process that asks again
    before its operation has ended.
    """
    open_events: dict[int | str, HistoryEvent] = {}
    operations: list[Operation] = []
    for event in events:
        asked = open_events.pop(event.process, None)
        if event.type == "invoke":
            if asked is not None:
                operations.append(_operation(asked, None))
            open_events[event.process] = event
            continue
        if asked is None:
            raise HistoryError(
                f"process {event.process} is answered ({event.type}) and has asked nothing",
                file=file,
                line=event.line,
            )
        if asked.function != event.function:
            raise HistoryError(
                f"process {event.process} asked for {asked.function!r} in line {asked.line} and is "
                f"answered for {event.function!r}",
                file=file,
                line=event.line,
            )
        if event.type != "fail":
            operations.append(_operation(asked, event if event.type == "ok" else None))
    operations += [_operation(event, None) for event in open_events.values()]
    return sorted(
        (each for each in operations if each.returned_at is not None or each.function not in READS),
        key=lambda operation: operation.invoked_at,
    )


def _operation(asked: HistoryEvent, answer: HistoryEvent | None) -> Operation:
    return Operation(
        process=asked.process,
        function=asked.function,
        argument=asked.value,
        result=None if answer is None else answer.value,
        invoked_at=asked.line,
        returned_at=None if answer is None else answer.line,
        key=asked.key,
        line=asked.line,
    )
