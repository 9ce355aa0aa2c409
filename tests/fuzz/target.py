"""What a fuzz target is, and how the bytes of one input become several pieces."""

import struct
from collections.abc import Callable, Iterable

import msgspec

_LENGTH = struct.Struct(">H")

PIECES_MAX = 64
"""More pieces say nothing new about a parser, and make one input slow."""


class Broken(Exception):
    """What must hold beside "only declared errors" did not: a target's own finding."""


class Target(msgspec.Struct, frozen=True):
    """One parser of bytes that come from outside.

    `run` takes any bytes at all. It may raise `declared`, which is what the parser promises its
    caller; anything else that leaves it is a bug, `Broken` included. `examples` are inputs that a
    correct peer could have sent: where the corpus starts. Longer inputs than `input_bytes_max` are
    not tried.
    """

    name: str
    run: Callable[[bytes], None]
    declared: tuple[type[Exception], ...]
    examples: Callable[[], Iterable[bytes]]
    input_bytes_max: int = 4096

    def try_on(self, data: bytes) -> None:
        """Run on one input; what the parser declares is fine, anything else leaves this."""
        try:
            self.run(data)
        except self.declared:
            return


def pieces(data: bytes) -> list[bytes]:
    """Return what `join` joined; of any other bytes, some pieces or other, none of them empty."""
    found: list[bytes] = []
    position = 0
    while position + _LENGTH.size <= len(data) and len(found) < PIECES_MAX:
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        piece = data[position : position + length]
        if piece:
            found.append(piece)
        position += length
    return found


def join(parts: Iterable[bytes]) -> bytes:
    """Return the parts as one input; each is shorter than 64 KiB."""
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)
