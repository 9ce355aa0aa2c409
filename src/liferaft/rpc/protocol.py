"""The caller's side of a connection, without I/O: what to send, what was answered, what is next.

The driver reports what happens (`link_opened`, `receive`, `time_passed`, `link_lost`) and then
takes `outgoing`, `answers` and `request` once. Frames of the handshake and unanswered calls are
sent again at growing intervals, as any frame may be lost.

Invariants: a call is sent only while bound; the number of a call changes only before it was sent,
or when it is idempotent; `incarnation` is that of the host that was bound last. No clock: `now`
comes in, in seconds. No randomness: session ids are drawn by the driver's function.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from liferaft.errors import (
    ConnectionLost,
    DeadlineExceeded,
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
from liferaft.rpc.buffers import (
    CallFrame,
    check_call,
    encode_apart,
    outline_of,
    set_aside,
    too_large,
    with_outline,
)
from liferaft.rpc.caller_state import Leave, Silence, State, Timing, copy_error, why_unsent
from liferaft.rpc.codec import decode_frame, encode, our_error
from liferaft.rpc.interface import MethodSignature
from liferaft.rpc.session import (
    RESEND_CAP,
    WORKING_INTERVAL,
    CallerSession,
    PendingCall,
    RoundTrip,
    travel_time,
)
from liferaft.rpc.stream import CallStreams

WaiterT = TypeVar("WaiterT")


Outcome = wire.Reply | wire.Failure | LiferaftError


class CallerProtocol(Generic[WaiterT]):
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
        self.state = State.DOWN
        self.object_name = object_name
        self.trouble: LiferaftError = Unreachable("no connection was made yet")
        self.is_trouble_lasting = False
        self.outgoing: list[CallFrame] = []
        self.answers: list[tuple[PendingCall[WaiterT], Outcome]] = []
        # Calls of whose streams something was heard; the driver empties the list.
        self.progressed: list[PendingCall[WaiterT]] = []
        self.leave: Leave | None = None
        # Calls that the host makes of objects that it refers to; the driver empties the list.
        self.incoming: list[tuple[wire.Frame, bytes]] = []
        # How often the host has forgotten its references; the driver resets the flag.
        self.epoch = 0
        self.has_forgotten = False
        self._asked = object_name
        self._signatures = signatures
        self._draw_session = draw_session
        self._silence = Silence(timing or Timing())
        self.session: CallerSession[WaiterT] = CallerSession(draw_session())
        self.round_trip = RoundTrip()
        self.is_durable = False
        # Set by the driver once other connections have the new calls: no host is kept any more.
        self.is_parting = False
        self._bound_incarnation: bytes | None = None
        self._incarnation = b""
        self._handshake_at = 0.0
        self._handshake_interval = 0.0
        self._due: float | None = None
        self._frame_bytes_max = frame_bytes_max
        self._gives_back = gives_back
        self._token = token
        self._metadata = metadata  # beside every call
        self._stream_sign = -1 if calls_back else 1

    @property
    def heard_at(self) -> float:
        """When the host said anything last, whatever links there were since."""
        return self._silence.word_at

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

    def call(
        self,
        method: MethodSignature,
        arguments: "msgspec.Raw | tuple[object, ...]",
        *,
        now: float,
        deadline: float | None,
        waiter: WaiterT,
        streams: CallStreams | None = None,
        patience: float | None = None,
        metadata: dict[str, str] | None = None,
        object_name: str | None = None,
        exported: list[int] | None = None,
    ) -> PendingCall[WaiterT]:
        """Take a call, and send it if bound. Raises what encoding raises, and then keeps nothing.

        `arguments` may be the tuple itself: it is encoded here, together with the frame, and large
        buffers in it are not copied: they must not change before the call has its answer. A call
        with `streams` is given up when nothing is heard of the host for `patience` seconds.
        """
        if self.is_trouble_lasting:
            raise copy_error(self.trouble)
        if self._metadata is not None:
            metadata = {**metadata, **self._metadata} if metadata else self._metadata
        session = self.session
        message = wire.Call(
            session.next_number,
            session.acked_below,
            self.object_name if object_name is None else object_name,
            method.name,
            None if deadline is None else deadline - now,
            set_aside(arguments) if method.has_buffers else arguments,  # type: ignore[arg-type] # a tuple is encoded as Raw would be
            metadata,
        )
        frame = encode_apart(message) if method.has_buffers else encode(message)
        check_call(method.name, frame, self._frame_bytes_max)
        call = session.add(method, frame, deadline, waiter)
        call.exported, call.object_name = exported, object_name
        if streams is not None:
            call.streams, call.patience, call.since = streams, patience, now
        if self.state is State.BOUND or (self.state is State.LEAVING and object_name is not None):
            self.outgoing.append(frame)
            call.sent_count = 1
            call.sent_at = call.begun_at = now
            call.interval = self.round_trip.interval
            call.resend_at = now + call.interval + travel_time(frame)
            if len(session.pending) == 1:
                self._silence.ask(now)
        due = call.due(self._silence.heard_at, is_sending=call.sent_count > 0)
        if due is not None and (self._due is None or due < self._due):
            self._due = due
        return call

    def notify(
        self,
        method: MethodSignature,
        arguments: "msgspec.Raw | tuple[object, ...]",
        metadata: dict[str, str] | None = None,
        *,
        object_name: str | None = None,
    ) -> None:
        """Send a one-way call, or lose it while there is no connection."""
        name = self.object_name if object_name is None else object_name
        frame = encode(wire.Notify(name, method.name, arguments, metadata))  # type: ignore[arg-type] # as in call
        check_call(method.name, frame, self._frame_bytes_max)
        if self.state.is_bound:
            self.outgoing.append(frame)

    def send_streams(self, call: PendingCall[WaiterT], now: float) -> None:
        """Send what the streams of a call have for the host."""
        if self.state.is_bound and call.sent_count and call.streams is not None:
            self.outgoing += call.streams.frames(self._stream_sign * call.number, now)
            due = call.streams.due()
            if due is not None and (self._due is None or due < self._due):
                self._due = due

    def cancel(self, call: PendingCall[WaiterT]) -> None:
        """Give up on a call, and tell the host."""
        if call.exported is not None and call.sent_count:
            # Its answer is waited for: who got the references in it, or in its arguments, it tells.
            call.deadline, call.is_given_up = None, True
            self._send_if_bound(wire.Cancel(call.number))
        elif self.session.pending.get(call.number) is call:
            self.session.settle(call.number)
            if not call.sent_count:
                return
            self._send_if_bound(wire.Cancel(call.number))
            self._leave_when_done()

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
            elif self.state is State.BOUND or (self.state is State.LEAVING and call.sent_count):
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

    def _repeat(self, call: PendingCall[WaiterT], now: float) -> None:
        if call.resend_at <= now:
            if self._silence.is_held_up(now):
                call.resend_at = now + call.interval
            else:
                self._send_call(call, min(2 * call.interval, RESEND_CAP), now)
        if call.streams is not None:
            self.send_streams(call, now)

    def deadline(self) -> float | None:
        """Return when `time_passed` must be called next; it may be a little early."""
        return self._due

    def fail_all(self, error: LiferaftError) -> None:
        """Answer every call with `error`: the connection is being closed."""
        for call in list(self.session.pending.values()):
            self.answer(call, error)

    def begin_anew(self, why: str) -> None:
        """Begin a new session while there is no link: calls that were sent get `SessionExpired`."""
        assert self.state is State.DOWN
        self._session_expired(why)

    def take_over(self, call: PendingCall[WaiterT], now: float) -> None:
        """Take a call that was not answered in another session, and may run twice."""
        self.session.take_over(call)
        if self.state is State.BOUND:
            self._send_call(call, self.round_trip.interval, now)
        self._due = self._next_due()

    def forget(self) -> None:
        """Know that the host has forgotten all references.

        Of the calls that were not sent yet those go on that only refer to objects of this side: see
        `CallDriver._forget_references`.
        """
        self.epoch += 1
        self.has_forgotten = True
        for call in list(self.session.pending.values()):
            if not call.sent_count and call.counts_on_the_host:
                text = f"{call.method.name}: the host changed, and forgot the references"
                self.answer(call, Unreachable(text))

    # Time.

    def _silence_dues(self) -> tuple[float, float]:
        pending = self.session.pending.values()
        is_busy = bool(pending) or not self.state.is_bound
        arrives_at = max((call.arrives_at for call in pending), default=0.0)
        return self._silence.dues(is_busy=is_busy, arrives_at=arrives_at)

    def _next_due(self) -> float | None:
        dues = [
            call.due(self._silence.heard_at, is_sending=self._is_sending(call))
            for call in self.session.pending.values()
        ]
        if self.state is not State.DOWN:
            dues += self._silence_dues()
            if not self.state.is_bound:
                dues.append(self._handshake_at)
        return min((due for due in dues if due is not None), default=None)

    def _expire(self, call: PendingCall[WaiterT]) -> None:
        self.cancel(call)
        if call.streams is not None and call.sent_count and not self.state.is_bound:
            error: LiferaftError = ConnectionLost(f"{call.method.name}: {self.trouble}")
        elif call.sent_count:
            error = DeadlineExceeded(
                f"{call.method.name}: no answer within the deadline; it may have been executed"
            )
        else:
            error = why_unsent(self.trouble)
        self.answers.append((call, error))

    # Sending.

    def _is_sending(self, call: PendingCall[WaiterT]) -> bool:
        """Return whether the call goes to the present host, now and when it is repeated."""
        if self.state is State.LEAVING:
            return call.sent_count > 0
        return self.state is State.BOUND

    def _send_if_bound(self, frame: wire.Frame) -> None:
        if self.state.is_bound:
            self.outgoing.append(encode(frame))

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

    def _send_call(self, call: PendingCall[WaiterT], interval: float, now: float) -> None:
        """Send a call again, or for the first time after it waited for a connection."""
        left = None if call.deadline is None else call.deadline - now
        earlier = decode_frame(outline_of(call.frame))
        assert isinstance(earlier, wire.Call)
        outline = encode(
            msgspec.structs.replace(
                earlier,
                number=call.number,
                acked_below=self.session.acked_below,
                object=earlier.object if "#" in earlier.object else self.object_name,
                time_left=0.0 if call.is_given_up else left,
            )
        )
        call.frame = with_outline(call.frame, outline)
        if len(call.frame) > self._frame_bytes_max and not call.sent_count:
            # It was taken before any host had said how much it bears.
            self.answer(call, too_large(call.method.name, call.frame, self._frame_bytes_max))
            return
        self.outgoing.append(call.frame)
        if call.begun_at < self._silence.begun_at:
            call.begun_at, call.has_arrived = now, False
        call.sent_count += 1
        call.sent_at = now
        call.interval = interval
        call.resend_at = now + interval + travel_time(call.frame)

    # Receiving.

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

    def _answered(self, frame: wire.Reply | wire.Failure, now: float) -> None:
        call = self.session.pending.get(frame.number)
        if call is None:
            return
        if call.sent_count > 1 and states.is_refusal(frame):
            # This copy was turned away, but an earlier one may still be executed: elsewhere, or
            # later. So it is no answer yet, and the call is asked again.
            call.interval = min(2 * call.interval, RESEND_CAP)
            call.resend_at = now + call.interval
            return
        self.session.settle(frame.number)
        if call.sent_count == 1:
            self.round_trip.measured(now - call.sent_at)
        self.answers.append((call, frame))
        if self.state is State.LEAVING:
            self._leave_when_done()

    def _redirected(self, frame: wire.Redirect, _now: float) -> None:
        number, pending = frame.number, self.session.pending
        if not (number in pending if number else self.state is State.BINDING):
            return  # a late repeat: what it spoke of has been answered since
        if frame.address is None:
            self._quit(NoLeader("the host does not know who serves the object at present"))
        else:
            self._quit(Unreachable(f"redirected to {frame.address}"), address=frame.address)

    def _working(self, frame: wire.Working, now: float) -> None:
        call = self.session.pending.get(frame.number)
        if call is not None:
            call.has_arrived = True
            if call.interval < WORKING_INTERVAL:
                # It was asked again too soon, and so would the next ones be: none of them would be
                # sent once only, and so none would tell how long an answer takes.
                self.round_trip.was_too_short()
            call.interval = WORKING_INTERVAL
            call.resend_at = now + WORKING_INTERVAL

    def _streamed(self, frame: wire.Chunk | wire.Credit, now: float) -> None:
        number = self._stream_sign * frame.number
        if number < 0:
            self.incoming.append((frame, b""))
            return
        call = self.session.pending.get(number)
        if call is None or call.streams is None:
            if isinstance(frame, wire.Chunk):
                self._send_if_bound(wire.Cancel(number))
            return
        call.streams.take(frame)
        call.interval = WORKING_INTERVAL
        call.resend_at = now + WORKING_INTERVAL
        self.progressed.append(call)
        self.send_streams(call, now)

    def _goodbye(self, frame: wire.Goodbye, _now: float) -> None:
        kind: type[LiferaftError] = ConnectionLost if self.state.is_bound else Unreachable
        error = ProtocolError if frame.is_final else kind
        self._quit(error(f"the host ended the connection: {frame.reason}"))

    def _host_leaves(self, _frame: wire.Leaving, _now: float) -> None:
        if self.state is State.BOUND:
            self.state = State.LEAVING
            self._give_back()
            self._leave_when_done()

    def _leave_when_done(self) -> None:
        """Turn to another host once the one that is about to stop owes no answer."""
        if self.state is State.LEAVING and not any(
            call.sent_count for call in self.session.pending.values()
        ):
            self._send_if_bound(wire.Goodbye("the host stops", is_final=True))
            self._quit(ConnectionLost("the host stops"), has_parted=True)

    def _pong(self, _frame: wire.Pong, _now: float) -> None:
        """Do nothing more: that something was heard is all that a pong says."""

    def answer(self, call: PendingCall[WaiterT], outcome: Outcome) -> None:
        """Give a call the outcome that it has, whether the host says so or not."""
        self.session.settle(call.number)
        self.answers.append((call, outcome))

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
