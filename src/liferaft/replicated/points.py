"""After which commands the replicas are compared, and what was answered between two of them.

A point is the first command in each interval of the log's own time, and the first behind each
`ENTRIES` entries of the log, for that time stands still after a clock was far ahead. Both are known
from the replicated state alone: so every replica comes to the same points without a word, whatever
its version, whether it followed the log or began with a snapshot in the midst of it.

Invariant: replicas that applied the same entries are told of the same points.
"""

import math
import zlib
from collections.abc import Callable
from typing import Final

ENTRIES: Final = 1 << 20
"""At the speed of a busy cluster about a minute, too."""

OnPoint = Callable[[int, int | None], None]
"""Is told of a point at once: its index, and a checksum of all answers since the one before.

None where this replica has not given them all itself: it began with a snapshot.
"""


def _ignore(_index: int, _answers: int | None) -> None:
    """Stand in where nobody compares."""


class Points:
    """Sees every command of one machine, right after it was carried out."""

    def __init__(self) -> None:
        self._interval = math.inf
        self._on_point: OnPoint = _ignore
        self._answers = 0
        self._is_whole = False
        self._has_begun = False
        self._next_index: float = math.inf
        self._next_wall = math.inf

    def watch(self, interval: float, on_point: OnPoint, *, index: int, wall_now: float) -> None:
        """Tell of a point every so many seconds of the log's time, from this state on."""
        self._interval, self._on_point = interval, on_point
        self.begin(index, wall_now)

    def begin(self, index: int, wall_now: float) -> None:
        """Go on behind the entry `index`, whose answers, and those before, are not known."""
        self._begin(index, wall_now)
        self._is_whole = False

    def passed(self, index: int, wall_now: float, answer: bytes) -> None:
        """See a command and its answer."""
        self._answers = zlib.crc32(answer, self._answers)
        if wall_now >= self._next_wall or index >= self._next_index:
            # Before the first command the log had no time: that one ends no interval.
            is_point = self._has_begun
            answers = self._answers if self._is_whole else None
            self._begin(index, wall_now)
            if is_point:
                self._on_point(index, answers)

    def _begin(self, index: int, wall_now: float) -> None:
        self._answers, self._is_whole = 0, True
        self._has_begun = wall_now > 0
        if self._interval < math.inf:
            self._next_index = (index // ENTRIES + 1) * ENTRIES
            self._next_wall = (wall_now // self._interval + 1) * self._interval
