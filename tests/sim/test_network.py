"""The simulated network keeps the contract of a link, and loses what it is told to lose."""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from liferaft.errors import AddressError, ConnectionLost, LiferaftError, Unreachable
from liferaft.link.address import Address
from liferaft.link.base import Link
from liferaft.sim.loop import run_simulated
from liferaft.sim.network import Conditions, SimulatedNetwork

A, B = Address("memory", "a"), Address("memory", "b")


class Recorder:
    """Notes what a link brings."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.ends: list[LiferaftError | None] = []

    def frames_received(self, frames: list[bytes]) -> None:
        self.frames += frames

    def link_closed(self, reason: LiferaftError | None) -> None:
        self.ends.append(reason)

    def bytes_received(self) -> None: ...
    def sending_paused(self) -> None: ...

    def sending_resumed(self) -> None: ...


class Pair:
    """A network with a link from host a to host b."""

    def __init__(self, network: SimulatedNetwork, near: Link, far: Link) -> None:
        self.network = network
        self.near, self.far = near, far
        self.at_a, self.at_b = Recorder(), Recorder()
        near.start(self.at_a)
        far.start(self.at_b)


async def linked(conditions: Conditions | None = None) -> Pair:
    network = SimulatedNetwork(Random(1), conditions)
    accepted: asyncio.Queue[Link] = asyncio.Queue()
    await network.host("b").listen(B, accepted.put_nowait)
    near = await network.host("a").connect(B)
    return Pair(network, near, await accepted.get())


def simulated(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        run_simulated(test)

    run.__name__ = test.__name__
    return run


@simulated
async def test_frames_arrive_whole_at_the_other_end() -> None:
    pair = await linked()
    pair.near.send(b"to b")
    pair.far.send(b"to a")
    await asyncio.sleep(1)

    assert ([b"to a"], [b"to b"]) == (pair.at_a.frames, pair.at_b.frames)


@simulated
async def test_loss_and_repeats_come_as_often_as_asked() -> None:
    pair = await linked(Conditions(loss=0.3, duplicate=0.1))
    for number in range(10_000):
        pair.near.send(b"%d" % number)
    await asyncio.sleep(1)

    assert 0.28 < 1 - len(set(pair.at_b.frames)) / 10_000 < 0.32
    assert 0.06 < (len(pair.at_b.frames) - len(set(pair.at_b.frames))) / 10_000 < 0.08


@simulated
async def test_a_long_tail_of_delays_orders_frames_anew() -> None:
    pair = await linked(Conditions(delay_max=0.01, reorder=0.5, long_delay=0.2))
    for number in range(100):
        pair.near.send(b"%d" % number)
    await asyncio.sleep(1)

    assert 100 == len(pair.at_b.frames)
    assert pair.at_b.frames != sorted(pair.at_b.frames, key=int)


@simulated
async def test_a_cut_swallows_one_direction_while_the_link_seems_open() -> None:
    pair = await linked()
    pair.network.cut(("a", "b"))
    pair.near.send(b"swallowed")
    pair.far.send(b"arrives")
    await asyncio.sleep(1)
    pair.network.heal()
    pair.near.send(b"later")
    await asyncio.sleep(1)

    assert ([b"arrives"], [b"later"]) == (pair.at_a.frames, pair.at_b.frames)
    assert [] == pair.at_a.ends


@simulated
async def test_connecting_into_a_cut_waits_for_its_end() -> None:
    pair = await linked()
    pair.network.cut(("a", "b"), ("b", "a"))
    connecting = asyncio.ensure_future(pair.network.host("a").connect(B))
    await asyncio.sleep(60)
    was_waiting = not connecting.done()
    pair.network.heal()
    await connecting

    assert was_waiting


@simulated
async def test_closing_tells_the_other_end_why() -> None:
    pair = await linked()
    pair.near.close()
    await asyncio.sleep(1)

    assert [None] == pair.at_a.ends
    assert [ConnectionLost] == [type(end) for end in pair.at_b.ends]


@simulated
async def test_a_crashed_host_is_gone_without_a_word_of_its_own() -> None:
    pair = await linked()
    pair.network.crash("b")
    pair.near.send(b"to nobody")
    await asyncio.sleep(1)

    assert ([], []) == (pair.at_b.frames, pair.at_b.ends)
    with pytest.raises(Unreachable):
        await pair.network.host("a").connect(B)


@simulated
async def test_one_address_has_one_listener() -> None:
    network = SimulatedNetwork(Random(1))
    listener = await network.host("b").listen(B, lambda _: None)
    with pytest.raises(AddressError):
        await network.host("b").listen(B, lambda _: None)
    await listener.close()

    await network.host("b").listen(B, lambda _: None)


@simulated
async def test_what_was_sent_before_the_link_was_closed_arrives_before_its_end() -> None:
    """As with TCP: who answers and ends has answered."""
    for _ in range(20):
        pair = await linked(Conditions(delay_max=0.05))
        pair.near.send(b"the last word")
        pair.near.close()
        await asyncio.sleep(1)

        assert ([b"the last word"], 1) == (pair.at_b.frames, len(pair.at_b.ends))
