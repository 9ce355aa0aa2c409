"""The seam between a server and what answers its calls.

A server owns links, handshakes and limits; a dispatcher owns what happens to the calls of one
hosted object. A plain object's dispatcher keeps sessions in memory and runs methods; a replicated
object's (in liferaft.replicated) puts the very bytes of the call into the log.

All methods are called on the event loop's thread and never block.
"""

from collections.abc import Callable
from typing import Final, Protocol

from liferaft.errors import Overloaded, Refused
from liferaft.rpc.access import Roles
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.interface import Interface
from liferaft.rpc.wire import Call, Chunk, Credit, Notify

RETRY_AFTER: Final = 0.1
"""Seconds after which a call that was turned away for a limit should come again: the calls that are
under way then are others."""


class Sender(Protocol):
    """Whoever sends calls over one link."""

    @property
    def session(self) -> bytes | None:
        """The caller's session, 16 bytes; None before it has said which."""

    @property
    def peer(self) -> str:
        """Where the calls come from, for people to read."""

    @property
    def roles(self) -> Roles:
        """What the caller's token allows."""


class Request(Protocol):
    """One call that arrived, and the way to answer it. It may be a repeat of an earlier one.

    An answer goes to the link on which the request came; when that is gone, it is dropped: the
    caller will ask again elsewhere. At most one of the answering methods takes effect.
    """

    @property
    def session(self) -> bytes:
        """The caller's session, 16 bytes."""

    @property
    def call(self) -> Call:
        """The call, decoded but for its arguments."""

    @property
    def is_beyond_limit(self) -> bool:
        """Whether the link has as many calls in flight as it may: a new one must be refused.

        One that was taken before must not be, for what was executed is not refused.
        """

    @property
    def frame(self) -> bytes:
        """The whole frame as it came, for who wants to keep it as bytes."""

    @property
    def peer(self) -> str:
        """Where the call came from, for people to read."""

    @property
    def roles(self) -> Roles:
        """What the caller's token allows."""

    @property
    def deadline(self) -> float | None:
        """When the caller stops waiting, in the loop's time."""

    def answer(self, frame: CallFrame) -> None:
        """Send an encoded `Reply` or `Failure` that carries this call's number."""

    def refuse(self, error: Refused) -> None:
        """Say that the call was turned away and nothing was executed."""

    def redirect(self, address: str | None) -> None:
        """Send the caller elsewhere, with this call and all its others."""

    def push(self, frame: bytes) -> None:
        """Send a frame of one of the call's streams; the request must still be answered."""

    def working(self) -> None:
        """Say that the call is still being executed: the caller repeats it less often.

        The request can and must still be answered.
        """


def too_many_in_flight() -> Overloaded:
    """Return what a new call is refused with that is beyond its link's limit."""
    return Overloaded("too many calls in flight on this connection", RETRY_AFTER)


class Redirected(Exception):
    """Raised by `Dispatcher.admit`: the session must be bound elsewhere. Never leaves rpc."""

    def __init__(self, address: str | None) -> None:
        super().__init__(address)
        self.address = address


class Dispatcher(Protocol):
    """Answers the calls of one hosted object."""

    @property
    def interface(self) -> Interface:
        """What callers are compared with when they bind."""

    @property
    def is_durable(self) -> bool:
        """Whether sessions outlive this host."""

    async def admit(
        self, session: bytes, *, is_resumed: bool, send: Callable[[CallFrame], None]
    ) -> None:
        """Return once calls of the session may come, over the link that `send` sends over.

        Raises `Redirected`, `SessionExpired` (only when `is_resumed`), or a `Refused`.
        """

    def dispatch(self, request: Request) -> None:
        """Take a call; answer it now or later."""

    def notify(self, notification: Notify, sender: Sender) -> None:
        """Take a call of a one-way method."""

    def cancel(self, session: bytes, number: int) -> None:
        """Learn that the caller gave up on a call."""

    def stream(self, session: bytes, frame: Chunk | Credit) -> None:
        """Take a frame of one of the streams of a call; raises `ProtocolError` for a wrong one."""

    def answered(self, session: bytes, data: bytes) -> None:
        """Take the answer to a call of one of the caller's objects; raises `ProtocolError`."""

    def leave(self, session: bytes) -> None:
        """Learn that the caller has ended its session, or has got all that it wants of this host.

        It may come again, and is admitted anew then.
        """

    def acknowledge(self, session: bytes, acked_below: int) -> None:
        """Learn that the session needs no reply below `acked_below` any more."""

    def may_come_back(self, session: bytes) -> bool:
        """Whether the session was here, and has not left: nobody else has its answers."""

    def is_missed(self, since: float) -> bool:
        """Whether there is such a session that was heard of since then, in the loop's time."""
