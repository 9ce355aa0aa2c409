"""Lets few of a node's groups campaign at a time, in the order in which they come to it.

A node that starts, or whose neighbour dies, has hundreds of groups without a leader at one moment.
All at once they would only be in each other's way: votes would come too late for campaigns that
have timed out, and be asked for again. It is a matter of speed alone, and decides nothing: who is
kept waiting for longer than a campaign can take goes ahead.
"""

import asyncio
from collections.abc import Callable
from typing import Final

AT_ONCE: Final = 32
"""Enough to keep the disk's next write and the next batch to each node full."""


class Campaigns:
    """The groups that campaign now, and those that wait to."""

    def __init__(self, patience: float, *, at_once: int = AT_ONCE) -> None:
        """Make room for the next group after `patience` seconds, whatever became of the first."""
        self._patience = patience
        self._at_once = at_once
        self._loop = asyncio.get_running_loop()
        self._running: dict[str, asyncio.TimerHandle] = {}
        self._waiting: dict[str, Callable[[], None]] = {}

    def may_begin(self, group: str, again: Callable[[], None]) -> bool:
        """Return whether a group may campaign now; if not, `again` is called when it is to ask."""
        if group in self._running or len(self._running) < self._at_once:
            self._begin(group)
            return True
        self._waiting.setdefault(group, again)
        return False

    def ended(self, group: str) -> None:
        """Learn that a group does not campaign, be it that it never did."""
        timer = self._running.pop(group, None)
        if timer is not None:
            timer.cancel()
            if self._waiting:
                self._loop.call_soon(self._call_next)

    def forget(self, group: str) -> None:
        """Learn that a group is here no more."""
        self._waiting.pop(group, None)
        self.ended(group)

    def is_waiting(self, group: str) -> bool:
        """Return whether a group waits for its turn."""
        return group in self._waiting

    def _begin(self, group: str) -> None:
        self._waiting.pop(group, None)
        if group not in self._running:
            self._running[group] = self._loop.call_later(self._patience, self.ended, group)

    def _call_next(self) -> None:
        """Let as many ask as there is room for; some have found a leader meanwhile."""
        while self._waiting and len(self._running) < self._at_once:
            self._waiting.pop(next(iter(self._waiting)))()
