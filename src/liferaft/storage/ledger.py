"""How long the shared log is, and which write lies how far from its beginning. Pure.

Counted in the bytes of writes, and kept in steps: whoever asks wants to drop whole segments.
"""

from collections import deque

WRITE_BYTES = 64
"""What a write costs on disk beside its data, about: its share of a record and of the columns.

It makes copies of many small writes, which share it, smaller than what they are copies of.
"""


def size_of(data: bytes) -> int:
    """Return what a write with that data counts."""
    return len(data) + WRITE_BYTES


class Ledger:
    """The sizes of all writes, summed up."""

    def __init__(self, *, step_bytes: int) -> None:
        self._step_bytes = step_bytes
        # Numbers of writes, rising, and the bytes that lie before each.
        self._steps: deque[tuple[int, int]] = deque()
        self.total_bytes = 0

    @property
    def held_bytes(self) -> int:
        """How much lies between the beginning and the end."""
        return self.total_bytes - (self._steps[0][1] if self._steps else 0)

    def add(self, number: int, size_bytes: int) -> bool:
        """Take the next write, and return whether it begins a step."""
        begins = not self._steps or self.total_bytes - self._steps[-1][1] >= self._step_bytes
        if begins:
            self._steps.append((number, self.total_bytes))
        self.total_bytes += size_bytes
        return begins

    def begin_at(self, number: int) -> None:
        """Forget what lies before a write, as far as the steps tell."""
        while len(self._steps) > 1 and self._steps[1][0] <= number:
            self._steps.popleft()

    def write_behind(self, size_bytes: int) -> int | None:
        """Return the number of a write with at least so much before it, None if there is none."""
        for number, before_bytes in self._steps:
            if before_bytes - self._steps[0][1] >= size_bytes:
                return number
        return None
