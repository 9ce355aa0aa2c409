"""Frames in a stream of bytes: 4 bytes of length, big-endian, then the frame.

Sans-IO: chunks of any size go in, whole frames come out. Invariants:

- A length is checked as soon as its header is whole, before memory is spent on the frame.
- The memory held is never more than what arrived of the one frame that is not yet whole.
- The work is linear in the bytes that arrive, however they are cut into chunks.
"""

from struct import Struct

from liferaft.errors import InvalidArgument, ProtocolError

HEADER_BYTES = 4

_HEADER = Struct(">I")
_unpack_header = _HEADER.unpack_from
_pack_header = _HEADER.pack


def check_frame(frame: bytes, frame_bytes_max: int) -> None:
    """Raise `InvalidArgument` when the frame is empty or above `frame_bytes_max`.

    The other side would end the link over it, and with it everything else that travels there.
    """
    if not 0 < len(frame) <= frame_bytes_max:
        raise InvalidArgument(
            f"a frame has 1 to {frame_bytes_max} bytes, this one has {len(frame)}"
        )


def encode_header(frame: bytes, frame_bytes_max: int) -> bytes:
    """Return what goes before `frame` in the stream; raises as `check_frame` does."""
    length = len(frame)
    if not 0 < length <= frame_bytes_max:
        check_frame(frame, frame_bytes_max)
    return _pack_header(length)


def encode_frame(frame: bytes, frame_bytes_max: int) -> bytes:
    """Return the frame as it stands in the stream; raises as `check_frame` does."""
    return encode_header(frame, frame_bytes_max) + frame


class FrameSplitter:
    """Cuts the stream of one direction of one link into frames."""

    __slots__ = ("_frame_bytes_max", "_partial")

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        # What arrived of the frame that is not yet whole, its header included.
        self._partial = bytearray()

    @property
    def is_inside_frame(self) -> bool:
        """Whether a frame is half received."""
        return bool(self._partial)

    @property
    def held_bytes(self) -> int:
        """How much of a frame that is half received is held."""
        return len(self._partial)

    @property
    def announced_bytes(self) -> int:
        """The length of the frame that is half received; 0 while its header is not yet whole."""
        if len(self._partial) < HEADER_BYTES:
            return 0
        return int(_unpack_header(self._partial)[0])

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the frames that are now whole.

        Raises `ProtocolError` when a length is 0 or too large. The stream cannot be read any
        further then: the link must be ended, and the frames before it in this chunk are lost.
        """
        frames: list[bytes] = []
        offset = self._complete_partial(chunk, frames) if self._partial else 0
        stop = len(chunk)
        length_max = self._frame_bytes_max
        while stop - offset >= HEADER_BYTES:
            length: int = _unpack_header(chunk, offset)[0]
            if not 0 < length <= length_max:
                raise self._refusal(length)
            frame_start = offset + HEADER_BYTES
            frame_stop = frame_start + length
            if frame_stop > stop:
                break
            frames.append(chunk[frame_start:frame_stop])
            offset = frame_stop
        if offset < stop:
            self._partial += chunk[offset:]
        return frames

    def drop(self) -> None:
        """Let go of a frame that is half received: its stream has ended."""
        self._partial = bytearray()

    def _complete_partial(self, chunk: bytes, frames: list[bytes]) -> int:
        """Take what the chunk has of the half received frame; return how many bytes that were."""
        partial = self._partial
        taken = 0
        if len(partial) < HEADER_BYTES:
            taken = HEADER_BYTES - len(partial)
            partial += chunk[:taken]
            if len(partial) < HEADER_BYTES:
                return len(chunk)
        length: int = _unpack_header(partial)[0]
        if not 0 < length <= self._frame_bytes_max:
            raise self._refusal(length)
        frame_stop = HEADER_BYTES + length
        missing = frame_stop - len(partial)
        partial += memoryview(chunk)[taken : taken + missing]
        if len(partial) < frame_stop:
            return len(chunk)
        frames.append(bytes(memoryview(partial)[HEADER_BYTES:]))
        self._partial = bytearray()
        return taken + missing

    def _refusal(self, length: int) -> ProtocolError:
        return ProtocolError(
            f"a frame of {length} bytes was announced; 1 to {self._frame_bytes_max} are allowed"
        )
