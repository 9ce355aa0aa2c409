"""Whose frames come next: no peer keeps the loop from the others, however much it sends.

One read of a socket may bring thousands of small frames. A link with few is served at once. One
with many waits for turns, one in each turn of the loop, which all such links share: together they
get half as many frames as were served at once lately, so that callers who wait for their answers
keep two thirds of the host. While nobody else is there, they get all that a turn may hold.

Nothing is lost and nothing overtakes anything on its own link.
"""

import asyncio
from typing import Final, Protocol

FRAMES_AT_ONCE_MAX: Final = 8
"""What a link may bring in one read and be served at once."""

FRAMES_PER_TURN_MAX: Final = 64
"""Of one link, while nobody else is served: a turn of about a millisecond."""

FRAMES_SHARED_MIN: Final = 4
"""Of all links that wait, while others are served: so few would cost more in turns than in work."""

TURNS_REMEMBERED: Final = 8
"""How quickly the number of frames that were served at once is forgotten."""


class Waiting(Protocol):
    """A link that has frames which wait for their turn."""

    def deliver_next(self, count: int) -> bool:
        """Deliver so many frames at most; return whether more wait."""


class Turns:
    """Gives turns to the links of one listener."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Waiting, None] = {}
        self._served = 0
        self._served_lately = 0.0

    def is_served_at_once(self, count: int) -> bool:
        """Return whether so many frames of a link that does not wait may be delivered now."""
        if count > FRAMES_AT_ONCE_MAX:
            return False
        self._served += count
        return True

    def wait(self, link: Waiting) -> None:
        """Give the link turns until nothing of it waits."""
        if not self._waiting:
            self._served, self._served_lately = 0, 0.0
            self._loop.call_soon(self._turn)
        self._waiting[link] = None

    def forget(self, link: Waiting) -> None:
        """Give no more turns to a link."""
        self._waiting.pop(link, None)

    def _turn(self) -> None:
        self._served_lately += (self._served - self._served_lately) / TURNS_REMEMBERED
        self._served = 0
        share = self._share()
        try:
            for link in list(self._waiting):
                if not link.deliver_next(share):
                    self.forget(link)
        finally:
            if self._waiting:
                self._loop.call_soon(self._turn)

    def _share(self) -> int:
        """Return how many frames each link gets in this turn."""
        if self._served_lately < 1 or not self._waiting:
            return FRAMES_PER_TURN_MAX
        shared = max(FRAMES_SHARED_MIN, int(self._served_lately / 2))
        return max(1, min(FRAMES_PER_TURN_MAX, shared // len(self._waiting)))
