"""What is peculiar to links in memory: names, turns of the loop, and that they repeat exactly."""

import asyncio

import pytest

from liferaft.errors import AddressError, ConnectionLost, Unreachable
from liferaft.link.address import Address, parse_address
from liferaft.link.base import HIGH_WATER_BYTES
from liferaft.link.memory import MemoryNetwork
from tests.link.recorder import Acceptor, Recorder, make_pair, pass_turns

HERE = Address(kind="memory", host="here")


async def test_the_frames_of_one_turn_arrive_together() -> None:
    connecting, accepted, _ = await make_pair(MemoryNetwork(), HERE)
    there = Recorder(accepted)
    await pass_turns()
    for turn in ([b"a", b"b"], [b"c"]):
        for frame in turn:
            connecting.send(frame)
        await pass_turns(2)

    assert [[b"a", b"b"], [b"c"]] == there.batches


async def test_nothing_is_delivered_from_inside_send() -> None:
    connecting, accepted, _ = await make_pair(MemoryNetwork(), HERE)
    there = Recorder(accepted)
    await pass_turns()
    connecting.send(b"later")

    assert [] == there.frames


async def test_an_aborted_link_loses_what_was_not_delivered() -> None:
    connecting, accepted, _ = await make_pair(MemoryNetwork(), HERE)
    there = Recorder(accepted)
    await pass_turns()
    connecting.send(b"lost")
    connecting.abort()
    await there.wait_end()

    assert [] == there.frames


async def test_pressure_that_has_passed_is_not_told() -> None:
    """What is above the mark for less than a turn is gone before anyone could heed it."""
    connecting, accepted, _ = await make_pair(MemoryNetwork(), HERE)
    here, there = Recorder(connecting), Recorder(accepted)
    await pass_turns()
    connecting.send(b"x" * HIGH_WATER_BYTES)
    connecting.send(b"above")
    await there.wait_frames(2)
    await pass_turns()

    assert [] == here.pressure


async def test_pressure_from_before_the_start_is_told_once() -> None:
    connecting, accepted, _ = await make_pair(MemoryNetwork(), HERE)
    for _ in range(3):
        connecting.send(b"x" * HIGH_WATER_BYTES)
    here = Recorder(connecting)
    await pass_turns()
    told_before_reading = list(here.pressure)
    Recorder(accepted)
    await pass_turns()

    assert ["paused"] == told_before_reading
    assert ["paused", "resumed"] == here.pressure


async def test_a_receiver_that_fails_is_still_told_the_end() -> None:
    class Failing(Recorder):
        def frames_received(self, frames: list[bytes]) -> None:
            raise LookupError("the receiver's own fault")

    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: faults.append(context["exception"])
    )
    connecting, accepted, _ = await make_pair(MemoryNetwork(), HERE)
    connecting.send(b"frame")
    connecting.close()
    there = Failing(accepted)
    await there.wait_end()

    assert [LookupError] == [type(fault) for fault in faults]
    assert [ConnectionLost] == [type(end) for end in there.ends]


async def test_a_link_made_while_its_listener_closes_is_ended() -> None:
    network = MemoryNetwork()
    acceptor = Acceptor()
    listener = await network.listen(HERE, acceptor)
    connecting = Recorder(await network.connect(HERE))
    await listener.close()
    reason = await connecting.wait_end()

    assert isinstance(reason, ConnectionLost)
    assert 0 == acceptor.waiting


async def test_two_networks_know_nothing_of_each_other() -> None:
    await MemoryNetwork().listen(HERE, Acceptor())
    with pytest.raises(Unreachable, match="nobody listens under that name"):
        await MemoryNetwork().connect(HERE)


async def test_an_address_outside_the_process_is_refused() -> None:
    for text in ("127.0.0.1:1", "unix:/x"):
        with pytest.raises(AddressError, match="not inside this process: write memory:name"):
            await MemoryNetwork().connect(parse_address(text))
        with pytest.raises(AddressError, match="not inside this process: write memory:name"):
            await MemoryNetwork().listen(parse_address(text), Acceptor())
