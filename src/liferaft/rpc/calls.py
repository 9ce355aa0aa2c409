"""The calls of one caller's connection, without I/O: what is sent, repeated, answered, given up.

What becomes of them is the same whatever links there are: those, the handshake and the choice of a
host are in `liferaft.rpc.protocol`, which derives from this. Unanswered calls are sent again at
growing intervals, as any frame may be lost.

Invariants: a call is sent only while bound; the number of a call changes only before it was sent,
or when it is idempotent. No clock: `now` comes in, in seconds.
"""

from typing import Final, Generic, TypeVar

import msgspec

from liferaft.errors import ConnectionLost, DeadlineExceeded, LiferaftError, Unreachable
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
from liferaft.rpc.caller_state import Silence, State, Timing, copy_error, why_unsent
from liferaft.rpc.codec import decode_frame, encode
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

# Looked at for every call; see EXECUTE in session.py.
_BOUND: Final = State.BOUND
_LEAVING: Final = State.LEAVING

Outcome = wire.Reply | wire.Failure | LiferaftError


class CallerCalls(Generic[WaiterT]):
    """Calls of one object, and of those that it refers to, until each has its answer."""

    def __init__(
        self,
        *,
        object_name: str,
        session_id: bytes,
        timing: Timing | None,
        frame_bytes_max: int = FRAME_BYTES_MAX,
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
        # Calls that the host makes of objects that it refers to; the driver empties the list.
        self.incoming: list[tuple[wire.Frame, bytes]] = []
        self.session: CallerSession[WaiterT] = CallerSession(session_id)
        self.round_trip = RoundTrip()
        self._silence: Final = Silence(timing or Timing())
        self._due: float | None = None
        self._frame_bytes_max = frame_bytes_max
        self._metadata = metadata  # beside every call
        self._stream_sign = -1 if calls_back else 1

    @property
    def heard_at(self) -> float:
        """When the host said anything last, whatever links there were since."""
        return self._silence.word_at

    # What is called.

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
        if self.state is _BOUND or (self.state is _LEAVING and object_name is not None):
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

    def take_over(self, call: PendingCall[WaiterT], now: float) -> None:
        """Take a call that was not answered in another session, and may run twice."""
        self.session.take_over(call)
        if self.state is State.BOUND:
            self._send_call(call, self.round_trip.interval, now)
        self._due = self._next_due()

    def answer(self, call: PendingCall[WaiterT], outcome: Outcome) -> None:
        """Give a call the outcome that it has, whether the host says so or not."""
        self.session.settle(call.number)
        self.answers.append((call, outcome))

    def fail_all(self, error: LiferaftError) -> None:
        """Answer every call with `error`: the connection is being closed."""
        for call in list(self.session.pending.values()):
            self.answer(call, error)

    # Time.

    def deadline(self) -> float | None:
        """Return when `time_passed` must be called next; it may be a little early."""
        return self._due

    def _next_due(self) -> float | None:
        dues = [
            call.due(self._silence.heard_at, is_sending=self._is_sending(call))
            for call in self.session.pending.values()
        ]
        if self.state is not State.DOWN:
            dues += self._silence_dues()
            dues += self._link_dues()
        return min((due for due in dues if due is not None), default=None)

    def _silence_dues(self) -> tuple[float, float]:
        pending = self.session.pending.values()
        is_busy = bool(pending) or not self.state.is_bound
        arrives_at = max((call.arrives_at for call in pending), default=0.0)
        return self._silence.dues(is_busy=is_busy, arrives_at=arrives_at)

    def _link_dues(self) -> list[float]:
        """Return when there is something to do for the link; for who derives from this."""
        return []

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

    def _repeat(self, call: PendingCall[WaiterT], now: float) -> None:
        if call.resend_at <= now:
            if self._silence.is_held_up(now):
                call.resend_at = now + call.interval
            else:
                self._send_call(call, min(2 * call.interval, RESEND_CAP), now)
        if call.streams is not None:
            self.send_streams(call, now)

    # Sending.

    def _is_sending(self, call: PendingCall[WaiterT]) -> bool:
        """Return whether the call goes to the present host, now and when it is repeated."""
        if self.state is State.LEAVING:
            return call.sent_count > 0
        return self.state is State.BOUND

    def _send_if_bound(self, frame: wire.Frame) -> None:
        if self.state.is_bound:
            self.outgoing.append(encode(frame))

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

    # What the host says of them.

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
        if self.state is _LEAVING:
            self._leave_when_done()

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

    def _leave_when_done(self) -> None:
        """Leave a host that owes no answer any more; for who derives from this."""
