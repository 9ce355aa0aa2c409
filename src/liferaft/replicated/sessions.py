"""Exactly once: what each client was answered, as part of the replicated state.

Raft dissertation, section 6.3. Every replica keeps the same table, because it changes only by
commands of the log and by the log's own time:

- a call whose number was answered is answered again from the table, never executed again;
- a call whose number is below what the client acknowledged is an old copy: nobody waits for it;
- numbers may arrive in any order: a late one is not taken for a repeat (trap 43);
- a session that was idle for `SESSION_IDLE_MAX` of the log's time, or is the longest idle one of
  too many, is forgotten; a client that comes back to it gets an error, never a second execution.
"""

from typing import Final

import msgspec

SESSION_IDLE_MAX: Final = 3600.0
"""Seconds: longer than any deadline, so that only clients that are gone lose their session."""

SESSIONS_MAX: Final = 100_000
"""At about 200 bytes for an idle session, 20 MB."""

REPLIES_MAX: Final = 4096
"""Unacknowledged replies of one session; callers keep fewer calls than this unanswered."""


class Session(msgspec.Struct):
    """What is known of one client. `replies` maps call numbers, all >= acked_below, to replies."""

    last_active_wall: float
    acked_below: int = 1
    replies: dict[int, bytes] = msgspec.field(default_factory=dict)

    def acknowledge(self, acked_below: int) -> None:
        """Forget the replies below `acked_below`, which never falls."""
        if acked_below <= self.acked_below:
            return
        for number in range(self.acked_below, min(acked_below, self.acked_below + REPLIES_MAX)):
            self.replies.pop(number, None)
        if acked_below - self.acked_below > REPLIES_MAX:
            self.replies = {n: reply for n, reply in self.replies.items() if n >= acked_below}
        self.acked_below = acked_below


class SessionTable:
    """The sessions, the longest idle one first."""

    def __init__(self) -> None:
        self._sessions: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session_id: bytes) -> Session | None:
        """Return the session without touching it, None when it is unknown or was forgotten."""
        return self._sessions.get(session_id)

    def touch(self, session_id: bytes, wall_now: float) -> Session | None:
        """Return the session and note that it is in use."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            session.last_active_wall = wall_now
            self._sessions[session_id] = session
        return session

    def open(self, session_id: bytes, wall_now: float) -> None:
        """Begin a session, unless it is known already, and forget those that were idle too long."""
        if self.touch(session_id, wall_now) is not None:
            return
        self._sessions[session_id] = Session(wall_now)
        self._forget_idle(wall_now)

    def state(self) -> dict[bytes, Session]:
        """Return everything, for a digest or a snapshot; not to be changed."""
        return self._sessions

    def replace(self, sessions: dict[bytes, Session]) -> None:
        """Take over what `state` returned on a replica, decoded: the longest idle one first."""
        self._sessions = sessions

    def _forget_idle(self, wall_now: float) -> None:
        while True:
            oldest_id, oldest = next(iter(self._sessions.items()))
            is_idle = wall_now - oldest.last_active_wall > SESSION_IDLE_MAX
            if not is_idle and len(self._sessions) <= SESSIONS_MAX:
                return
            del self._sessions[oldest_id]
