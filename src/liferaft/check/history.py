"""Operations: what clients asked of an object and what they were told, with the times of both.

A history is a list of them. Writing one down while it happens is `recorder.py`'s task, reading
files is `reading.py`'s. Nothing here judges a history.
"""

import enum
from collections.abc import Hashable
from typing import Final

import msgspec


class Unknown(enum.Enum):
    """The type of `UNKNOWN`."""

    UNKNOWN = "unknown"

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown.UNKNOWN
"""The result of an operation whose result nobody was told: any result fits."""


class Operation(msgspec.Struct, frozen=True):
    """One operation of one process.

    What has definitely not happened is no operation: leave it out.
    """

    process: int | str
    function: str
    argument: object
    result: object
    """What was answered; it counts for nothing where `returned_at` is None."""
    invoked_at: float | int
    """When it was asked, in any unit: only the order counts."""
    returned_at: float | int | None
    """When it was answered; None: never, so it may have happened at any time since, or never."""
    key: Hashable | None = None
    """Which of several independent objects it was for; None where there is only one."""
    line: int | None = None
    """The line of its invocation, counted from 1, where it was read from a file."""


class HistoryError(ValueError):
    """A history cannot be understood: not its verdict, but its form.

    `file` and `line` (counted from 1) say where, as far as it is known; `problem` says what.
    """

    problem: str
    file: str
    line: int | None

    def __init__(self, problem: str, *, file: str = "", line: int | None = None) -> None:
        where = [file] if file else []
        if line is not None:
            where.append(f"line {line}")
        super().__init__(f"{', '.join(where)}: {problem}" if where else problem)
        self.problem = problem
        self.file = file
        self.line = line
