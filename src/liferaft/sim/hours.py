"""When a group of many is used: by turns for a while, and then not at all, so that it rests."""

from random import Random
from typing import Final

USED_MAX: Final = 1.5
"""Seconds without a pause, at most."""

UNUSED_MAX: Final = 3.0
"""Seconds of a pause, at most: the longest patience before a rest, twice over."""


class Hours:
    """The hours of one group, from its beginning on; one that `is_busy` is used all the time."""

    def __init__(self, draw: Random, *, is_busy: bool) -> None:
        self._draw = draw
        self._is_busy = is_busy
        self._is_used = False
        self._until = 0.0

    def are_on(self, now: float) -> bool:
        """Return whether the group is used now; `now` never falls."""
        while now >= self._until:
            self._is_used = not self._is_used
            self._until += self._draw.uniform(0.05, USED_MAX if self._is_used else UNUSED_MAX)
        return self._is_busy or self._is_used
