"""The real network against peers that do not keep to the protocol, on raw sockets."""

import asyncio

import pytest

from liferaft.errors import (
    AddressError,
    ConfigurationError,
    ConnectionLost,
    LiferaftError,
    ProtocolError,
)
from liferaft.link.address import parse_address
from liferaft.link.frames import encode_frame
from liferaft.link.system import SystemNetwork
from tests.link.recorder import PATIENCE, Acceptor, Recorder, end_all

FRAME_BYTES_MAX = 1000
FRAME_TIMEOUT = 0.05

HOSTILE = {
    "garbage": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a huge length": b"\xff\xff\xff\xff",
    "a length of zero": b"\x00\x00\x00\x00",
    "one byte too many": (FRAME_BYTES_MAX + 1).to_bytes(4, "big"),
    "half a header, then silence": b"\x00\x00",
    "half a frame, then silence": b"\x00\x00\x00\x10only half",
    "a good frame, then garbage": encode_frame(b"good", FRAME_BYTES_MAX) + b"\xff" * 100,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_bytes_end_their_own_link_and_the_listener_serves_on(hostile: bytes) -> None:
    network = SystemNetwork(frame_bytes_max=FRAME_BYTES_MAX, frame_timeout=FRAME_TIMEOUT)
    acceptor = Acceptor()
    listener = await network.listen(parse_address("127.0.0.1:0"), acceptor)
    good_here = Recorder(await network.connect(listener.address))
    good_there = Recorder(await acceptor.next_link())

    reader, writer = await asyncio.open_connection("127.0.0.1", listener.address.port)
    writer.write(hostile)
    hostile_there = Recorder(await acceptor.next_link())
    reason = await hostile_there.wait_end()
    async with asyncio.timeout(PATIENCE):
        answer = await read_to_end(reader)
    writer.close()
    good_here.link.send(b"unharmed")
    unharmed = await good_there.wait_frames(1)
    late_here = await network.connect(listener.address)
    late_there = await acceptor.next_link()
    await end_all(good_here.link, good_there.link, late_here, late_there)
    await listener.close()

    assert isinstance(reason, ProtocolError)
    assert hostile_there.link.peer in str(reason)
    assert b"" == answer
    assert [b"unharmed"] == unharmed


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """Return what the other side sends until it ends the connection, gently or not."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    ("sent", "reason_type"),
    [
        (b"", ConnectionLost),
        (b"\x00\x00\x00\x10half", ConnectionLost),
        (b"\xff" * 4, ProtocolError),
    ],
    ids=["nothing", "half a frame", "garbage"],
)
async def test_a_peer_that_leaves_at_once_is_accepted_and_told(
    sent: bytes, reason_type: type[LiferaftError]
) -> None:
    network = SystemNetwork(frame_bytes_max=FRAME_BYTES_MAX, frame_timeout=FRAME_TIMEOUT)
    acceptor = Acceptor()
    listener = await network.listen(parse_address("127.0.0.1:0"), acceptor)
    _, writer = await asyncio.open_connection("127.0.0.1", listener.address.port)
    writer.write(sent)
    writer.close()
    await writer.wait_closed()
    there = Recorder(await acceptor.next_link())
    reason = await there.wait_end()
    await listener.close()

    assert reason_type is type(reason)


async def test_connecting_can_be_given_up() -> None:
    network = SystemNetwork()
    acceptor = Acceptor()
    listener = await network.listen(parse_address("127.0.0.1:0"), acceptor)
    connecting = asyncio.create_task(network.connect(listener.address))
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await listener.close()

    assert 0 == acceptor.waiting


async def test_a_name_inside_one_process_is_no_address_of_the_system() -> None:
    network = SystemNetwork()
    with pytest.raises(AddressError, match="memory:a is known inside one process only"):
        await network.connect(parse_address("memory:a"))
    with pytest.raises(AddressError, match="write host:port or unix:/path"):
        await network.listen(parse_address("memory:a"), Acceptor())


@pytest.mark.parametrize("frame_bytes_max", [0, -1, 2**32])
def test_the_bound_of_a_frame_fits_its_header(frame_bytes_max: int) -> None:
    with pytest.raises(ConfigurationError, match=f"frame_bytes_max is {frame_bytes_max}"):
        SystemNetwork(frame_bytes_max=frame_bytes_max)


@pytest.mark.parametrize("frame_timeout", [0, -1, float("inf"), float("nan")])
def test_the_time_for_a_frame_is_a_number_of_seconds(frame_timeout: float) -> None:
    with pytest.raises(ConfigurationError, match="frame_timeout is"):
        SystemNetwork(frame_timeout=frame_timeout)
