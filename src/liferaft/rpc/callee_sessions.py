"""The sessions that a host remembers, within the bounds of its memory.

Who is idle makes room for who comes, and who leaves most replies behind loses the older ones first.
It executes nothing and has no clock: time comes in as `now`, in the loop's seconds.
"""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import msgspec

from liferaft.errors import Overloaded, SessionExpired
from liferaft.rpc.dispatch import RETRY_AFTER
from liferaft.rpc.session import CalleeSession, ReplyBytes

ExecutionT = TypeVar("ExecutionT")


class Memory(msgspec.Struct, frozen=True):
    """What a host keeps for its callers' sessions and calls; seconds and bytes.

    `executions_max` and `execution_bytes_max` bound all calls that are being executed, of callers
    that have left since, too; one is always executed, however large it is. `streams_max` bounds the
    calls among them that have streams. Up to `stream_bytes_max` each stream may hold a whole
    window; beyond that the later ones hold less.
    """

    sessions_max: int = 10_000
    session_idle_max: float = 600.0
    replies_max: int = 16_384
    session_reply_bytes_max: int = 16 * 1024 * 1024
    reply_bytes_max: int = 64 * 1024 * 1024
    executions_max: int = 16_384
    execution_bytes_max: int = 64 * 1024 * 1024
    streams_max: int = 256
    stream_bytes_max: int = 32 * 1024 * 1024


class CalleeSessions(Generic[ExecutionT]):
    """The callee's halves of all sessions, by their ids of 16 bytes."""

    def __init__(self, memory: Memory) -> None:
        self.replies: Final = ReplyBytes()
        self._memory = memory
        self._sessions: dict[bytes, CalleeSession[ExecutionT]] = {}
        # Returns the session of this id, or None. The dictionary's own, for every call asks.
        self.get: Final = self._sessions.get

    def __len__(self) -> int:
        """Return how many callers are remembered."""
        return len(self._sessions)

    def executions(self) -> Iterator[ExecutionT]:
        """Give what is being executed for anybody."""
        for session in self._sessions.values():
            yield from (each for each in session.running.values() if each is not None)

    def admit(self, session_id: bytes, *, is_resumed: bool, now: float) -> None:
        """Let a session in, or in again.

        Raises `SessionExpired` for one that says it was here and is not remembered, `Overloaded`
        when nobody can be forgotten for it.
        """
        known = self._sessions.get(session_id)
        if known is not None:
            known.active_at, known.has_left = now, False
            return
        if is_resumed:
            raise SessionExpired("the host dropped the session: it was idle for too long")
        memory = self._memory
        if len(self._sessions) >= memory.sessions_max:
            self._drop_idle(now)
            self._drop_unused()
            if len(self._sessions) >= memory.sessions_max:
                raise Overloaded("the host remembers as many callers as it can", RETRY_AFTER)
        fresh = self._sessions[session_id] = CalleeSession[ExecutionT](
            replies_max=memory.replies_max,
            reply_bytes_max=memory.session_reply_bytes_max,
            total=self.replies,
        )
        fresh.active_at = now

    def leave(self, session_id: bytes) -> None:
        """Learn that the caller wants nothing more of this host."""
        known = self._sessions.get(session_id)
        if known is not None:
            known.has_left = True

    def may_come_back(self, session_id: bytes) -> bool:
        """Whether the session was here, and has not left."""
        known = self._sessions.get(session_id)
        return known is not None and not known.has_left

    def is_missed(self, since: float) -> bool:
        """Whether there is such a session that was heard of since then."""
        sessions = self._sessions.values()
        return any(each.active_at >= since and not each.has_left for each in sessions)

    def heard_at(self, session_id: bytes) -> float | None:
        """Return when the session was heard of last, None for one that is not remembered."""
        known = self._sessions.get(session_id)
        return None if known is None else known.active_at

    def drop_replies(self) -> None:
        """Drop replies until all sessions together hold no more than they may.

        The caller that leaves most behind pays first, with the older half.
        """
        while self.replies.count > self._memory.reply_bytes_max:
            largest = max(self._sessions.values(), key=lambda each: each.reply_bytes)
            largest.forget(largest.reply_bytes // 2)

    def _drop_idle(self, now: float) -> None:
        for session_id, session in list(self._sessions.items()):
            is_idle = now - session.active_at > self._memory.session_idle_max
            if is_idle and not session.is_running:
                self._sessions.pop(session_id).drop()

    def _drop_unused(self) -> None:
        """Drop half of the sessions that never had a call, those first that were idle for longest.

        Nothing can run twice for that, and who opens sessions by the thousand keeps nobody out.
        """
        unused = [each for each in self._sessions.items() if each[1].is_unused]
        unused.sort(key=lambda each: each[1].active_at)
        for session_id, _ in unused[: len(unused) // 2 + 1]:
            self._sessions.pop(session_id).drop()
