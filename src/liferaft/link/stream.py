"""A link over a stream of bytes: what TCP and Unix sockets share.

One `StreamLink` is the asyncio protocol of one connected socket. Invariants:

- Frames sent in one turn of the loop leave together, after it, but no more than a few at a time:
  the other end then works on the first while this one still makes the rest. Only large ones are
  written by themselves, because joining would copy them. What is sent next after something was read
  leaves at once, though, where just one frame was sent between the two reads before: who calls and
  waits for the answer, and who answers such calls, gain nothing from the end of the turn.
- Until `start`, the socket is read once at most: the kernel's buffers, and then the peer, hold back
  what cannot be delivered yet.
- A frame is whole within a bounded time after its first byte, or the link ends.
- Of many frames most wait for their turns (turns.py), and nothing more is read until they had them.
- From the peer of a link that was accepted nothing more is read while it does not take what was
  sent; when it takes nothing for a bounded time, the link ends. (The other side reads on: if both
  waited for each other, it would be for ever.)
- All links that were accepted by one listener hold a bounded amount together (budget.py).
- After `close` the socket is closed within a bounded time, even when the peer reads nothing more.
- `link_closed` comes once, last, and never from inside a method that the receiver called.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from liferaft.errors import ConnectionLost, LiferaftError, ProtocolError
from liferaft.link.base import (
    BYTES_PER_SECOND_MIN,
    HIGH_WATER_BYTES,
    LOW_WATER_BYTES,
    Link,
    Receiver,
)
from liferaft.link.budget import Budget
from liferaft.link.frames import FrameSplitter, Sendable, check_frame, pack_header
from liferaft.link.turns import FRAMES_PER_TURN_MAX, Turns

FRAME_TIMEOUT = 10.0
"""Seconds that a frame may stay half received, beside what its length takes at the least rate, and
that what is sent may make no headway."""

UNCOUNTED_BYTES_MAX = 16 * 1024
"""What each link may hold without being counted in a budget: a thousand links, 16 MiB."""

SPARE_BYTES = 1024 * 1024
"""What a budget has above one frame of the largest size."""

ACCEPTED_HIGH_WATER_BYTES = 128 * 1024
ACCEPTED_LOW_WATER_BYTES = 32 * 1024
"""How much of a host's answers may wait before it reads no more calls: a megabyte would be the
answers to 70,000 small calls, of somebody who takes none of them."""

FRAMES_AT_ONCE_MAX = 8
"""Frames that are written together. With all of a turn in one write, both ends worked in turns, and
64 calls in flight went at 88,000 a second; with 8 at a time at 136,000, and 16 in flight twice as
fast."""

JOINED_BYTES_MAX = 64 * 1024
"""Larger frames are written by themselves: a copy costs more than another system call."""


class StreamShares:
    """What the links of one listener share: turns, and what they may hold in each direction."""

    def __init__(self, frame_bytes_max: int) -> None:
        self.turns = Turns()
        bytes_max = frame_bytes_max + SPARE_BYTES
        # Whose frame comes in slowest goes first: a frame that is meant to arrive, arrives.
        self.receiving: Budget[StreamLink] = Budget(
            bytes_max,
            measure=lambda link: link.half_received_bytes,
            worth=lambda link: link.receiving_rate,
        )
        # Who leaves most untaken goes first.
        self.sending: Budget[StreamLink] = Budget(
            bytes_max,
            measure=lambda link: link.unsent_bytes,
            worth=lambda link: -link.unsent_bytes,
        )


class StreamLink(asyncio.Protocol):
    """One connected socket that carries frames; a `Link`. Made by tcp.py and unix.py.

    `describe` names the other end once the transport is there. `accept`, on the listening side, is
    called with the link when it is connected, and `shares` are those of the listener.
    """

    def __init__(
        self,
        *,
        frame_bytes_max: int,
        frame_timeout: float,
        describe: Callable[[asyncio.Transport], str],
        accept: Callable[[Link], None] | None = None,
        shares: StreamShares | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._frame_bytes_max = frame_bytes_max
        self._frame_timeout = frame_timeout
        self._describe = describe
        self._accept = accept
        self._shares = shares or StreamShares(frame_bytes_max)
        self._splitter = FrameSplitter(frame_bytes_max)
        self._transport: asyncio.Transport
        self._peer = ""
        self._is_encrypted = False
        self._receiver: Receiver | None = None
        self._is_started = False
        # What was read before the start.
        self._early: list[bytes] = []
        # Set once, by whichever comes first: close, abort, a broken protocol, the peer's end. The
        # reason is None when it was this side that wanted it.
        self._is_closed = False
        self._reason: LiferaftError | None = None
        self._lost = asyncio.Event()
        self._is_sending_paused = False
        # Frames that are whole and wait for their turn, the last of them first.
        self._backlog: list[bytes] = []
        self._is_backlog_long = False
        self._written_bytes = 0
        # Headers and frames of this turn, in order; a flush is scheduled while there are some.
        self._outgoing: list[bytes | memoryview] = []
        # How many frames were sent since the last read, and whether there was just one before it.
        self._sent_count = 0
        self._is_alternating = False
        self._frame_since: float | None = None
        self._frame_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._sending_timer: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str:
        """Where the other end is, for log lines and errors."""
        return self._peer

    @property
    def is_closed(self) -> bool:
        """Whether `close` or `abort` was called, or the peer went away."""
        return self._is_closed

    @property
    def half_received_bytes(self) -> int:
        """What is held of a frame that is not yet whole."""
        return 0 if self._is_closed else self._splitter.held_bytes

    @property
    def receiving_rate(self) -> float:
        """How fast the frame comes in that is half received, in bytes a second."""
        since = self._frame_since
        passed = 0.0 if since is None else self._loop.time() - since
        # At first nobody is slow.
        return self._splitter.held_bytes / max(passed, 0.1)

    @property
    def unsent_bytes(self) -> int:
        """What was sent and the peer has not taken."""
        return 0 if self._lost.is_set() else self._transport.get_write_buffer_size()

    def end_over_budget(self) -> None:
        """See `Holder`."""
        self._fail("it held more than its share of what all connections may hold")

    def start(self, receiver: Receiver) -> None:
        """Begin to read and to deliver, from the next turn of the loop on; called once."""
        assert not self._is_started, "a link is started once"
        self._is_started = True
        self._loop.call_soon(self._begin, receiver)

    def send(self, frame: Sendable) -> None:
        """Send a frame with the others of this turn; on a closed link it is lost.

        Raises `InvalidArgument` when the frame is empty or too large. The bytes are not copied
        and must not change.
        """
        # Written out, as this is done for every frame: see `frames.encode_header`.
        length = len(frame)
        if not 0 < length <= self._frame_bytes_max:
            check_frame(frame, self._frame_bytes_max)
        if self._is_closed:
            return
        header = pack_header(length)
        self._sent_count += 1
        outgoing = self._outgoing
        if isinstance(frame, bytes):
            if not outgoing:
                is_awaited = self._is_alternating and self._sent_count == 1
                if is_awaited and length <= JOINED_BYTES_MAX:
                    self._write_one(header + frame)
                    return
                self._loop.call_soon(self._flush)
            outgoing.append(header)
            outgoing.append(frame)
        else:
            if not outgoing:
                self._loop.call_soon(self._flush)
            outgoing += (header, *frame.buffers)
        if len(outgoing) >= 2 * FRAMES_AT_ONCE_MAX:
            self._flush()

    def close(self) -> None:
        """End the link after what was sent has left.

        A peer that takes none of it for `frame_timeout` seconds does not get the rest.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._flush()
        if self._is_encrypted:
            # uvloop's transport of TLS cannot be closed from within data_received when the peer has
            # ended TLS already.
            self._loop.call_soon(self._close_transport)
        else:
            self._transport.close()
        waiting_bytes = self._transport.get_write_buffer_size()
        if waiting_bytes:
            self._watch_closing(waiting_bytes)

    def _close_transport(self) -> None:
        if not self._lost.is_set():
            self._transport.close()

    def abort(self) -> None:
        """End the link at once; what has not left is lost."""
        self._is_closed = True
        self._outgoing.clear()
        # asyncio's transport fails when it is aborted after it has closed by itself.
        if not self._lost.is_set():
            self._transport.abort()

    async def wait_closed(self) -> None:
        """Wait until the link's socket is really closed."""
        await self._lost.wait()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and hand the link to whoever accepts it."""
        # uvloop's transports have all that asyncio.Transport has, but do not derive from it.
        self._transport = cast("asyncio.Transport", transport)
        self._is_encrypted = transport.get_extra_info("sslcontext") is not None
        is_accepted = self._accept is not None
        self._transport.set_write_buffer_limits(
            high=ACCEPTED_HIGH_WATER_BYTES if is_accepted else HIGH_WATER_BYTES,
            low=ACCEPTED_LOW_WATER_BYTES if is_accepted else LOW_WATER_BYTES,
        )
        self._peer = self._describe(self._transport)
        if self._accept is not None:
            self._accept(self)

    def data_received(self, data: bytes) -> None:
        """Deliver the frames that are whole now; before the start, keep what came."""
        if self._receiver is None:
            # Not in connection_made: uvloop begins to read after it, whatever was said in it.
            self._transport.pause_reading()
            self._early.append(data)
            return
        self._is_alternating = self._sent_count == 1
        self._sent_count = 0
        try:
            frames = self._splitter.feed(data)
        except ProtocolError as error:
            self._fail(str(error))
            return
        held_bytes = self._splitter.held_bytes
        if not held_bytes:
            self._frame_since = None
        else:
            if frames or self._frame_since is None:
                self._watch_frame()
            if held_bytes > UNCOUNTED_BYTES_MAX:
                self._shares.receiving.note(self)
        if not frames:
            self._receiver.bytes_received()
            return
        if self._backlog or not self._shares.turns.is_served_at_once(len(frames)):
            self._wait_for_turns(frames)
        else:
            self._receiver.frames_received(frames)

    def eof_received(self) -> None:
        """End the link: a peer that sends nothing more has closed it, and reads nothing more."""
        self._end(self._loss(None))
        self._transport.abort()

    def pause_writing(self) -> None:
        """Tell the receiver that the transport holds more than the high-water mark."""
        self._is_sending_paused = True
        if self._accept is not None:
            self._hold_reading()
        self._watch_sending(self._taken_bytes())
        if self._receiver is not None and not self._is_closed:
            self._receiver.sending_paused()

    def resume_writing(self) -> None:
        """Tell the receiver that the transport holds less than the low-water mark."""
        self._is_sending_paused = False
        if self._sending_timer is not None:
            self._sending_timer.cancel()
            self._sending_timer = None
        self._read_on()
        if self._receiver is not None and not self._is_closed:
            self._receiver.sending_resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the receiver, and whoever waits, that the link has ended."""
        self._stop_timers()
        self._outgoing.clear()
        is_closed_here = self._is_closed and self._reason is None
        self._end(self._loss(exc))
        # Whoever holds the link still must not hold what it had: it may be megabytes.
        self._splitter.drop()
        self._lost.set()
        shares = self._shares
        shares.turns.forget(self)
        shares.receiving.forget(self)
        shares.sending.forget(self)
        if is_closed_here:
            self._backlog.clear()
        if self._receiver is not None:
            self._tell_end(self._receiver)

    # What happens between the two.

    def _begin(self, receiver: Receiver) -> None:
        self._receiver = receiver
        try:
            self._tell_early(receiver)
        finally:
            if self._lost.is_set():
                self._tell_end(receiver)
            else:
                self._read_on()

    def _tell_end(self, receiver: Receiver) -> None:
        """Tell what had come before the end and not had its turn, and then the end."""
        backlog, self._backlog = self._backlog[::-1], []
        try:
            if backlog:
                receiver.frames_received(backlog)
        finally:
            receiver.link_closed(self._reason)

    def _tell_early(self, receiver: Receiver) -> None:
        """Tell what came to pass before the start."""
        early, self._early = self._early, []
        if self._is_closed and self._reason is None:
            return
        if self._is_sending_paused:
            receiver.sending_paused()
        for data in early:
            self.data_received(data)

    def _wait_for_turns(self, frames: list[bytes]) -> None:
        """Let the frames wait behind those that do already."""
        if not self._backlog:
            self._shares.turns.wait(self)
        self._backlog = frames[::-1] + self._backlog
        if len(self._backlog) > FRAMES_PER_TURN_MAX:
            self._is_backlog_long = True
            self._hold_reading()

    def deliver_next(self, count: int) -> bool:
        """See `Waiting`; of a link that was closed here, nothing."""
        if self._is_closed or self._receiver is None:
            return False  # `connection_lost` tells what is left, unless this side has closed
        backlog = self._backlog
        frames = backlog[: -count - 1 : -1]
        del backlog[-count:]
        if not backlog and self._is_backlog_long:
            self._is_backlog_long = False
            self._read_on()
        self._receiver.frames_received(frames)
        return bool(self._backlog)

    def _hold_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _read_on(self) -> None:
        """Read from the socket, unless something still holds that up."""
        is_held = self._is_backlog_long or (self._is_sending_paused and self._accept is not None)
        if self._receiver is not None and not is_held and not self._transport.is_closing():
            self._transport.resume_reading()

    def _flush(self) -> None:
        """Write all that was sent and has not left."""
        if self._outgoing:
            waiting, self._outgoing = self._outgoing, []
            self._write(waiting)

    def _write(self, waiting: list[bytes | memoryview]) -> None:
        joined: list[bytes | memoryview] = []
        for piece in waiting:
            if len(piece) <= JOINED_BYTES_MAX:
                joined.append(piece)
            else:
                if joined:
                    self._write_one(b"".join(joined))
                self._write_one(piece)
                joined.clear()
        if joined:
            self._write_one(b"".join(joined))

    def _write_one(self, data: bytes | memoryview) -> None:
        transport = self._transport
        if transport.is_closing():
            return
        self._written_bytes += len(data)
        transport.write(data)
        is_accepted = self._accept is not None
        if is_accepted and transport.get_write_buffer_size() > UNCOUNTED_BYTES_MAX:
            self._shares.sending.note(self)

    def _fail(self, what: str) -> None:
        """End the link over something that the peer did."""
        self._end(ProtocolError(f"{self._peer}: {what}"))
        self.abort()

    def _end(self, reason: LiferaftError) -> None:
        """Remember why the link has ended, if it had not yet."""
        if not self._is_closed:
            self._is_closed = True
            self._reason = reason

    def _loss(self, error: Exception | None) -> ConnectionLost:
        if error is not None:
            loss = ConnectionLost(f"the connection to {self._peer} broke: {error}")
            loss.__cause__ = error
            return loss
        within = " in the middle of a frame" if self._splitter.is_inside_frame else ""
        return ConnectionLost(f"{self._peer} closed the connection{within}")

    def _stop_timers(self) -> None:
        for timer in (self._frame_timer, self._close_timer, self._sending_timer):
            if timer is not None:
                timer.cancel()

    def _watch_frame(self) -> None:
        """Remember when the frame began that is half received now; one timer serves them all."""
        self._frame_since = self._loop.time()
        if self._frame_timer is None and not self._is_closed:
            self._frame_timer = self._loop.call_later(self._frame_timeout, self._check_frame)

    def _check_frame(self) -> None:
        self._frame_timer = None
        if self._frame_since is None:
            return
        allowed = self._frame_timeout + self._splitter.announced_bytes / BYTES_PER_SECOND_MIN
        due = self._frame_since + allowed
        if self._loop.time() < due:
            self._frame_timer = self._loop.call_at(due, self._check_frame)
        else:
            self._fail(f"a frame was still half received after {allowed:.1f} s")

    def _taken_bytes(self) -> int:
        """Return how much of what was ever sent has left this process."""
        return self._written_bytes - self._transport.get_write_buffer_size()

    def _watch_sending(self, taken_bytes: int) -> None:
        self._sending_timer = self._loop.call_later(
            self._frame_timeout, self._check_sending, taken_bytes
        )

    def _check_sending(self, taken_bytes_before: int) -> None:
        taken_bytes = self._taken_bytes()
        if taken_bytes > taken_bytes_before:
            self._watch_sending(taken_bytes)
        else:
            self._fail(f"it took nothing of what was sent for {self._frame_timeout:.1f} s")

    def _watch_closing(self, waiting_bytes: int) -> None:
        self._close_timer = self._loop.call_later(
            self._frame_timeout, self._check_closing, waiting_bytes
        )

    def _check_closing(self, waiting_bytes_before: int) -> None:
        waiting_bytes = self._transport.get_write_buffer_size()
        if waiting_bytes < waiting_bytes_before:
            self._watch_closing(waiting_bytes)
        else:
            self._transport.abort()
