"""What a stranger can do to a host with nothing but its address; an attack goes on until cancelled.

They write bytes of their own making to plain sockets, so that nothing on this side keeps them to
the protocol. None of them knows a secret, for there is none yet: what a peer may do once it is
authenticated is another question than what anyone may.
"""

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final

import msgspec

from liferaft.cluster.config import CLUSTER_ID_DEFAULT
from liferaft.cluster.peers import PEER_OBJECT
from liferaft.link.base import FRAME_BYTES_MAX
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Message,
    RequestVote,
    RequestVoteReply,
)
from liferaft.raft.types import NodeId
from liferaft.rpc import wire
from liferaft.rpc.codec import encode

_LENGTH: Final = struct.Struct(">I")

PAUSE: Final = 0.5
"""Seconds, on average, after which a connection that was ended comes again."""

DRIBBLE_INTERVAL: Final = 0.2
"""Seconds between two bytes: slow for a handshake, too quick to be taken for gone."""


class Target(msgspec.Struct, frozen=True):
    """The host, and a method of its object that anyone may call.

    `node_ids` are those of its cluster, its own first; empty for a plain host.
    """

    host: str
    port: int
    object: str
    method: str
    arguments: bytes = b"\x90"
    cluster_id: str = CLUSTER_ID_DEFAULT
    node_ids: tuple[NodeId, ...] = ()


class Attacker:
    """Runs one attack over many connections, and counts what it did."""

    def __init__(self, target: Target, seed: int = 0) -> None:
        self.target = target
        self.random = Random(seed)
        self.done = 0
        self._reached = asyncio.Event()

    def did(self, count: int = 1) -> None:
        """Count connections opened, frames sent, or whatever the attack counts."""
        self.done += count
        self._reached.set()

    async def wait_done(self, count: int) -> None:
        """Wait until so much was done."""
        while self.done < count:
            self._reached.clear()
            await self._reached.wait()

    async def run(self, name: str) -> None:
        """Attack until cancelled."""
        attack = ATTACKS[name]
        async with asyncio.TaskGroup() as lanes:
            for _ in range(attack.connections):
                lanes.create_task(self._come_again(attack))

    async def _come_again(self, attack: "Attack") -> None:
        """Keep one connection up, whatever the host does about it."""
        while True:
            # What the host does to the connection is what it is for.
            with contextlib.suppress(OSError, EOFError):
                await self._connect_once(attack)
            await asyncio.sleep(self.random.uniform(0, 2 * PAUSE))

    async def _connect_once(self, attack: "Attack") -> None:
        reader, writer = await asyncio.open_connection(self.target.host, self.target.port)
        try:
            await attack.run(self, reader, writer)
        finally:
            writer.transport.abort()


Run = Callable[[Attacker, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Attack(msgspec.Struct, frozen=True):
    """What is done over each connection, and over how many at a time."""

    run: Run
    connections: int
    is_for_nodes: bool = False


def framed(frame: wire.Frame) -> bytes:
    """Return a frame as it stands in the stream."""
    data = encode(frame)
    return _LENGTH.pack(len(data)) + data


def _greeting(attacker: Attacker, name: str | None = None) -> bytes:
    """Return a handshake for a session of its own, without waiting for what the host says."""
    session = attacker.random.randbytes(wire.SESSION_BYTES)
    hello = wire.Hello(wire.PROTOCOL_NAME, wire.PROTOCOL_VERSION, session)
    bind = wire.Bind(attacker.target.object if name is None else name, {}, is_resumed=False)
    return framed(hello) + framed(bind)


def _call(attacker: Attacker, number: int) -> bytes:
    target = attacker.target
    arguments = msgspec.Raw(target.arguments)
    return framed(wire.Call(number, 1, target.object, target.method, None, arguments))


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Read, and throw away, until the host ends the connection."""
    while await reader.read(65536):
        pass


async def silent(attacker: Attacker, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Say nothing. Counts connections."""
    attacker.did()
    await _until_closed(reader)


async def dribble(
    attacker: Attacker, _: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Shake hands byte by byte: slow-loris. Counts bytes."""
    for byte in _greeting(attacker):
        writer.write(bytes([byte]))
        await writer.drain()
        attacker.did()
        await asyncio.sleep(DRIBBLE_INTERVAL)


async def length_bombs(
    attacker: Attacker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Announce the largest frame, or a larger one, and send a part of it. Counts bombs."""
    writer.write(_greeting(attacker))
    if attacker.random.random() < 0.5:
        writer.write(_LENGTH.pack(attacker.random.choice((FRAME_BYTES_MAX + 1, 2**32 - 1))))
    else:
        writer.write(_LENGTH.pack(FRAME_BYTES_MAX))
        writer.write(bytes(attacker.random.choice((0, 1, 60_000, 4_000_000))))
    attacker.did()
    await writer.drain()
    await _until_closed(reader)


async def half_frames(
    attacker: Attacker, _: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Bind, call, and leave in the middle of a frame. Counts connections."""
    writer.write(_greeting(attacker) + _call(attacker, 1))
    frame = _call(attacker, 2)
    writer.write(frame[: attacker.random.randrange(1, len(frame))])
    await writer.drain()
    attacker.did()


async def garbage(
    attacker: Attacker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Send frames of noise, after a handshake or without one. Counts frames."""
    random = attacker.random
    if random.random() < 0.5:
        writer.write(_greeting(attacker))
    for _ in range(random.randrange(1, 20)):
        data = random.randbytes(random.randrange(1, 2_000))
        writer.write(_LENGTH.pack(len(data)) + data)
        attacker.did()
    await writer.drain()
    await _until_closed(reader)


async def cancel_flood(
    attacker: Attacker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Call and cancel at once, again and again: rapid reset. Counts calls."""
    writer.write(_greeting(attacker))
    reading = asyncio.ensure_future(_until_closed(reader))
    try:
        number = 0
        while not reading.done():
            calls = range(number + 1, number + 101)
            writer.write(b"".join(_call(attacker, n) + framed(wire.Cancel(n)) for n in calls))
            await writer.drain()
            number += len(calls)
            attacker.did(len(calls))
            await asyncio.sleep(0)
    finally:
        reading.cancel()


async def never_reads(
    attacker: Attacker, _: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Call, and take none of the answers. Counts calls."""
    writer.transport.pause_reading()  # type: ignore[attr-defined] # it is a read transport, too
    writer.write(_greeting(attacker))
    number = 0
    while True:
        number += 1
        writer.write(_call(attacker, number))
        await writer.drain()
        attacker.did()
        await asyncio.sleep(0)


async def sessions(
    attacker: Attacker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Open a session, and another one over the next connection. Counts sessions."""
    writer.write(_greeting(attacker))
    await writer.drain()
    await reader.readexactly(_LENGTH.size)
    attacker.did()


async def huge_numbers(
    attacker: Attacker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Speak Raft with terms and indexes that no election and no log led to. Counts messages."""
    writer.write(_greeting(attacker, PEER_OBJECT))
    reading = asyncio.ensure_future(_until_closed(reader))
    try:
        while not reading.done():
            messages = tuple(_message(attacker) for _ in range(20))
            arguments = msgspec.Raw(encode((attacker.target.cluster_id, messages)))
            writer.write(framed(wire.Notify(PEER_OBJECT, "deliver", arguments)))
            await writer.drain()
            attacker.did(len(messages))
            await asyncio.sleep(0.01)
    finally:
        reading.cancel()


NUMBERS: Final = (-(2**63), -1, 10**9, 2**40, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 2**64 - 1)
"""Terms and indexes that cannot be, or that no cluster has come to."""


def _message(attacker: Attacker) -> Message:
    """Return a message that no correct server writes, in the name of a stranger.

    Who writes what a correct server could write is a peer, as long as nobody asks who it is: that
    it can depose leaders, and contradict them, is not what is tried here.
    """
    draw = attacker.random.choice
    own = attacker.target.node_ids[0] if attacker.target.node_ids else "n1"
    number, other = draw(NUMBERS), draw((0, 1, *NUMBERS))
    return draw(
        (
            RequestVote(number, "stranger", own, other, other, is_transfer=True),
            RequestVoteReply(number, "stranger", own, is_granted=True),
            AppendEntries(number, "stranger", own, other, other, (), other, other),
            AppendEntries(0, "stranger", own, number, other, (), number, 1),
            AppendEntriesReply(
                term=number,
                source="stranger",
                target=own,
                is_success=draw((True, False)),
                match_index=other,
                rejected_index=number,
                conflict_term=other,
                conflict_index=number,
                round=other,
            ),
        )
    )


ATTACKS: Final[Mapping[str, Attack]] = {
    "silent": Attack(silent, connections=1_000),
    "dribble": Attack(dribble, connections=1_000),
    "length-bombs": Attack(length_bombs, connections=100),
    "half-frames": Attack(half_frames, connections=100),
    "garbage": Attack(garbage, connections=100),
    "cancel-flood": Attack(cancel_flood, connections=4),
    "never-reads": Attack(never_reads, connections=4),
    "sessions": Attack(sessions, connections=50),
    "huge-numbers": Attack(huge_numbers, connections=4, is_for_nodes=True),
}
