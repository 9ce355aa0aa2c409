"""Which commands a leader takes when more come than it can carry out: early, and fair.

A queue that only grows makes everybody's answer late, and what is late is done for nobody. So the
commands under way are bounded by how long they take: one is turned away when it comes, if those
before it would keep it waiting for longer than `wait_max`, or for longer than its caller waits. The
bound is in commands: so many as were carried out in that time of late.

Sessions share the bound. Who holds less than an equal share is let in beyond it, so that a client
with thousands of calls under way does not keep out one that makes a call at a time.

It decides nothing about a command that was let in, and has no clock: `now` comes in, in seconds.
"""

from typing import Final

COMMANDS_MAX: Final = 8_192
"""Commands under way, whatever the pace and whoever asks: at 2 kB for a small one, 16 MB."""

COMMANDS_SHARED: Final = COMMANDS_MAX // 2
"""What sessions share at most, as many as one connection may have under way: the rest is for those
that hold less than their share."""

COMMANDS_MIN: Final = 64
"""So many are never too many: they wait for a slow disk, rather than for each other."""

WAIT_MIN: Final = 0.25
"""Seconds: a disk alone may take a tenth of them."""


BYTES_SHARED_MIN: Final = 1024 * 1024
"""A queue of fewer bytes is the core's alone to bound: it would be shared by single commands."""


class Ticket:
    """A command that was let in."""

    __slots__ = ("admitted_at", "session", "size_bytes")

    def __init__(self, session: bytes, size_bytes: int, admitted_at: float) -> None:
        self.session: Final = session
        self.size_bytes: Final = size_bytes
        self.admitted_at: Final = admitted_at


class _Held:
    """What one session has under way."""

    __slots__ = ("count", "size_bytes")

    def __init__(self) -> None:
        self.count = 0
        self.size_bytes = 0


class Admission:
    """The commands under way on one node: of all its objects, and of all clients."""

    def __init__(self, *, wait_max: float, queue_bytes_max: int) -> None:
        """Bound the wait to so many seconds: many times what a command takes when it is alone.

        Half of the core's queue is shared, so that what is below its share still fits.
        """
        assert wait_max > 0
        self._wait_max = wait_max
        self._bytes_shared = max(queue_bytes_max // 2, BYTES_SHARED_MIN)
        # In the order in which they came, which is that in which nearly all are done.
        self._tickets: dict[Ticket, None] = {}
        self._size_bytes = 0
        self._held: dict[bytes, _Held] = {}
        self._pace = _Pace(wait_max / 2)

    def __len__(self) -> int:
        """Return how many commands are under way."""
        return len(self._tickets)

    def admit(
        self, session: bytes, size_bytes: int, *, now: float, deadline: float | None
    ) -> Ticket | float:
        """Let a command in, or return after how many seconds it should come again.

        A ticket must be given back with `done`, once. `deadline` is when the caller stops waiting.
        """
        count = len(self._tickets)
        wait, limit = 0.0, COMMANDS_SHARED
        if self._is_slow(now):
            per_second = self._pace.per_second(now)
            wait = count / per_second if per_second else self._wait_max
            limit = max(COMMANDS_MIN, min(int(per_second * self._wait_max), limit))
        is_in_vain = deadline is not None and deadline - now <= wait
        is_full = count >= limit or self._size_bytes + size_bytes > self._bytes_shared
        is_turned_away = is_full and not self._is_below_share(session, size_bytes, limit)
        if is_in_vain or is_turned_away or count >= COMMANDS_MAX:
            return wait
        ticket = Ticket(session, size_bytes, now)
        self._tickets[ticket] = None
        self._count(ticket, 1)
        return ticket

    def done(self, ticket: Ticket, now: float, *, is_applied: bool) -> None:
        """Learn that a command has its outcome; being applied tells of the pace."""
        del self._tickets[ticket]
        self._count(ticket, -1)
        self._pace.done(now, is_applied=is_applied)

    def _count(self, ticket: Ticket, sign: int) -> None:
        held = self._held.get(ticket.session)
        if held is None:
            held = self._held[ticket.session] = _Held()
        held.count += sign
        held.size_bytes += sign * ticket.size_bytes
        self._size_bytes += sign * ticket.size_bytes
        if not held.count:
            del self._held[ticket.session]

    def _is_slow(self, now: float) -> bool:
        """Return whether somebody has waited for half as long as may be.

        Numbers alone say nothing: a burst of thousands may be carried out in a few writes.
        """
        for oldest in self._tickets:
            return now - oldest.admitted_at >= self._wait_max / 2
        return False

    def _is_below_share(self, session: bytes, size_bytes: int, limit: int) -> bool:
        """Return whether the session would have no more than an equal share with this command.

        Who has nothing under way is, however large the command.
        """
        held = self._held.get(session)
        if held is None:
            return True
        sessions = len(self._held)
        is_small = held.size_bytes + size_bytes <= self._bytes_shared // sessions
        return is_small and held.count < limit // sessions


class _Pace:
    """How many commands were applied in a second, of late.

    It is asked for only when somebody has waited for a window's length: so there was something to
    do all the time, and an idle host is not taken for a slow one.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._applied = 0
        self._since = 0.0
        self._latest = 0.0

    def done(self, now: float, *, is_applied: bool) -> None:
        """Learn that a command is no longer under way."""
        self._applied += is_applied
        self._roll(now)

    def per_second(self, now: float) -> float:
        """Return the pace: that of the last window, or of the present one where it is better."""
        self._roll(now)
        return max(self._latest, self._applied / self._window)

    def _roll(self, now: float) -> None:
        elapsed = now - self._since
        if elapsed >= self._window:
            self._latest = self._applied / elapsed
            self._applied, self._since = 0, now
