"""Committed entries on their way into the state machine, a slice of a turn at a time.

Thousands of entries may be committed at once. Applied in one go they would keep the loop from
heartbeats for so long that a healthy leader is taken for dead, and from the calls that come
meanwhile, which would then be refused late.

Entries are applied in their order, each once, and at least one in a slice.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from liferaft.raft.types import Entry

SLICE: Final = 0.005
"""Seconds of a turn: well within the shortest heartbeat interval of `raft.config.PROFILES`."""


class Applying:
    """Entries that wait for their slice. `apply` carries out one; `clock` is in seconds."""

    def __init__(self, apply: Callable[[Entry], None], clock: Callable[[], float]) -> None:
        self._apply = apply
        self._clock = clock
        self._waiting: deque[Entry] = deque()
        self._until = 0.0

    def __len__(self) -> int:
        """Return how many entries wait."""
        return len(self._waiting)

    def begin_slice(self) -> None:
        """Begin a turn, with what the last one left."""
        self._until = self._clock() + SLICE
        if self._waiting:
            self._apply(self._waiting.popleft())
            self._go_on()

    def take(self, entries: Iterable[Entry]) -> None:
        """Apply entries while this turn's slice lasts; the rest waits."""
        self._waiting.extend(entries)
        self._go_on()

    def finish(self) -> None:
        """Apply all that waits, however long it takes."""
        while self._waiting:
            self._apply(self._waiting.popleft())

    def _go_on(self) -> None:
        waiting = self._waiting
        while waiting and self._clock() < self._until:
            self._apply(waiting.popleft())
