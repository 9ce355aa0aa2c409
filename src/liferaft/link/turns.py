"""Whose frames come next: no peer keeps the loop from the others, however much it sends.

One read of a socket may bring thousands of small frames. A link with few is served at once. One
with many waits for turns, one in each turn of the loop, which all such links share: together they
get half as many frames as were served at once, so that callers who wait for their answers keep two
thirds of the host; they get them together, as a turn of one frame costs more than the frame. Beside
other work than frames they have twice the time of that, for what is refused must be read. While
nobody else is there, they get all that a turn may hold.

Nothing is lost and nothing overtakes anything on its own link.
"""

import asyncio
import time
from typing import Final, Protocol

FRAMES_AT_ONCE_MAX: Final = 8
"""What a link may bring in one read and be served at once."""

FRAMES_PER_TURN_MAX: Final = 64
"""Of one link, while nobody else is served: a turn of about a millisecond."""

FRAMES_OF_ALL_MAX: Final = 384
"""Of all links that wait, in one turn. With 64 of each, a turn beside sixteen links that sent more
than a leader could do was so long that its followers' answers to heartbeats came too late."""

FRAMES_TOGETHER: Final = 16
"""What each link that waits must have a claim to before it gets any, while others are served. With
a frame in each turn, four peers that take no answers left an honest caller a quarter of its calls.
"""

ALONE_AFTER: Final = 0.002
"""Seconds without a frame that was served at once, after which those that wait have the host."""


CLAIM_MAX: Final = 4 * FRAMES_OF_ALL_MAX

FRAME_SECONDS: Final = 30e-6
"""What a frame takes that is served, at least. A leader that carries out commands for most of
a turn hears of little else than its peers in it: by their frames alone, clients would wait for a
quarter of a second to be told that it is too busy."""


class Waiting(Protocol):
    """A link that has frames which wait for their turn."""

    def deliver_next(self, count: int) -> bool:
        """Deliver so many frames at most; return whether more wait."""


class Turns:
    """Gives turns to the links of one listener."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = time.perf_counter
        self._turned_at = 0.0
        self._waiting: dict[Waiting, None] = {}
        self._served = 0
        self._served_at = 0.0
        # How many frames those that wait have a claim to, together.
        self._claim = 0.0

    def is_served_at_once(self, count: int) -> bool:
        """Return whether so many frames of a link that does not wait may be delivered now."""
        if count > FRAMES_AT_ONCE_MAX:
            return False
        self._served += count
        return True

    def wait(self, link: Waiting) -> None:
        """Give the link turns until nothing of it waits."""
        if not self._waiting:
            self._served, self._served_at, self._claim = 0, 0.0, 0.0
            self._turned_at = self._clock()
            self._loop.call_soon(self._turn)
        self._waiting[link] = None

    def forget(self, link: Waiting) -> None:
        """Give no more turns to a link."""
        self._waiting.pop(link, None)

    def _turn(self) -> None:
        share = self._share()
        try:
            for link in list(self._waiting)[: FRAMES_OF_ALL_MAX // share] if share else ():
                self._claim = max(0.0, self._claim - share)
                is_more = link.deliver_next(share)
                is_open = link in self._waiting
                self.forget(link)
                if is_more and is_open:
                    self._waiting[link] = None  # behind those that had no turn
        finally:
            self._turned_at = self._clock()
            if self._waiting:
                self._loop.call_soon(self._turn)

    def _share(self) -> int:
        """Return how many frames each link gets in this turn: none in most, beside others."""
        now = self._loop.time()
        if self._served:
            self._served_at = now
            work = self._clock() - self._turned_at - 2 * FRAME_SECONDS * self._served
            claim = self._claim + self._served / 2 + max(0.0, 2 * work / FRAME_SECONDS)
            self._claim, self._served = min(claim, CLAIM_MAX), 0
        if not self._waiting or now - self._served_at > ALONE_AFTER:
            self._claim = 0.0
            return FRAMES_PER_TURN_MAX
        share = int(self._claim / len(self._waiting))
        if share < FRAMES_TOGETHER:
            return 0
        return min(FRAMES_PER_TURN_MAX, share)
