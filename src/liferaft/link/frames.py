"""Frames in a stream of bytes: 4 bytes of length, big-endian, then the frame.

Sans-IO: chunks of any size go in, whole frames come out. Invariants:

- A length is checked as soon as its header is whole, before memory is spent on the frame.
- The memory held is never more than what arrived of the one frame that is not yet whole.
- The work is linear in the bytes that arrive, however they are cut into chunks.
- Of what arrived one copy is made, into the frame, and none where a frame lies within one chunk.
"""

from collections.abc import Sequence
from struct import Struct

from liferaft.errors import InvalidArgument, ProtocolError

HEADER_BYTES = 4

SMALL_CHUNK_BYTES = 4096
"""Smaller chunks of one frame are put together as they come: each by itself would cost more memory
than it has bytes."""

_HEADER = Struct(">I")
_unpack_header = _HEADER.unpack_from
pack_header = _HEADER.pack


class Gathered:
    """A frame whose bytes lie in several `buffers`: it is sent without joining them.

    What the buffers refer to must not change before the link has sent it.
    """

    __slots__ = ("_length", "buffers")

    def __init__(self, buffers: Sequence[bytes | memoryview]) -> None:
        self.buffers = tuple(buffers)
        self._length = sum(map(len, self.buffers))

    def __len__(self) -> int:
        """Return the number of bytes."""
        return self._length


Sendable = bytes | Gathered
"""What a link sends as one frame; it arrives as `bytes`."""


def joined(frame: Sendable) -> bytes:
    """Return the frame as the other end gets it."""
    return frame if isinstance(frame, bytes) else b"".join(frame.buffers)


def check_frame(frame: Sendable, frame_bytes_max: int) -> None:
    """Raise `InvalidArgument` when the frame is empty or above `frame_bytes_max`.

    The other side would end the link over it, and with it everything else that travels there.
    """
    if not 0 < len(frame) <= frame_bytes_max:
        raise InvalidArgument(
            f"a frame has 1 to {frame_bytes_max} bytes, this one has {len(frame)}"
        )


def encode_header(frame: Sendable, frame_bytes_max: int) -> bytes:
    """Return what goes before `frame` in the stream; raises as `check_frame` does."""
    length = len(frame)
    if not 0 < length <= frame_bytes_max:
        check_frame(frame, frame_bytes_max)
    return pack_header(length)


def encode_frame(frame: bytes, frame_bytes_max: int) -> bytes:
    """Return the frame as it stands in the stream; raises as `check_frame` does."""
    return encode_header(frame, frame_bytes_max) + frame


class FrameSplitter:
    """Cuts the stream of one direction of one link into frames.

    `held_bytes` says how much of a frame that is half received is held, its header included.
    """

    __slots__ = ("_begun", "_chunks", "_frame_bytes_max", "_length", "held_bytes")

    def __init__(self, frame_bytes_max: int) -> None:
        self.held_bytes = 0
        self._frame_bytes_max = frame_bytes_max
        # What arrived of a header that is not yet whole.
        self._begun = b""
        # The frame that is not yet whole: its length, or 0 for none, and what arrived of it.
        self._length = 0
        self._chunks: list[bytes | bytearray] = []

    @property
    def is_inside_frame(self) -> bool:
        """Whether a frame is half received."""
        return self.held_bytes > 0

    @property
    def announced_bytes(self) -> int:
        """The length of the frame that is half received; 0 while its header is not yet whole."""
        return self._length

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the frames that are now whole.

        Raises `ProtocolError` when a length is 0 or too large. The stream cannot be read any
        further then: the link must be ended, and the frames before it in this chunk are lost.
        """
        frames: list[bytes] = []
        offset = 0
        if self._length:
            offset = self._complete(chunk, frames)
        elif self._begun:
            chunk, self._begun = self._begun + chunk, b""
            self.held_bytes = 0
        stop = len(chunk)
        length_max = self._frame_bytes_max
        while stop - offset >= HEADER_BYTES:
            length: int = _unpack_header(chunk, offset)[0]
            if not 0 < length <= length_max:
                raise self._refusal(length)
            frame_start = offset + HEADER_BYTES
            frame_stop = frame_start + length
            if frame_stop > stop:
                self._length = length
                self.held_bytes = HEADER_BYTES
                self._hold(chunk[frame_start:])
                return frames
            frames.append(chunk[frame_start:frame_stop])
            offset = frame_stop
        if offset < stop:
            self._begun = chunk[offset:]
            self.held_bytes = stop - offset
        return frames

    def drop(self) -> None:
        """Let go of a frame that is half received: its stream has ended."""
        self._begun = b""
        self._length = self.held_bytes = 0
        self._chunks = []

    def _complete(self, chunk: bytes, frames: list[bytes]) -> int:
        """Take what the chunk has of the half received frame; return how many bytes that were."""
        missing = HEADER_BYTES + self._length - self.held_bytes
        self._hold(chunk[:missing])
        if len(chunk) < missing:
            return len(chunk)
        frames.append(b"".join(self._chunks))
        self.drop()
        return missing

    def _hold(self, chunk: bytes) -> None:
        chunks = self._chunks
        self.held_bytes += len(chunk)
        if len(chunk) >= SMALL_CHUNK_BYTES:
            chunks.append(chunk)
        elif chunks and isinstance(chunks[-1], bytearray):
            chunks[-1] += chunk
        else:
            chunks.append(bytearray(chunk))

    def _refusal(self, length: int) -> ProtocolError:
        return ProtocolError(
            f"a frame of {length} bytes was announced; 1 to {self._frame_bytes_max} are allowed"
        )
