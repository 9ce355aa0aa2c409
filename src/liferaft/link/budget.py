"""What all links of one listener may hold together, and which of them goes when it is too much.

Each link alone may hold a whole frame that is half received, or answers that its peer does not
take. A thousand links must not hold a thousand times as much. What was noted is measured again
before a link is ended over it, so it does no harm to note late, or not at all, that one holds less.
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Holder(Protocol):
    """A link that can be ended."""

    def end_over_budget(self) -> None:
        """End at once: this link holds what others need."""


HolderT = TypeVar("HolderT", bound=Holder)


class Budget(Generic[HolderT]):
    """Bounds the sum of what `measure` says of each holder, in bytes.

    When it is above `bytes_max`, the holder whose `worth` is least is ended.
    """

    def __init__(
        self,
        bytes_max: int,
        *,
        measure: Callable[[HolderT], int],
        worth: Callable[[HolderT], float],
    ) -> None:
        self._bytes_max = bytes_max
        self._measure = measure
        self._worth = worth
        self._noted: dict[HolderT, int] = {}
        self._total_bytes = 0

    @property
    def total_bytes(self) -> int:
        """What was noted of all holders; they may hold less by now."""
        return self._total_bytes

    def note(self, holder: HolderT) -> None:
        """Measure a holder that may hold more than before; may end one, this one or another."""
        self._measure_again(holder)
        if self._total_bytes > self._bytes_max:
            for each in list(self._noted):
                self._measure_again(each)
        while self._total_bytes > self._bytes_max:
            least = min(self._noted, key=self._worth)
            self.forget(least)
            least.end_over_budget()

    def forget(self, holder: HolderT) -> None:
        """Take out a holder that has ended."""
        self._total_bytes -= self._noted.pop(holder, 0)

    def _measure_again(self, holder: HolderT) -> None:
        self.forget(holder)
        held_bytes = self._measure(holder)
        if held_bytes:
            self._noted[holder] = held_bytes
            self._total_bytes += held_bytes
