"""A link over a stream of bytes: what TCP and Unix sockets share.

One `StreamLink` is the asyncio protocol of one connected socket. Invariants:

- All frames sent in one turn of the loop leave together; only large ones are written by
  themselves, because joining would copy them.
- Until `start`, the socket is read once at most: the kernel's buffers, and then the peer, hold back
  what cannot be delivered yet.
- A frame is whole within a bounded time after its first byte, or the link ends.
- After `close` the socket is closed within a bounded time, even when the peer reads nothing more.
- `link_closed` comes once, last, and never from inside a method that the receiver called.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from liferaft.errors import ConnectionLost, LiferaftError, ProtocolError
from liferaft.link.base import HIGH_WATER_BYTES, LOW_WATER_BYTES, Link, Receiver
from liferaft.link.frames import FrameSplitter, encode_header

FRAME_TIMEOUT = 10.0
"""Seconds that a frame may stay half received, and a closing link may make no headway."""

FRAME_BYTES_PER_SECOND_MIN = 128 * 1024
"""A large frame may take longer, by its length at this rate: 1 Mbit/s, a poor mobile line."""

JOINED_BYTES_MAX = 64 * 1024
"""Larger frames are written by themselves: a copy costs more than another system call."""


class StreamLink(asyncio.Protocol):
    """One connected socket that carries frames; a `Link`. Made by tcp.py and unix.py.

    `describe` names the other end once the transport is there. `accept`, on the listening side, is
    called with the link when it is connected.
    """

    def __init__(
        self,
        *,
        frame_bytes_max: int,
        frame_timeout: float,
        describe: Callable[[asyncio.Transport], str],
        accept: Callable[[Link], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._frame_bytes_max = frame_bytes_max
        self._frame_timeout = frame_timeout
        self._describe = describe
        self._accept = accept
        self._splitter = FrameSplitter(frame_bytes_max)
        self._transport: asyncio.Transport
        self._peer = ""
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
        # Headers and frames of this turn, in order, and whether the flush of them is scheduled.
        self._outgoing: list[bytes] = []
        self._frame_since: float | None = None
        self._frame_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str:
        """Where the other end is, for log lines and errors."""
        return self._peer

    @property
    def is_closed(self) -> bool:
        """Whether `close` or `abort` was called, or the peer went away."""
        return self._is_closed

    def start(self, receiver: Receiver) -> None:
        """Begin to read and to deliver, from the next turn of the loop on; called once."""
        assert not self._is_started, "a link is started once"
        self._is_started = True
        self._loop.call_soon(self._begin, receiver)

    def send(self, frame: bytes) -> None:
        """Send a frame with the others of this turn; on a closed link it is lost.

        Raises `InvalidArgument` when the frame is empty or too large. The bytes are not copied
        and must not change.
        """
        header = encode_header(frame, self._frame_bytes_max)
        if self._is_closed:
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(header)
        self._outgoing.append(frame)

    def close(self) -> None:
        """End the link after what was sent has left.

        A peer that takes none of it for `frame_timeout` seconds does not get the rest.
        """
        if self._is_closed:
            return
        self._is_closed = True
        self._flush()
        self._transport.close()
        waiting_bytes = self._transport.get_write_buffer_size()
        if waiting_bytes:
            self._watch_closing(waiting_bytes)

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
        self._transport.set_write_buffer_limits(high=HIGH_WATER_BYTES, low=LOW_WATER_BYTES)
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
        try:
            frames = self._splitter.feed(data)
        except ProtocolError as error:
            self._fail(str(error))
            return
        if not self._splitter.is_inside_frame:
            self._frame_since = None
        elif frames or self._frame_since is None:
            self._watch_frame()
        if frames:
            self._receiver.frames_received(frames)

    def eof_received(self) -> None:
        """End the link: a peer that sends nothing more has closed it, and reads nothing more."""
        self._end(self._loss(None))
        self._transport.abort()

    def pause_writing(self) -> None:
        """Tell the receiver that the transport holds more than the high-water mark."""
        self._is_sending_paused = True
        if self._receiver is not None and not self._is_closed:
            self._receiver.sending_paused()

    def resume_writing(self) -> None:
        """Tell the receiver that the transport holds less than the low-water mark."""
        self._is_sending_paused = False
        if self._receiver is not None and not self._is_closed:
            self._receiver.sending_resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the receiver, and whoever waits, that the link has ended."""
        self._stop_timers()
        self._outgoing.clear()
        self._end(self._loss(exc))
        self._lost.set()
        if self._receiver is not None:
            self._receiver.link_closed(self._reason)

    # What happens between the two.

    def _begin(self, receiver: Receiver) -> None:
        self._receiver = receiver
        try:
            self._tell_early(receiver)
        finally:
            if self._lost.is_set():
                receiver.link_closed(self._reason)
            elif not self._transport.is_closing():
                self._transport.resume_reading()

    def _tell_early(self, receiver: Receiver) -> None:
        """Tell what came to pass before the start."""
        early, self._early = self._early, []
        if self._is_closed and self._reason is None:
            return
        if self._is_sending_paused:
            receiver.sending_paused()
        for data in early:
            self.data_received(data)

    def _flush(self) -> None:
        """Write all that was sent since the last flush."""
        waiting, self._outgoing = self._outgoing, []
        if not waiting or self._transport.is_closing():
            return
        joined: list[bytes] = []
        for piece in waiting:
            if len(piece) <= JOINED_BYTES_MAX:
                joined.append(piece)
            else:
                # Its header is the last of the joined: they are never empty here.
                self._transport.write(b"".join(joined))
                self._transport.write(piece)
                joined.clear()
        if joined:
            self._transport.write(b"".join(joined))

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
        for timer in (self._frame_timer, self._close_timer):
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
        allowed = self._frame_timeout + self._splitter.announced_bytes / FRAME_BYTES_PER_SECOND_MIN
        due = self._frame_since + allowed
        if self._loop.time() < due:
            self._frame_timer = self._loop.call_at(due, self._check_frame)
        else:
            self._fail(f"a frame was still half received after {allowed:.1f} s")

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
