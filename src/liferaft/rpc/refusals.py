"""Calls that were turned away, so that no copy of one is taken after all.

Who called was told that nothing was executed. A link may still hold a copy of the very frame: that
must not be executed now. When the caller itself asks again, its frame is another one, or comes
later. Nothing here decides what is turned away.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

REFUSAL_MEMORY: Final = 2.0
"""Seconds that a refusal is remembered: longer than a link holds a copy of a frame up."""
REFUSALS_MAX: Final = 1_024
"""Refusals remembered for one link."""


class Refusals:
    """Those of one link. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_number: dict[int, _Refusal] = {}

    def remember(self, number: int, frame: bytes, failure: bytes) -> None:
        """Know that the call in this frame was turned away, and what was answered."""
        if len(self._by_number) >= REFUSALS_MAX:
            del self._by_number[next(iter(self._by_number))]
        self._by_number[number] = _Refusal(hash(frame), self._clock() + REFUSAL_MEMORY, failure)

    def answer_to(self, number: int, frame: bytes) -> bytes | None:
        """Return what was answered to this very frame, None unless it was turned away lately."""
        if not self._by_number:
            return None
        refusal = self._by_number.get(number)
        if refusal is None or refusal.frame_hash != hash(frame) or refusal.until <= self._clock():
            return None
        return refusal.failure


class _Refusal(NamedTuple):
    frame_hash: int
    until: float
    failure: bytes
