"""Answers the calls for one replicated object on one node.

A command becomes an entry of the log with the client's own bytes in it; a query waits for the
leader's confirmation and looks. A node that does not lead sends the client to the one that does.
Views that only read are in `liferaft.replicated.views`.
Sessions live in the replicated state, so an answer that was lost on its way is given again by
whichever node leads when the client asks again (Raft dissertation, section 6.3).
"""

import asyncio
import random as random_module
from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from liferaft.cluster.driver import Driver
from liferaft.cluster.reads import Barrier, ReadKind
from liferaft.errors import NoSuchObject, Overloaded, PermissionDenied, Refused, SessionExpired
from liferaft.raft.types import NodeId
from liferaft.replicated.admission import Admission, Ticket
from liferaft.replicated.command import SEED_BITS, CommandKind, pack
from liferaft.replicated.machine import ReplicatedMachine
from liferaft.rpc.access import denial, is_allowed
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.codec import encode
from liferaft.rpc.dispatch import (
    RETRY_AFTER,
    Redirected,
    Request,
    Sender,
    too_many_in_flight,
)
from liferaft.rpc.interface import Interface
from liferaft.rpc.views import VIEW_MARK
from liferaft.rpc.wire import Call, Chunk, Credit, Notify

LEADER_WITHIN: Final = 0.5
"""Seconds that a client is kept waiting for a leader to be sent to: as long as most elections."""


class ReplicatedDispatcher:
    """The `rpc.Dispatcher` of one replicated object, or of the view of it whose reads are `reads`.

    A command that came to a view goes into the log as one to the object itself: what the log holds
    does not depend on how somebody reads.
    """

    def __init__(
        self,
        name: str,
        *,
        machine: ReplicatedMachine,
        driver: Driver,
        addresses: Mapping[NodeId, str],
        wall_clock: Callable[[], float],
        random: random_module.Random,
        admission: Admission,
        reads: ReadKind = ReadKind.QUORUM,
    ) -> None:
        self.interface: Final[Interface] = machine.objects[name].interface
        self.is_durable: Final = True
        self._queries = machine.objects[name].queries
        self._reads = reads
        self._kind = "lease" if reads is ReadKind.LEASE else "linearizable"
        self._name = name
        self._machine = machine
        self._driver = driver
        self._addresses = addresses
        self._wall_clock = wall_clock
        self._random = random
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._pending: dict[tuple[bytes, int], _Command] = {}

    async def admit(
        self, session: bytes, *, is_resumed: bool, send: Callable[[CallFrame], None]
    ) -> None:
        """Let a session in, after making sure that every node knows it.

        Nobody is called back, so that nothing is ever sent but answers.

        Raises `Redirected` where another node must be asked, `SessionExpired` when the session
        was known once and is forgotten, `Overloaded` when the log takes no more at present.
        """
        del send
        await self._driver.wait_leader(LEADER_WITHIN)
        barrier = Barrier(lambda leader: Redirected(self.address_of(leader)))
        self._driver.read(barrier)
        await barrier.reached
        if self._machine.sessions.get(session) is not None:
            return
        if is_resumed:
            raise SessionExpired(
                "the session was idle for too long; calls without an answer may have been executed"
            )
        opening = _Opening(self)
        self._driver.propose(self._pack(CommandKind.OPEN_SESSION, session, b""), opening)
        await opening.future

    def dispatch(self, request: Request) -> None:
        """Take a call: read for a query, append for a command."""
        refusal = refusal_of(request, self._name, self.interface)
        if refusal is not None:
            request.refuse(refusal)
        elif request.call.method not in self._queries:
            self._dispatch_command(request)
        elif request.is_beyond_limit:
            request.refuse(too_many_in_flight())
        else:
            self._driver.read(_Query(self, request), self._reads)

    def notify(self, notification: Notify, sender: Sender) -> None:
        """Do nothing: a replicated class has no one-way methods, which its making checks."""

    def cancel(self, session: bytes, number: int) -> None:
        """Do nothing: what is in the log cannot be called back, and the answer will be dropped."""

    def stream(self, session: bytes, frame: Chunk | Credit) -> None:
        """Do nothing: no method has streams, so this is of a call that is no longer known."""

    def answered(self, session: bytes, data: bytes) -> None:
        """Do nothing: no method takes references, so nobody was called back."""

    def leave(self, session: bytes) -> None:
        """Do nothing: the session lies in the log, and goes when it has been idle for long."""

    def acknowledge(self, session: bytes, acked_below: int) -> None:
        """Do nothing: only what the log carries may change the sessions."""

    def may_come_back(self, session: bytes) -> bool:  # noqa: ARG002 - see `Dispatcher`
        """Nobody needs to: the answers lie in the state, and every node has them."""
        return False

    def is_missed(self, since: float) -> bool:  # noqa: ARG002 - see `Dispatcher`
        """Nobody is missed."""
        return False

    def address_of(self, leader: NodeId | None) -> str | None:
        """Return where clients find the leader, None when it is not known."""
        return None if leader is None else self._addresses.get(leader)

    def query(self, call: Call) -> bytes:
        """Return the answer to a query on the state as it is now."""
        self._driver.reads_answered[self._kind] += 1
        return self._machine.execute_query(self._of_object(call))

    def done(self, command: "_Command", *, is_applied: bool = False) -> None:
        """Forget a command that has its outcome."""
        self._pending.pop(command.key, None)
        self._admission.done(command.ticket, self._loop.time(), is_applied=is_applied)

    def _dispatch_command(self, request: Request) -> None:
        key = (request.session, request.call.number)
        reply = self._machine.answered(*key)
        if reply is not None:
            request.answer(reply)
            return
        pending = self._pending.get(key)
        if pending is not None:
            pending.request = request  # a repeat, perhaps over another link: the answer goes there
            request.working()
            return
        if request.is_beyond_limit:
            request.refuse(too_many_in_flight())
            return
        ticket = self._admission.admit(
            request.session,
            len(request.frame),
            now=self._loop.time(),
            deadline=request.deadline,
        )
        if not isinstance(ticket, Ticket):
            request.refuse(Overloaded(_OVERLOADED, max(RETRY_AFTER, ticket)))
            return
        command = self._pending[key] = _Command(self, request, key, ticket)
        of_object = self._of_object(request.call)
        frame = request.frame if of_object is request.call else encode(of_object)
        self._driver.propose(self._pack(CommandKind.CALL, request.session, frame), command)

    def _of_object(self, call: Call) -> Call:
        """Return a call to this view as one to the object, any other one as it is."""
        return replace(call, object=self._name) if VIEW_MARK in call.object else call

    def _pack(self, kind: CommandKind, session: bytes, frame: bytes) -> bytes:
        return pack(
            kind,
            session=session,
            wall_now=self._wall_clock(),
            seed=self._random.getrandbits(SEED_BITS),
            frame=frame,
        )


def refusal_of(request: Request, name: str, interface: Interface) -> Refused | None:
    """Return why an object does not take a call from whoever makes it, None when it does."""
    method = interface.methods.get(request.call.method)
    if method is None:
        return NoSuchObject(f"{name} has no method {request.call.method}")
    if method.roles and not is_allowed(method.roles, request.roles):
        return PermissionDenied(denial(method.name, method.roles))
    return None


_OVERLOADED: Final = "the leader's queue of commands is full: try again after a while"


class _Command:
    """A command of a client that waits for its entry to be applied."""

    __slots__ = ("_dispatcher", "key", "request", "ticket")

    def __init__(
        self,
        dispatcher: ReplicatedDispatcher,
        request: Request,
        key: tuple[bytes, int],
        ticket: Ticket,
    ) -> None:
        self._dispatcher = dispatcher
        self.request = request
        self.key: Final = key
        self.ticket: Final = ticket

    def applied(self, outcome: bytes) -> None:
        self._dispatcher.done(self, is_applied=True)
        self.request.answer(outcome)

    def lost(self, leader: NodeId | None) -> None:
        # The session makes it harmless to ask again: the next leader knows what became of it.
        self._dispatcher.done(self)
        self.request.redirect(self._dispatcher.address_of(leader))

    def rejected(self, leader: NodeId | None, *, is_overloaded: bool) -> None:
        self._dispatcher.done(self)
        if is_overloaded:
            self.request.refuse(Overloaded(_OVERLOADED, RETRY_AFTER))
        else:
            self.request.redirect(self._dispatcher.address_of(leader))


class _Query:
    """A query of a client that waits for the leader's confirmation."""

    __slots__ = ("_dispatcher", "_request")

    def __init__(self, dispatcher: ReplicatedDispatcher, request: Request) -> None:
        self._dispatcher = dispatcher
        self._request = request

    def ready(self) -> None:
        self._request.answer(self._dispatcher.query(self._request.call))

    def rejected(self, leader: NodeId | None) -> None:
        self._request.redirect(self._dispatcher.address_of(leader))


class _Opening:
    """Waits until the log knows a session."""

    def __init__(self, dispatcher: ReplicatedDispatcher) -> None:
        self._dispatcher = dispatcher
        self.future: Final = asyncio.get_running_loop().create_future()

    def applied(self, outcome: bytes) -> None:
        assert not outcome, "opening a session has no answer of its own"
        if not self.future.done():
            self.future.set_result(None)

    def lost(self, leader: NodeId | None) -> None:
        if not self.future.done():
            self.future.set_exception(Redirected(self._dispatcher.address_of(leader)))

    def rejected(self, leader: NodeId | None, *, is_overloaded: bool) -> None:
        if is_overloaded and not self.future.done():
            self.future.set_exception(Overloaded(_OVERLOADED, RETRY_AFTER))
        else:
            self.lost(leader)
