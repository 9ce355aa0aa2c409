"""Streams: any number of items one way, whole and in order, over links that lose frames. Pure.

A call may have a stream for its result (channel 0) and one for each parameter that is an iterator
(channel: the parameter's place, from 1 on). Each has a `Sender` on one side and a `Receiver` on the
other; `CallStreams` holds those that one side has of one call.

Flow control is by credit, in bytes: a sender may begin an item while all that it has ever begun is
below `until`, which the receiver moves on as its reader takes items. So a reader that does not read
holds the writer, and neither side ever holds more than the window and one item.

Whatever was not acknowledged is sent again, at growing intervals. The end of a stream counts as one
more item, so that it cannot be lost either. Credit is not acknowledged, so a sender that waits for
it asks, at the same intervals, with a chunk that holds nothing and repeats a sequence: a receiver
answers every repeat (as TCP probes a closed window, RFC 9293 §3.8.6.1).

Time comes in as `now`, in seconds; there is no clock, no I/O and no randomness here.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from liferaft.errors import ProtocolError
from liferaft.link.base import BYTES_PER_SECOND_MIN
from liferaft.rpc.codec import encode
from liferaft.rpc.session import LARGE_BYTES_PER_SECOND, RESEND_CAP
from liferaft.rpc.wire import Chunk, Credit

RESULT: Final = 0
"""The channel of a call's result."""
WINDOW_FIRST: Final = 64 * 1024
"""Bytes that may be sent before the first credit has come."""
WINDOW: Final = 1024 * 1024
"""Bytes that a reader lets come before it has taken them, and that a writer holds at most, unless
it has many streams."""
CHUNK_BYTES: Final = 64 * 1024
"""Small items travel together, up to so much."""
RESEND_FIRST: Final = 0.1
"""Seconds until a chunk is sent again."""
LARGE_BYTES: Final = 2 * CHUNK_BYTES
"""Of a chunk that holds a large item, and takes its time."""


class _Sent:
    """A chunk that was not acknowledged yet."""

    __slots__ = ("chunk", "end", "sent_at", "size_bytes")

    def __init__(self, chunk: Chunk, end: int, sent_at: float) -> None:
        self.chunk = chunk
        self.end = end
        self.sent_at = sent_at
        self.size_bytes = _size(chunk)


class Sender:
    """The writing end of one stream."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self.is_ended = False
        self.is_closed = False
        self._until = WINDOW_FIRST
        self._offered_bytes = 0
        # Of what was offered, what is held here: the other side has not acknowledged it.
        self._held_bytes = 0
        self._offered: deque[msgspec.Raw] = deque()
        self._is_end_offered = False
        self._next_sequence = 0
        self._sent: deque[_Sent] = deque()
        self._interval = RESEND_FIRST
        self._resend_at = 0.0
        # How fast large chunks are taken to travel, in bytes a second.
        self._rate: float = LARGE_BYTES_PER_SECOND

    @property
    def has_room(self) -> bool:
        """Whether another item may begin."""
        return self._offered_bytes < self._until and self._held_bytes < self._window

    @property
    def is_drained(self) -> bool:
        """Whether the other side has all that was offered."""
        return not self._offered and not self._sent and not self._is_end_offered

    def offer(self, item: msgspec.Raw) -> None:
        """Take an encoded item, for which there must be room."""
        assert self.has_room, "who offers an item waits for room"
        assert not self.is_ended, "nothing comes after the end"
        if not self.is_closed:
            self._offered.append(item)
            size_bytes = len(memoryview(item))
            self._offered_bytes += size_bytes
            self._held_bytes += size_bytes

    def end(self) -> None:
        """Say that no item follows. May be called again."""
        if not self.is_ended:
            self.is_ended = True
            self._is_end_offered = not self.is_closed

    @property
    def _is_waiting(self) -> bool:
        """Whether only a credit can let the stream go on; the last one may have been lost."""
        return bool(self._sent) or not (self.has_room or self.is_ended or self.is_closed)

    def take_credit(self, credit: Credit) -> None:
        """Learn what has arrived, and how much more may come; late and repeated ones do no harm."""
        if credit.received > self._next_sequence:
            raise ProtocolError("what was never sent is acknowledged")
        if credit.until > self._until:
            self._until = credit.until
            self._interval = RESEND_FIRST
            self._resend_at = 0.0
        while self._sent and self._sent[0].end <= credit.received:
            self._held_bytes -= self._sent.popleft().size_bytes
            self._interval = RESEND_FIRST
            self._resend_at = 0.0
        if credit.is_closed and not self.is_closed:
            self.is_closed = True
            self._offered.clear()
            self._sent.clear()
            self._held_bytes = 0
            self._is_end_offered = False

    def due(self) -> float | None:
        """Return when chunks must be sent again; 0 for at once."""
        if self._offered or self._is_end_offered:
            return 0.0
        return self._resend_at if self._is_waiting else None

    def chunks(self, number: int, channel: int, now: float) -> Iterator[Chunk]:
        """Return what must be sent now: what is new, and what was not acknowledged for too long."""
        if self._is_waiting and 0.0 < self._resend_at <= now:
            self._interval = min(2 * self._interval, RESEND_CAP)
            if any(self._large()):
                # One that is still on its way must not have its repeats queue up behind it.
                self._rate = max(self._rate / 2, BYTES_PER_SECOND_MIN)
            self._resend_at = now + self._resend_after
            probe = Chunk(number, channel, self._next_sequence - 1, [], is_last=False)
            yield from [sent.chunk for sent in self._sent] or [probe]
        while self._offered or self._is_end_offered:
            chunk = self._next_chunk(number, channel)
            self._sent.append(_Sent(chunk, self._next_sequence, now))
            if self._sent[-1].size_bytes > LARGE_BYTES:
                self._resend_at = max(self._resend_at, now + self._resend_after)
            yield chunk
        if self._is_waiting and self._resend_at == 0.0:
            self._resend_at = now + self._resend_after

    @property
    def _resend_after(self) -> float:
        large_bytes = max((sent.size_bytes for sent in self._large()), default=0)
        return self._interval + large_bytes / self._rate

    def arrives_at(self, since: float) -> float:
        """Return when all that is large is on the other side, at the latest, of a link since then.

        It is 0 when there is nothing.
        """
        return max(
            (
                max(since, sent.sent_at) + sent.size_bytes / BYTES_PER_SECOND_MIN
                for sent in self._large()
            ),
            default=0.0,
        )

    def _large(self) -> Iterator[_Sent]:
        return (sent for sent in self._sent if sent.size_bytes > LARGE_BYTES)

    def _next_chunk(self, number: int, channel: int) -> Chunk:
        items: list[msgspec.Raw] = []
        size_bytes = 0
        while self._offered and (not items or size_bytes < CHUNK_BYTES):
            item = self._offered.popleft()
            items.append(item)
            size_bytes += len(memoryview(item))
        is_last = self._is_end_offered and not self._offered
        if is_last:
            self._is_end_offered = False
        first = self._next_sequence
        self._next_sequence += len(items) + is_last
        return Chunk(number, channel, first, items, is_last)


class Receiver:
    """The reading end of one stream."""

    def __init__(self, window: int = WINDOW) -> None:
        self._window = window
        self.needs_credit = False
        self.is_closed = False
        self._received = 0
        self._is_whole = False
        self._ready: deque[msgspec.Raw] = deque()
        # Chunks that came before one that they follow.
        self._early: dict[int, Chunk] = {}
        self._early_bytes = 0
        self._arrived_bytes = 0
        self._taken_bytes = 0
        self._until = WINDOW_FIRST

    @property
    def is_ready(self) -> bool:
        """Whether an item can be taken."""
        return bool(self._ready)

    @property
    def is_at_end(self) -> bool:
        """Whether every item was taken, and no other will come."""
        return self._is_whole and not self._ready

    def take_chunk(self, chunk: Chunk) -> None:
        """Take what came; raises `ProtocolError` for more than was allowed."""
        self.needs_credit = True
        if self.is_closed or chunk.sequence < self._received or chunk.sequence in self._early:
            return  # a repeat, whose acknowledgement was lost, or nobody wants it any more
        self._check_allowed(chunk)
        if chunk.sequence > self._received:
            self._early[chunk.sequence] = chunk
            self._early_bytes += _size(chunk)
            return
        self._append(chunk)
        while (following := self._early.pop(self._received, None)) is not None:
            self._early_bytes -= _size(following)
            self._append(following)

    def pop(self) -> msgspec.Raw:
        """Return the next item, encoded; there must be one."""
        item = self._ready.popleft()
        self._taken_bytes += len(memoryview(item))
        if self._taken_bytes + self._window - self._until >= self._window // 2:
            self.needs_credit = True
        return item

    def close(self) -> None:
        """Want nothing more."""
        if not self.is_closed and not self._is_whole:
            self.is_closed = self.needs_credit = True
            self._early.clear()
        self._ready.clear()

    def credit(self, number: int, channel: int) -> Credit:
        """Return what tells the other side how far it may go on."""
        self.needs_credit = False
        self._until = max(self._until, self._taken_bytes + self._window)
        return Credit(number, channel, self._received, self._until, self.is_closed)

    def _append(self, chunk: Chunk) -> None:
        self._received += len(chunk.items) + chunk.is_last
        self._ready.extend(chunk.items)
        self._arrived_bytes += _size(chunk)
        self._is_whole = self._is_whole or chunk.is_last

    def _check_allowed(self, chunk: Chunk) -> None:
        last_bytes = len(memoryview(chunk.items[-1])) if chunk.items else 0
        begun_below = self._arrived_bytes + self._early_bytes + _size(chunk) - last_bytes
        if chunk.items and begun_below >= self._until:
            raise ProtocolError(f"a stream goes on beyond the {self._until} bytes it was allowed")
        if self._is_whole or not (chunk.items or chunk.is_last) or len(self._early) > CHUNK_BYTES:
            raise ProtocolError("a stream goes on behind its end, or without items")


class CallStreams:
    """The ends that one side has of one call's streams; each holds a `window` of bytes at most."""

    def __init__(
        self, *, sending: Iterable[int], receiving: Iterable[int], window: int = WINDOW
    ) -> None:
        self.senders = {channel: Sender(window) for channel in sending}
        self.receivers = {channel: Receiver(window) for channel in receiving}

    def take(self, frame: Chunk | Credit) -> None:
        """Take what the other side sent; raises `ProtocolError` for what it must not send."""
        if isinstance(frame, Chunk):
            receiver = self.receivers.get(frame.channel)
            if receiver is None:
                raise ProtocolError(f"channel {frame.channel} of a call carries nothing this way")
            receiver.take_chunk(frame)
        else:
            sender = self.senders.get(frame.channel)
            if sender is None:
                raise ProtocolError(f"channel {frame.channel} of a call carries nothing that way")
            sender.take_credit(frame)

    def frames(self, number: int, now: float) -> list[bytes]:
        """Return the encoded frames that must be sent now."""
        found: list[bytes] = []
        for channel, receiver in self.receivers.items():
            if receiver.needs_credit:
                found.append(encode(receiver.credit(number, channel)))
        for channel, sender in self.senders.items():
            found += map(encode, sender.chunks(number, channel, now))
        return found

    def due(self) -> float | None:
        """Return when `frames` has something next, unless something comes before; 0 for now."""
        dues = [due for sender in self.senders.values() if (due := sender.due()) is not None]
        if any(receiver.needs_credit for receiver in self.receivers.values()):
            return 0.0
        return min(dues, default=None)

    def arrives_at(self, since: float) -> float:
        """See `Sender`: of all of them."""
        return max((sender.arrives_at(since) for sender in self.senders.values()), default=0.0)

    def close(self) -> None:
        """Hold nothing more: the call has ended."""
        for receiver in self.receivers.values():
            receiver.close()


def _size(chunk: Chunk) -> int:
    return sum(len(memoryview(item)) for item in chunk.items)
