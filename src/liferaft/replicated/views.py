"""Answers the queries for one replicated object on any node: what may be old, or is asked for.

No view knows of sessions: a query may be repeated, on whichever node, and nothing else is executed.
So nothing of them is ever in the log, and a caller is let in where there is no leader.

Invariant: the answer of `FOLLOWER` holds everything that was acknowledged before the call came;
that of `WITHIN` everything that was so for the bound before. `STALE` promises nothing of the sort.
"""

from collections.abc import Callable
from typing import Final

from liferaft.cluster.driver import Driver
from liferaft.cluster.reads import ReadKind
from liferaft.errors import ReadOnly
from liferaft.raft.types import NodeId
from liferaft.replicated.host import LEADER_WITHIN, refusal_of
from liferaft.replicated.machine import ReplicatedObject
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.dispatch import Request, Sender, too_many_in_flight
from liferaft.rpc.interface import Interface
from liferaft.rpc.views import VIEW_MARK, View, bound_of
from liferaft.rpc.wire import Chunk, Credit, Notify

READ_ONLY_VIEWS: Final = (View.FOLLOWER, View.WITHIN, View.STALE)


class ReadOnlyDispatcher:
    """The `rpc.Dispatcher` of one of `READ_ONLY_VIEWS` of a replicated object."""

    def __init__(self, hosted: ReplicatedObject, view: View, driver: Driver) -> None:
        self.interface: Final[Interface] = hosted.interface
        self.is_durable: Final = True
        self._hosted = hosted
        self._view = view
        self._kind = view.value.removeprefix(VIEW_MARK)
        self._driver = driver

    async def admit(
        self, session: bytes, *, is_resumed: bool, send: Callable[[CallFrame], None]
    ) -> None:
        """Let everybody in; where a leader must be asked, not between two of them."""
        del session, is_resumed, send
        if self._view is View.FOLLOWER:
            await self._driver.wait_leader(LEADER_WITHIN)

    def dispatch(self, request: Request) -> None:
        """Answer a query, at once or when the leader was asked; refuse a command."""
        hosted, method = self._hosted, request.call.method
        refusal = refusal_of(request, hosted.name, self.interface)
        if refusal is None and method not in hosted.queries:
            refusal = ReadOnly(
                f"{method} is a command of {hosted.name}, and this stub only reads: connect another"
                ' one for commands, with reads="linearizable" or "lease"'
            )
        if refusal is None and request.is_beyond_limit:
            refusal = too_many_in_flight()
        if refusal is not None:
            request.refuse(refusal)
        elif self._may_answer_at_once(request):
            self.answer(request)
        else:
            self._driver.read(_FollowerQuery(self, self._driver, request), ReadKind.FOLLOW)

    def answer(self, request: Request) -> None:
        """Answer a query on the state as it is now."""
        self._driver.reads_answered[self._kind] += 1
        request.answer(self._hosted.execute(request.call))

    def notify(self, notification: Notify, sender: Sender) -> None:
        """Do nothing: a replicated class has no one-way methods, which its making checks."""

    def cancel(self, session: bytes, number: int) -> None:
        """Do nothing: the answer will be dropped."""

    def stream(self, session: bytes, frame: Chunk | Credit) -> None:
        """Do nothing: no method has streams, so this is of a call that is no longer known."""

    def answered(self, session: bytes, data: bytes) -> None:
        """Do nothing: no method takes references, so nobody was called back."""

    def leave(self, session: bytes) -> None:
        """Do nothing: there is no session."""

    def acknowledge(self, session: bytes, acked_below: int) -> None:
        """Do nothing: no reply is kept."""

    def may_come_back(self, session: bytes) -> bool:  # noqa: ARG002 - see `Dispatcher`
        """Nobody needs to: no answer is kept."""
        return False

    def is_missed(self, since: float) -> bool:  # noqa: ARG002 - see `Dispatcher`
        """Nobody is missed."""
        return False

    def _may_answer_at_once(self, request: Request) -> bool:
        if self._driver.is_stopped:
            return False  # it may have failed in the midst of a command, half of which is there
        if self._view is View.WITHIN:
            # Only now, not when the call came: the machine may have stood still in between.
            return self._driver.age <= bound_of(request.call.metadata)
        return self._view is View.STALE


class _FollowerQuery:
    """A query that waits until the leader has said how far this node must be."""

    __slots__ = ("_dispatcher", "_driver", "_request")

    def __init__(self, dispatcher: ReadOnlyDispatcher, driver: Driver, request: Request) -> None:
        self._dispatcher = dispatcher
        self._driver = driver
        self._request = request

    def ready(self) -> None:
        self._dispatcher.answer(self._request)

    def rejected(self, leader: NodeId | None) -> None:
        if leader is None:
            self._request.redirect(None)  # whoever hears a leader can answer
        else:
            self._driver.read(self, ReadKind.FOLLOW)  # another one leads: it is asked instead
