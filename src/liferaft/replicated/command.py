"""What a command looks like in the log: a fixed header, then the very bytes that the client sent.

    kind      1 byte    1 open a session, 2 call a method
    session   16 bytes  whose command it is
    wall_now  8 bytes   float64, the leader's wall clock in seconds
    seed      8 bytes   uint64, the leader's chance
    frame     the rest  the client's `Call` frame, unchanged (empty for kind 1)

All numbers are big-endian. The frame is not decoded on its way from the client's socket to the
disk, the peers and the state machine.
"""

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from liferaft.errors import InvariantViolated

_HEADER: Final = struct.Struct(">B16sdQ")
SEED_BITS: Final = 64


class CommandKind(IntEnum):
    """What the state machine shall do."""

    OPEN_SESSION = 1
    CALL = 2


class Command(NamedTuple):
    """A command, unpacked but for the frame."""

    kind: int
    session: bytes
    wall_now: float
    seed: int
    frame: bytes


def pack(kind: CommandKind, *, session: bytes, wall_now: float, seed: int, frame: bytes) -> bytes:
    """Return the command as the log keeps it."""
    return _HEADER.pack(kind, session, wall_now, seed) + frame


def unpack(data: bytes) -> Command:
    """Return the command in an entry.

    Raises `InvariantViolated` when it is none: the log's checksums passed, so nobody but another
    version of liferaft can have written it.
    """
    if len(data) < _HEADER.size:
        raise InvariantViolated(f"an entry of {len(data)} bytes is too short for a command")
    kind, session, wall_now, seed = _HEADER.unpack_from(data)
    return Command(kind, session, wall_now, seed, data[_HEADER.size :])
