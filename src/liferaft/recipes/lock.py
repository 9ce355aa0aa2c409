"""A lock with a lease and a token that grows, and the fence around what it protects.

Whoever holds a lock may stand still for longer than its lease lasts, wake, and go on as if it had
it still. No lock can prevent that; what it protects can. So each acquisition brings a token greater
than all before it, and what is protected refuses a token smaller than one that it has seen
(`Fence`). Without that check a lock makes collisions rare, and no more.

Leases are measured by the log's time: the leaders' wall clocks, made never to fall. Where these are
wrong a lease is shorter or longer than it should be; no token ever comes twice.
"""

import math
from dataclasses import dataclass
from typing import Protocol

from liferaft.replicated.determinism import now
from liferaft.replicated.machine import query
from liferaft.rpc.interface import raises


@dataclass(frozen=True)
class Held:
    """Who has a lock: `owner` is what the caller said of itself, `until_wall` is since 1970."""

    token: int
    owner: str
    until_wall: float


class LockTaken(RuntimeError):
    """Somebody else has the lock; nothing has changed. Try again when `held` may have ended."""

    held: Held

    def __init__(self, held: Held) -> None:
        super().__init__(f"{held.owner or 'somebody'} has the lock, by token {held.token}")
        self.held = held


class LockLost(RuntimeError):
    """The lock is not held by this token any more: its lease ran out, or it was given back."""

    token: int

    def __init__(self, token: int) -> None:
        super().__init__(f"the lock is not held by token {token} any more: stop what it protected")
        self.token = token


class StaleToken(RuntimeError):
    """Somebody has got the lock since this token was given out; nothing has changed."""

    token: int
    greatest: int

    def __init__(self, token: int, greatest: int) -> None:
        super().__init__(f"token {token} is from before token {greatest}: the lock was lost since")
        self.token = token
        self.greatest = greatest


class Lock(Protocol):
    """The interface: all that a client needs to know."""

    @raises(LockTaken, ValueError)
    def acquire(self, owner: str, seconds: float) -> Held:
        """Take the lock for so many seconds; raises `LockTaken` at once if somebody has it."""

    @raises(LockLost, ValueError)
    def renew(self, token: int, seconds: float) -> Held:
        """Keep the lock for so many seconds from now; raises `LockLost` when it is too late."""

    def release(self, token: int) -> bool:
        """Give the lock back; return whether it was held by that token."""

    def held(self) -> Held | None:
        """Return who took the lock last and has not given it back; the lease may have run out."""


class LeaseLock:
    """The implementation. Invariant: the token of each acquisition is greater than all before."""

    def __init__(self) -> None:
        self._held: Held | None = None
        self._last_token: int = 0

    @raises(LockTaken, ValueError)
    def acquire(self, owner: str, seconds: float) -> Held:
        """Take the lock for so many seconds."""
        until_wall = _end_of(seconds)
        if self._held is not None and now() < self._held.until_wall:
            raise LockTaken(self._held)
        self._last_token += 1
        self._held = Held(self._last_token, owner, until_wall)
        return self._held

    @raises(LockLost, ValueError)
    def renew(self, token: int, seconds: float) -> Held:
        """Keep the lock; one whose lease ran out is lost, though nobody else has taken it."""
        until_wall = _end_of(seconds)
        if self._held is None or self._held.token != token or now() >= self._held.until_wall:
            raise LockLost(token)
        self._held = Held(token, self._held.owner, until_wall)
        return self._held

    def release(self, token: int) -> bool:
        """Give the lock back."""
        is_held = self._held is not None and self._held.token == token
        if is_held:
            self._held = None
        return is_held

    @query
    def held(self) -> Held | None:
        """Return who took the lock last and has not given it back."""
        return self._held


@dataclass
class Fence:
    """What a protected object keeps, to be an attribute of it: the greatest token it has seen."""

    greatest: int = 0

    def check(self, token: int) -> None:
        """Let the holder of this token through; raises `StaleToken` for one from before."""
        if token < self.greatest:
            raise StaleToken(token, self.greatest)
        self.greatest = token


def _end_of(seconds: float) -> float:
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"a lease of {seconds} seconds: give a positive number")
    return now() + seconds
