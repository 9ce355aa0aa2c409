"""The streams of a call, as the other side would have them."""

from collections.abc import Iterable

import msgspec

from liferaft.errors import ProtocolError
from liferaft.rpc import wire
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.stream import RESULT, WINDOW, CallStreams
from tests.fuzz.target import Broken, Target, join, pieces

ITEM = msgspec.Raw(encode("item"))
HELD_BYTES_MAX = 2 * WINDOW


def run_streams(data: bytes) -> None:
    """The pieces are frames of the other side; what is held stays bounded, and time goes on."""
    streams = CallStreams(sending=(RESULT,), receiving=(1, 2))
    sender, reader = streams.senders[RESULT], streams.receivers[1]
    now, arrived_bytes = 0.0, 0
    for piece in pieces(data):
        frame = decode_frame(piece)
        if isinstance(frame, wire.Chunk | wire.Credit):
            streams.take(frame)
        if sender.has_room:
            sender.offer(ITEM)
        if reader.is_ready:
            arrived_bytes += len(memoryview(reader.pop()))
        streams.frames(1, now)
        due = streams.due()
        if due is not None and due < now:
            raise Broken("what is due was not done")
        now += 0.3
    if arrived_bytes > HELD_BYTES_MAX:
        raise Broken("more came than was allowed")


def stream_examples() -> Iterable[bytes]:
    """Return a stream that goes on, and one that closes early."""
    chunks = [
        wire.Chunk(1, 1, 0, [ITEM, ITEM], is_last=False),
        wire.Chunk(1, 1, 4, [ITEM], is_last=True),
        wire.Chunk(1, 1, 2, [ITEM, ITEM], is_last=False),
        wire.Chunk(1, 2, 0, [], is_last=True),
    ]
    credits_given = [
        wire.Credit(1, RESULT, 0, WINDOW, is_closed=False),
        wire.Credit(1, RESULT, 2, 2 * WINDOW, is_closed=True),
    ]
    yield join(map(encode, chunks))
    yield join(map(encode, [*credits_given, *chunks]))


TARGETS = (Target("streams", run_streams, (ProtocolError,), stream_examples),)
