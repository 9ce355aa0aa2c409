"""The caller's side of a connection, without I/O: what to send, what was answered, what is next.

The driver reports what happens (`link_opened`, `receive`, `time_passed`, `link_lost`) and then
takes `outgoing`, `answers` and `leave` once. What becomes of the calls themselves is in
`liferaft.rpc.calls`; here are links: the handshake, a host that is silent, that was restarted, or
is about to stop.

Invariants: `_bound_incarnation` is that of the host that was bound last. No clock: `now` comes in,
in seconds. No randomness: session ids are drawn by the driver's function.
"""

from collections.abc import Callable
from typing import Final

from typing_extensions import override

from liferaft.errors import (
    ConnectionLost,
    InterfaceMismatch,
    LiferaftError,
    NoLeader,
    NoSuchObject,
    OutcomeUnknown,
    ProtocolError,
    Refused,
    SessionExpired,
    Unauthenticated,
    Unreachable,
)
from liferaft.link.base import FRAME_BYTES_MAX
from liferaft.rpc import caller_state as states
from liferaft.rpc import wire
from liferaft.rpc.caller_state import Leave, State, Timing, copy_error
from liferaft.rpc.calls import CallerCalls, WaiterT
from liferaft.rpc.codec import decode_frame, encode, our_error
from liferaft.rpc.session import RESEND_CAP, CallerSession


class CallerProtocol(CallerCalls[WaiterT]):
    """The state of one caller's connection to one object, over all the links that it uses."""

    def __init__(
        self,
        *,
        object_name: str,
        signatures: dict[str, str],
        draw_session: Callable[[], bytes],
        timing: Timing | None = None,
        frame_bytes_max: int = FRAME_BYTES_MAX,
        gives_back: bool = False,
        token: str = "",
        metadata: dict[str, str] | None = None,
        calls_back: bool = False,
    ) -> None:
        """With `calls_back` the calls are a host's, of objects that its caller has."""
        super().__init__(
            object_name=object_name,
            session_id=draw_session(),
            timing=timing,
            frame_bytes_max=frame_bytes_max,
            metadata=metadata,
            calls_back=calls_back,
        )
        self.leave: Leave | None = None
        # How often the host has forgotten its references; the driver resets the flag.
        self.epoch = 0
        self.has_forgotten = False
        self.is_durable = False
        # Set by the driver once other connections have the new calls: no host is kept any more.
        self.is_parting = False
        self._asked = object_name
        self._signatures = signatures
        self._draw_session = draw_session
        self._bound_incarnation: bytes | None = None
        self._incarnation = b""
        self._handshake_at = 0.0
        self._handshake_interval = 0.0
        self._gives_back = gives_back
        self._token = token

    # What the driver reports.

    def link_opened(self, now: float) -> None:
        """Begin the handshake over a new link."""
        assert self.state is State.DOWN
        self.state = State.GREETING
        self.leave = None
        if type(self.trouble) is Unreachable:
            self.trouble = Unreachable("the host does not answer the handshake")
        self._silence.begin(now)
        self._handshake_interval = self.round_trip.interval
        self._shake_hands(now)

    def attached(self, now: float) -> None:
        """Go on over another link, on which the handshake is somebody else's business."""
        self.state = State.BOUND
        self._silence.begin(now)
        for call in list(self.session.pending.values()):
            self._send_call(call, self.round_trip.interval, now)
        self._due = self._next_due()

    def link_lost(self, reason: LiferaftError) -> None:
        """Remember why; the calls wait for the next link."""
        self.state = State.DOWN
        self.outgoing.clear()
        if not self.is_trouble_lasting:
            self.trouble = reason
        self._give_back()

    def _give_back(self) -> None:
        """Answer the calls that may as well go to another host, where the driver wants them."""
        if self._gives_back:
            for call in list(self.session.pending.values()):
                text = f"{call.method.name}: {self.trouble}"
                if not call.sent_count:
                    self.answer(call, Unreachable(text))
                elif call.may_run_twice and self.state is State.DOWN:
                    self.answer(call, states.GivenBack(text))

    def receive(self, frames: list[bytes], now: float) -> None:
        """Take what one socket read brought; raises `ProtocolError` when it cannot be read."""
        self._silence.hears(now)
        for data in frames:
            frame = decode_frame(data)
            if type(frame) is wire.Reply:
                self._answered(frame, now)
            elif type(frame) in _INCOMING:
                self.incoming.append((frame, data))
            else:
                handle = _HANDLERS.get(type(frame))
                if handle is None:
                    raise ProtocolError(f"a host does not send {type(frame).__name__}")
                handle(self, frame, now)

    def bytes_received(self, now: float) -> None:
        """Know that a part of a large frame came: the host is there, and is answering."""
        self._silence.grows(now)

    def set_clogged(self, now: float, *, is_clogged: bool) -> None:
        """Know whether what was sent still waits to leave; a peer that is gone is the link's."""
        self._silence.set_clogged(now, is_clogged=is_clogged)
        self._due = self._next_due()

    def time_passed(self, now: float) -> None:
        """Do what is due: deadlines, repeats, pings, giving up on a silent host."""
        for call in list(self.session.pending.values()):
            if call.end(self._silence.heard_at) <= now:
                self._expire(call)
            elif self._is_sending(call):
                self._repeat(call, now)
        if self.state is State.DOWN:
            self._due = self._next_due()
            return
        if not self.state.is_bound and self._handshake_at <= now:
            self._shake_hands(now)
        ping_at, gone_at = self._silence_dues()
        if gone_at <= now:
            self._quit(Unreachable("the host no longer answers"))
        elif ping_at <= now:
            self._ping(now)
        self._due = self._next_due()

    def begin_anew(self, why: str) -> None:
        """Begin a new session while there is no link: calls that were sent get `SessionExpired`."""
        assert self.state is State.DOWN
        self._session_expired(why)

    def forget(self) -> None:
        """Know that the host has forgotten all references.

        Of the calls that were not sent yet those go on that only refer to objects of this side: see
        `CallerReferences.forget`.
        """
        self.epoch += 1
        self.has_forgotten = True
        for call in list(self.session.pending.values()):
            if not call.sent_count and call.counts_on_the_host:
                text = f"{call.method.name}: the host changed, and forgot the references"
                self.answer(call, Unreachable(text))

    # What is due.

    @override
    def _link_dues(self) -> list[float]:
        return [] if self.state.is_bound else [self._handshake_at]

    def _ping(self, now: float) -> None:
        self._silence.ping(now, is_busy=bool(self.session.pending))
        self._send_if_bound(wire.Ping(self.session.acked_below))

    def _shake_hands(self, now: float) -> None:
        if self.state is State.GREETING:
            name, version = wire.PROTOCOL_NAME, wire.PROTOCOL_VERSION
            frame: wire.Frame = wire.Hello(name, version, self.session.session_id, self._token)
        else:
            is_resumed = self._bound_incarnation is not None
            frame = wire.Bind(self._asked, self._signatures, is_resumed)
        self.outgoing.append(encode(frame))
        self._handshake_at = now + self._handshake_interval
        self._handshake_interval = min(2 * self._handshake_interval, RESEND_CAP)
        self._due = self._next_due()

    # What the host says.

    def _welcome(self, frame: wire.Welcome, now: float) -> None:
        if self.state is not State.GREETING:
            return
        if frame.version != wire.PROTOCOL_VERSION:
            self._quit(ProtocolError(f"the host speaks version {frame.version}"), is_lasting=True)
            return
        self._incarnation = frame.incarnation
        self._frame_bytes_max = min(self._frame_bytes_max, frame.frame_bytes_max)
        if self._bound_incarnation not in (None, frame.incarnation) and not self.is_durable:
            self._host_restarted()
        self.state = State.BINDING
        self._handshake_interval = self.round_trip.interval
        self._shake_hands(now)

    def _host_restarted(self) -> None:
        """Give up on what was sent: the host knows nothing of it, executed or not."""
        self._bound_incarnation = None
        self.forget()
        for call in list(self.session.pending.values()):
            if call.sent_count and not call.may_run_twice:
                name = call.method.name
                self.answer(
                    call, OutcomeUnknown(f"the host restarted; {name} may have been executed")
                )

    def _bound(self, frame: wire.Bound, now: float) -> None:
        if self.state is not State.BINDING or frame.asked != self._asked:
            return
        self.state = State.LEAVING if self.is_parting else State.BOUND
        self.object_name = frame.object
        self.is_trouble_lasting = False
        self.is_durable = frame.is_durable
        self._bound_incarnation = self._incarnation
        for call in list(self.session.pending.values()):
            self._send_call(call, self.round_trip.interval, now)
        self._leave_when_done()
        self._due = self._next_due()

    def _unbound(self, frame: wire.Unbound, _now: float) -> None:
        if self.state is not State.BINDING or frame.asked != self._asked:
            return
        if frame.code == "expired":
            self._session_expired(frame.message)
            self._quit(SessionExpired(frame.message))
        elif frame.code == "mismatch":
            self._quit(InterfaceMismatch(frame.message), is_lasting=True)
        elif frame.code == "missing":
            self._quit(NoSuchObject(frame.message), is_lasting=True)
        else:
            error = our_error(frame.code, frame.message)
            is_lasting = isinstance(error, Unauthenticated)
            refusal = error if isinstance(error, Refused) else Refused(frame.message)
            self._quit(refusal, is_lasting=is_lasting)

    def _session_expired(self, message: str) -> None:
        """Begin a new session; what was never sent, or does no harm twice, goes on in it."""
        self.forget()
        expired = self.session
        self.session = CallerSession(self._draw_session())
        self._bound_incarnation = None
        for call in expired.pending.values():
            if call.sent_count and not call.may_run_twice:
                self.answers.append((call, SessionExpired(message)))
                continue
            self.session.take_over(call)

    def _redirected(self, frame: wire.Redirect, _now: float) -> None:
        number, pending = frame.number, self.session.pending
        if not (number in pending if number else self.state is State.BINDING):
            return  # a late repeat: what it spoke of has been answered since
        if frame.address is None:
            self._quit(NoLeader("the host does not know who serves the object at present"))
        else:
            self._quit(Unreachable(f"redirected to {frame.address}"), address=frame.address)

    def _goodbye(self, frame: wire.Goodbye, _now: float) -> None:
        kind: type[LiferaftError] = ConnectionLost if self.state.is_bound else Unreachable
        error = ProtocolError if frame.is_final else kind
        self._quit(error(f"the host ended the connection: {frame.reason}"))

    def _host_leaves(self, _frame: wire.Leaving, _now: float) -> None:
        if self.state is State.BOUND:
            self.state = State.LEAVING
            self._give_back()
            self._leave_when_done()

    @override
    def _leave_when_done(self) -> None:
        """Turn to another host once the one that is about to stop owes no answer."""
        if self.state is State.LEAVING and not any(
            call.sent_count for call in self.session.pending.values()
        ):
            self._send_if_bound(wire.Goodbye("the host stops", is_final=True))
            self._quit(ConnectionLost("the host stops"), has_parted=True)

    def _pong(self, _frame: wire.Pong, _now: float) -> None:
        """Do nothing more: that something was heard is all that a pong says."""

    def _quit(
        self,
        reason: LiferaftError,
        *,
        address: str | None = None,
        is_lasting: bool = False,
        has_parted: bool = False,
    ) -> None:
        self.trouble = reason
        self.is_trouble_lasting = is_lasting
        if is_lasting:
            for call in list(self.session.pending.values()):
                if not call.sent_count:
                    self.answer(call, copy_error(reason))
        if self.leave is None:
            self.leave = Leave(reason, address, is_lasting, has_parted)


_INCOMING: Final = frozenset({wire.Call, wire.Cancel, wire.Notify})
"""What a host sends about objects of this side; what becomes of it is the driver's business."""

_HANDLERS: Final[dict[type, Callable[..., None]]] = {
    wire.Welcome: CallerProtocol._welcome,  # noqa: SLF001 - the class's own table
    wire.Bound: CallerProtocol._bound,  # noqa: SLF001
    wire.Unbound: CallerProtocol._unbound,  # noqa: SLF001
    wire.Failure: CallerProtocol._answered,  # noqa: SLF001
    wire.Redirect: CallerProtocol._redirected,  # noqa: SLF001
    wire.Working: CallerProtocol._working,  # noqa: SLF001
    wire.Chunk: CallerProtocol._streamed,  # noqa: SLF001
    wire.Credit: CallerProtocol._streamed,  # noqa: SLF001
    wire.Pong: CallerProtocol._pong,  # noqa: SLF001
    wire.Goodbye: CallerProtocol._goodbye,  # noqa: SLF001
    wire.Leaving: CallerProtocol._host_leaves,  # noqa: SLF001
}
