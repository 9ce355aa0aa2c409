"""Hosts that are started, drained and restarted, and the objects that they serve."""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

import pytest

import liferaft
from liferaft.errors import (
    ConfigurationError,
    NoSuchObject,
    OutcomeUnknown,
    StubClosed,
    Unreachable,
)
from liferaft.link.base import Network
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.addresses import BACKOFF_FIRST
from liferaft.rpc.balancing import Balance
from liferaft.rpc.host import CalleeStub
from liferaft.rpc.server import LEAVING_INTERVAL, RETURN_WITHIN
from tests.rpc.objects import Counter, CounterObject

pytestmark = pytest.mark.looptime(noop_cycles=0)


class Slow(Protocol):
    async def add(self, seconds: float) -> int: ...
    def count(self, to: int) -> AsyncIterator[int]: ...


class SlowObject:
    """Counts, and takes its time for it."""

    def __init__(self) -> None:
        self.count_of_calls = 0

    async def add(self, seconds: float) -> int:
        self.count_of_calls += 1
        await asyncio.sleep(seconds)
        return self.count_of_calls

    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            await asyncio.sleep(0.1)
            yield number


async def serve_slow(network: Network, name: str, slow: SlowObject) -> CalleeStub:
    return await liferaft.aserve(slow, Slow, f"memory:{name}", network=network)


async def test_a_host_serves_objects_under_names_of_their_own() -> None:
    network = MemoryNetwork()
    async with await liferaft.aserve(
        CounterObject(), Counter, "memory:host", network=network
    ) as host:
        host.host(SlowObject(), Slow, name="slow")
        counter = await liferaft.aconnect(Counter, "memory:host", name="Counter", network=network)
        slow = await liferaft.aconnect(Slow, "memory:host", name="slow", network=network)

        assert [1, 2, 1] == [
            await counter.increment(),
            await counter.increment(),
            await slow.add(0),
        ]
        assert 3 == host.calls_served
        with pytest.raises(ConfigurationError, match="'slow' is hosted"):
            host.host(SlowObject(), Slow, name="slow")
        with pytest.raises(NoSuchObject, match="say which one by name"):
            await liferaft.aconnect(Slow, "memory:host", network=network)
        await liferaft.aclose(counter)
        await liferaft.aclose(slow)


async def test_a_drained_host_answers_what_it_has_and_takes_nothing_new() -> None:
    network = MemoryNetwork()
    first, second = SlowObject(), SlowObject()
    host = await serve_slow(network, "a", first)
    stub = await liferaft.aconnect(Slow, "memory:a,memory:b", network=network)
    under_way = asyncio.ensure_future(stub.add(2))
    await asyncio.sleep(0.1)

    stopping = asyncio.ensure_future(host.astop(drain=30))
    await asyncio.sleep(0.1)
    async with await serve_slow(network, "b", second):
        new = asyncio.ensure_future(stub.add(0))

        assert [1, 1] == [await under_way, await new]
        await stopping
        assert [1, 1] == [first.count_of_calls, second.count_of_calls]
        await liferaft.aclose(stub)


async def test_a_stream_is_finished_before_its_host_goes() -> None:
    network = MemoryNetwork()
    host = await serve_slow(network, "a", SlowObject())
    stub = await liferaft.aconnect(Slow, "memory:a", network=network)
    taken = [number async for number in anext_and_drain(stub.count(20), host)]

    assert list(range(20)) == taken
    await liferaft.aclose(stub)


async def anext_and_drain(numbers: AsyncIterator[int], host: CalleeStub) -> AsyncIterator[int]:
    """Yield the numbers, and have the host drained once the first has come."""
    yield await anext(numbers)
    stopping = asyncio.ensure_future(host.astop(drain=60))
    async for number in numbers:
        yield number
    await stopping


async def test_who_loses_its_link_may_come_back_for_its_answer_while_the_host_is_drained() -> None:
    leaky, slow = LeakyNetwork(MemoryNetwork(), seed=1), SlowObject()
    host = await serve_slow(leaky, "a", slow)
    stub = await liferaft.aconnect(Slow, "memory:a", network=leaky)
    under_way = asyncio.ensure_future(stub.add(2))
    await asyncio.sleep(0.1)

    stopping = asyncio.ensure_future(host.astop(drain=30))
    await asyncio.sleep(0.1)
    for link in leaky.links:
        link.reset()
    await asyncio.sleep(LEAVING_INTERVAL / 2)
    new = asyncio.ensure_future(stub.add(0))

    assert 1 == await under_way
    await stopping
    await liferaft.aclose(stub)
    with pytest.raises(StubClosed):
        await new
    assert 1 == slow.count_of_calls


async def test_a_drained_host_waits_a_while_for_who_lost_its_link_and_no_longer() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    host = await serve_slow(network, "a", SlowObject())
    stub = await liferaft.aconnect(Slow, "memory:a", network=leaky)
    under_way = asyncio.ensure_future(stub.add(0.5))
    await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()

    began_at = loop.time()
    stopping = asyncio.ensure_future(host.astop(drain=60))
    leaky.cut_all()
    for link in leaky.links:
        link.reset()
    await stopping

    assert 4 < loop.time() - began_at < RETURN_WITHIN + LEAVING_INTERVAL
    await liferaft.aclose(stub)
    with pytest.raises(StubClosed):
        await under_way


async def test_who_is_tired_of_waiting_for_a_host_that_is_drained_has_it_stopped() -> None:
    network = MemoryNetwork()
    host = await serve_slow(network, "a", SlowObject())
    stub = await liferaft.aconnect(Slow, "memory:a", network=network, timeout=100)
    call = asyncio.ensure_future(stub.add(50))
    await asyncio.sleep(0.1)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await host.astop(drain=60)

    async with await serve_slow(network, "a", SlowObject()):
        with pytest.raises(OutcomeUnknown):
            await call
    await liferaft.aclose(stub)


async def test_a_drained_host_lets_nobody_new_in() -> None:
    network = MemoryNetwork()
    slow = SlowObject()
    host = await serve_slow(network, "a", slow)
    stub = await liferaft.aconnect(Slow, "memory:a", network=network)
    idle = await liferaft.aconnect(Slow, "memory:a", network=network, timeout=1)
    under_way = asyncio.ensure_future(stub.add(5))
    await asyncio.sleep(0.1)

    stopping = asyncio.ensure_future(host.astop(drain=30))
    with pytest.raises(Unreachable, match=r"memory:a: the host ended .*: the host stops"):
        await liferaft.aconnect(Slow, "memory:a", network=network, timeout=1)
    with pytest.raises(Unreachable, match="the host stops"):
        await idle.add(0)

    assert 1 == await under_way == slow.count_of_calls
    await stopping
    await liferaft.aclose(stub)
    await liferaft.aclose(idle)


async def test_the_link_to_a_host_that_was_left_ends_with_the_stub_at_the_latest() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1, outgoing=Leak(delay_min=1.0, delay_max=1.0))
    host = await serve_slow(network, "a", SlowObject())
    stub = await liferaft.aconnect(Slow, "memory:a,memory:b", network=leaky)
    (link,) = leaky.links
    server = host._server
    assert server is not None

    stopping = asyncio.ensure_future(host.astop(drain=30))
    await asyncio.sleep(BACKOFF_FIRST / 4)  # before it comes back
    assert link.is_closed
    assert 1 == server.connection_count
    left_at = asyncio.get_running_loop().time()
    await liferaft.aclose(stub)

    assert (0, ()) == (server.connection_count, leaky.links)
    assert asyncio.get_running_loop().time() - left_at < 0.1
    await stopping


async def test_who_does_not_finish_in_time_is_cut_off() -> None:
    network = MemoryNetwork()
    host = await serve_slow(network, "a", SlowObject())
    stub = await liferaft.aconnect(Slow, "memory:a", network=network, timeout=300)
    call = asyncio.ensure_future(stub.add(100))
    await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()

    began_at = loop.time()
    await host.astop(drain=5)

    assert 5 <= loop.time() - began_at < 6
    async with await serve_slow(network, "a", SlowObject()):
        with pytest.raises(OutcomeUnknown):
            await call
    await liferaft.aclose(stub)


@pytest.mark.parametrize("idle", [2.0, 2.9, 3.0, 4.9, 5.1, 8.0])
async def test_a_host_that_takes_its_time_after_a_pause_is_not_left(idle: float) -> None:
    network = MemoryNetwork()
    slow = SlowObject()
    hosts = [await serve_slow(network, "a", slow), await serve_slow(network, "b", SlowObject())]
    stub = await liferaft.aconnect(Slow, "memory:a,memory:b", network=network)

    for count in (1, 2):
        await asyncio.sleep(idle)
        assert count == await stub.add(1)

    await liferaft.aclose(stub)
    for host in hosts:
        await host.astop()


async def test_callers_without_work_leave_at_once() -> None:
    network = MemoryNetwork()
    host = await serve_slow(network, "a", SlowObject())
    stub = await liferaft.aconnect(Slow, "memory:a", network=network)
    loop = asyncio.get_running_loop()

    began_at = loop.time()
    await host.astop(drain=30)

    assert loop.time() - began_at < LEAVING_INTERVAL
    with pytest.raises(Unreachable), liferaft.deadline(0.5):
        await stub.add(0)
    await liferaft.aclose(stub)


@pytest.mark.parametrize("loss", [0.0, 0.2])
@pytest.mark.parametrize("balance", ["failover", "round-robin"])
async def test_no_call_is_lost_or_made_twice_when_hosts_are_restarted_in_turn(
    balance: Balance, loss: float
) -> None:
    network = MemoryNetwork()
    leak = Leak(loss=loss, duplicate=loss, delay_max=0.02)
    leaky = LeakyNetwork(network, seed=5, outgoing=leak, incoming=leak)
    slow = SlowObject()
    hosts = {name: await serve_slow(network, name, slow) for name in "ab"}
    stub = await liferaft.aconnect(
        Slow, "memory:a,memory:b", balance=balance, network=leaky, timeout=60
    )
    made = 0
    is_over = False

    async def call_on_and_on() -> None:
        nonlocal made
        while not is_over:
            await stub.add(0.01)
            made += 1

    callers = [asyncio.ensure_future(call_on_and_on()) for _ in range(8)]
    for name in "abab":
        await asyncio.sleep(0.5)
        await hosts[name].astop(drain=20)
        hosts[name] = await serve_slow(network, name, slow)
    is_over = True
    await asyncio.gather(*callers)

    assert made == slow.count_of_calls > 100
    await liferaft.aclose(stub)
    for host in hosts.values():
        await host.astop()
