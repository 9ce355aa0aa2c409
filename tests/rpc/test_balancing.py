"""One stub over several hosts: calls are spread, and go elsewhere when a host goes away."""

import asyncio
from collections import Counter as Tally
from collections.abc import AsyncIterator
from typing import Any, Protocol, Self

import pytest

import liferaft
from liferaft.errors import (
    ConfigurationError,
    InterfaceMismatch,
    OutcomeUnknown,
    Overloaded,
    StubClosed,
    Unreachable,
)
from liferaft.link.address import parse_address
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.balancing import Balance
from liferaft.rpc.caller import core_of
from liferaft.rpc.host import CalleeStub
from liferaft.rpc.interception import Invocation, Proceed

pytestmark = pytest.mark.looptime(noop_cycles=0)

ADDRESSES = "memory:a,memory:b,memory:c"


class Worker(Protocol):
    async def name(self) -> str: ...
    async def hold(self) -> str: ...
    @liferaft.idempotent
    async def hold_again(self) -> str: ...
    def count(self, to: int) -> AsyncIterator[int]: ...
    async def total(self, numbers: AsyncIterator[int]) -> int: ...


class WorkerObject:
    """Answers with its name; `hold` answers once it is let go."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.held = 0
        self.go = asyncio.Event()

    async def name(self) -> str:
        return self._name

    async def hold(self) -> str:
        self.held += 1
        await self.go.wait()
        return self._name

    async def hold_again(self) -> str:
        return await self.hold()

    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    async def total(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])


class Service:
    """Three hosts of one service."""

    def __init__(self) -> None:
        self.network = MemoryNetwork()
        self.workers = {name: WorkerObject(name) for name in "abc"}
        self.hosts: dict[str, CalleeStub] = {}

    async def start(self, name: str) -> None:
        self.hosts[name] = await liferaft.aserve(
            self.workers[name], Worker, f"memory:{name}", network=self.network
        )

    async def __aenter__(self) -> Self:
        for name in self.workers:
            await self.start(name)
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers.values():
            worker.go.set()
        for host in self.hosts.values():
            await host.astop()


async def until_all_are_bound(stub: Worker) -> None:
    seen: set[str] = set()
    async with asyncio.timeout(30):
        while len(seen) < 3:
            seen.add(await stub.name())
            await asyncio.sleep(0.1)  # in which virtual time passes; calls alone take none


async def test_round_robin_gives_each_host_as_many_calls() -> None:
    async with Service() as service:
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="round-robin", network=service.network
        )
        await until_all_are_bound(stub)

        assert {"a": 4, "b": 4, "c": 4} == Tally([await stub.name() for _ in range(12)])
        await liferaft.aclose(stub)


async def test_least_pending_avoids_the_host_that_is_busy() -> None:
    async with Service() as service:
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="least-pending", network=service.network
        )
        await until_all_are_bound(stub)
        held = asyncio.ensure_future(stub.hold())
        await asyncio.sleep(0.1)
        (busy,) = [name for name, worker in service.workers.items() if worker.held]

        answered = Tally([await stub.name() for _ in range(12)])

        assert busy not in answered
        assert 2 == len(answered)
        service.workers[busy].go.set()
        assert busy == await held
        await liferaft.aclose(stub)


@pytest.mark.parametrize("balance", ["round-robin", "least-pending"])
async def test_calls_go_on_while_a_host_is_away_and_return_to_it(balance: Balance) -> None:
    async with Service() as service:
        stub = await liferaft.aconnect(Worker, ADDRESSES, balance=balance, network=service.network)
        await until_all_are_bound(stub)

        await service.hosts["b"].astop()
        assert {"a", "c"} == {await stub.name() for _ in range(12)}
        await service.start("b")
        await until_all_are_bound(stub)
        await liferaft.aclose(stub)


async def test_a_call_that_does_no_harm_twice_goes_to_another_host() -> None:
    async with Service() as service:
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="round-robin", network=service.network
        )
        await until_all_are_bound(stub)
        call = asyncio.ensure_future(stub.hold_again())
        await asyncio.sleep(0.1)
        (first,) = [name for name, worker in service.workers.items() if worker.held]
        for name, worker in service.workers.items():
            if name != first:
                worker.go.set()

        await service.hosts[first].astop()

        assert await call in set("abc") - {first}
        await liferaft.aclose(stub)


async def test_what_one_host_may_have_executed_is_not_said_to_be_nothing_by_another() -> None:
    async def refuse(_: Invocation, __: Proceed) -> Any:
        raise Overloaded("come later")

    async with Service() as service:
        for name in "bc":
            await service.hosts[name].astop()
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="round-robin", network=service.network
        )
        for is_refused in (True, False):
            call = asyncio.ensure_future(stub.hold_again())
            await asyncio.sleep(0.1)
            if is_refused:
                service.hosts["b"] = await liferaft.aserve(
                    service.workers["b"],
                    Worker,
                    "memory:b",
                    network=service.network,
                    interceptors=[refuse],
                )
                await asyncio.sleep(5)
            await service.hosts["a"].astop()
            with pytest.raises(OutcomeUnknown, match="come later" if is_refused else "nobody"):
                await call
            assert service.workers["a"].held
            await service.hosts["b"].astop()
            await service.start("a")
            await asyncio.sleep(5)
        await liferaft.aclose(stub)


async def test_any_other_call_is_not_made_twice() -> None:
    async with Service() as service:
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="round-robin", network=service.network
        )
        await until_all_are_bound(stub)
        call = asyncio.ensure_future(stub.hold())
        await asyncio.sleep(0.1)
        (first,) = [name for name, worker in service.workers.items() if worker.held]

        await service.hosts[first].astop()
        await service.start(first)

        with pytest.raises(OutcomeUnknown):
            await call
        assert 1 == sum(worker.held for worker in service.workers.values())
        await liferaft.aclose(stub)


async def test_without_any_host_a_call_waits_for_one_until_its_deadline() -> None:
    async with Service() as service:
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="round-robin", network=service.network
        )
        for host in service.hosts.values():
            await host.astop()
        with pytest.raises(Unreachable), liferaft.deadline(2):
            await stub.name()

        late = asyncio.ensure_future(stub.name())
        await asyncio.sleep(1)
        await service.start("c")
        assert "c" == await late
        await liferaft.aclose(stub)


async def test_a_call_waits_for_whichever_host_comes_first_not_for_one_that_is_silent() -> None:
    async with Service() as service:
        leaky = LeakyNetwork(service.network, seed=1)
        stub = await liferaft.aconnect(Worker, ADDRESSES, balance="round-robin", network=leaky)
        leaky.cut_all()
        await asyncio.sleep(60)
        calls = [asyncio.ensure_future(stub.name()) for _ in service.hosts]
        await asyncio.sleep(0.5)

        leaky.heal(parse_address("memory:c"))

        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        async with asyncio.timeout(0.1):
            assert ["c"] * 3 == await asyncio.gather(*calls)
        await liferaft.aclose(stub)


async def numbers_below(end: int) -> AsyncIterator[int]:
    for number in range(end):
        yield number


async def test_without_any_host_a_call_with_streams_waits_for_one_until_its_deadline() -> None:
    async with Service() as service:
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="round-robin", network=service.network
        )
        for host in service.hosts.values():
            await host.astop()
        await asyncio.sleep(1)
        with pytest.raises(Unreachable), liferaft.deadline(2):
            await stub.total(numbers_below(4))
        with pytest.raises(Unreachable), liferaft.deadline(2):
            await anext(stub.count(4))

        total = asyncio.ensure_future(stub.total(numbers_below(4)))
        counted, dropped = stub.count(4), stub.count(4)
        await asyncio.sleep(1)
        del dropped
        await service.start("c")

        assert 6 == await total
        assert [0, 1, 2, 3] == [number async for number in counted]
        await liferaft.aclose(stub)


async def test_a_stream_that_waits_for_a_host_ends_with_its_stub() -> None:
    async with Service() as service:
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="round-robin", network=service.network
        )
        for host in service.hosts.values():
            await host.astop()
        await asyncio.sleep(1)
        numbers = stub.count(4)
        first = asyncio.ensure_future(anext(numbers))
        await asyncio.sleep(1)
        tasks = asyncio.all_tasks() - {first}
        await liferaft.aclose(stub)

        assert asyncio.all_tasks() & tasks == {asyncio.current_task()}
        with pytest.raises(StubClosed):
            await first


async def test_a_stream_waits_for_a_host_for_as_long_as_it_is_given() -> None:
    async with Service() as service:
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="round-robin", network=service.network, timeout=60
        )
        for host in service.hosts.values():
            await host.astop()
        await asyncio.sleep(1)
        began_at = asyncio.get_running_loop().time()
        connection = core_of(stub).connection
        count = connection.interface.methods["count"]

        with pytest.raises(Unreachable):
            await anext(connection.start_streaming(count, (4,), time_left=2.0).reader())
        assert 2 <= asyncio.get_running_loop().time() - began_at < 3
        await liferaft.aclose(stub)


async def test_calls_are_spread_over_links_that_lose_and_repeat() -> None:
    async with Service() as service:
        leak = Leak(loss=0.2, duplicate=0.2, delay_max=0.02)
        network = LeakyNetwork(service.network, seed=7, outgoing=leak, incoming=leak)
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="round-robin", network=network, timeout=60
        )
        answers = [await stub.name() for _ in range(60)]

        assert set("abc") == set(answers)
        await liferaft.aclose(stub)


async def test_one_host_that_differs_is_said_when_connecting() -> None:
    class Other(Protocol):
        async def name(self) -> int: ...

    network = MemoryNetwork()
    async with await liferaft.aserve(WorkerObject("a"), Worker, "memory:a", network=network):
        with pytest.raises(InterfaceMismatch, match="name differs"):
            await liferaft.aconnect(Other, "memory:a", balance="round-robin", network=network)


async def test_a_closed_stub_says_so() -> None:
    async with Service() as service:
        stub = await liferaft.aconnect(
            Worker, ADDRESSES, balance="round-robin", network=service.network
        )
        await liferaft.aclose(stub)
        with pytest.raises(StubClosed):
            await stub.name()


async def test_a_way_of_balancing_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'failover', 'round-robin', 'least-pending'"):
        await liferaft.aconnect(Worker, ADDRESSES, balance="random")  # type: ignore[arg-type]
