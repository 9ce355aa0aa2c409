"""One stub over several hosts of which it uses one: its calls when that one stops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Protocol

import pytest

import liferaft
from liferaft.errors import NoSuchObject, OutcomeUnknown, StubClosed
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryLink, MemoryNetwork
from liferaft.rpc import wire
from liferaft.rpc.caller import core_of
from liferaft.rpc.codec import encode
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.driving import ThreadWaiter
from liferaft.rpc.host import CalleeStub
from liferaft.rpc.parting import GONE_AFTER
from tests.rpc.objects import connection_of, connection_to

pytestmark = pytest.mark.looptime(noop_cycles=0)

BOUND = encode(wire.Bound("", "House", is_durable=False))


class Room(Protocol):
    async def name(self) -> str: ...


class House(Protocol):
    async def name(self, after: float = 0.0) -> str: ...
    @liferaft.idempotent
    async def name_again(self, after: float) -> str: ...
    def count(self, to: int) -> AsyncIterator[int]: ...
    async def total(self, numbers: AsyncIterator[int]) -> int: ...
    async def apply(self, function: Callable[[], Awaitable[str]], after: float) -> str: ...
    async def room(self) -> Room: ...
    @liferaft.oneway
    async def tell(self, what: str) -> None: ...


class RoomObject:
    def __init__(self, house: str) -> None:
        self._house = house

    async def name(self) -> str:
        return f"a room of {self._house}"


class HouseObject:
    """Takes its time to say its name."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.told: list[str] = []

    async def name(self, after: float = 0.0) -> str:
        await asyncio.sleep(after)
        return self._name

    async def name_again(self, after: float) -> str:
        return await self.name(after)

    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            await asyncio.sleep(0.2)
            yield number

    async def total(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    async def apply(self, function: Callable[[], Awaitable[str]], after: float) -> str:
        await asyncio.sleep(after)
        return await function()

    async def room(self) -> RoomObject:
        return RoomObject(self._name)

    async def tell(self, what: str) -> None:
        self.told.append(what)


class Street:
    """Two houses and a stub that knows both, over a network of its own."""

    def __init__(self) -> None:
        self.inside = MemoryNetwork()
        self.network = LeakyNetwork(self.inside, seed=1)
        self.houses = {name: HouseObject(name) for name in "ab"}
        self.hosts: dict[str, CalleeStub] = {}
        self.stub: House

    async def start(self, name: str) -> None:
        self.hosts[name] = await liferaft.aserve(
            self.houses[name], House, f"memory:{name}", network=self.inside
        )

    async def drain(self, name: str, seconds: float = 60.0) -> "asyncio.Task[None]":
        """Begin to drain a host, and return once its callers know."""
        stopping = asyncio.ensure_future(self.hosts[name].astop(drain=seconds))
        await asyncio.sleep(0.1)
        return stopping


@contextlib.asynccontextmanager
async def street() -> AsyncIterator[Street]:
    here = Street()
    for name in here.houses:
        await here.start(name)
    here.stub = await liferaft.aconnect(
        House, "memory:a,memory:b", network=here.network, timeout=100
    )
    try:
        yield here
    finally:
        await liferaft.aclose(here.stub)
        for host in here.hosts.values():
            await host.astop()


async def test_a_call_made_while_a_host_is_drained_goes_to_the_next_at_once() -> None:
    async with street() as here:
        under_way = asyncio.ensure_future(here.stub.name(5))
        await asyncio.sleep(0.1)
        stopping = await here.drain("a")

        assert ["b", "b"] == [await here.stub.name(), await here.stub.name_again(0)]
        assert [0, 1, 2] == [number async for number in here.stub.count(3)]
        assert 3 == await here.stub.total(here.stub.count(3))
        await here.stub.tell("news")
        assert not under_way.done()
        assert "a" == await under_way
        await stopping
        assert [[], ["news"]] == [house.told for house in here.houses.values()]


async def test_what_is_done_for_each_item_of_a_stream_does_not_hold_the_stream_up() -> None:
    async with street() as here:
        seen = ""
        async for number in here.stub.count(10):
            seen += await here.stub.name()
            if number == 4:
                stopping = await here.drain("a")

        assert "aaaaabbbbb" == seen
        await stopping
        assert asyncio.get_running_loop().time() < 10


async def test_a_callback_may_call_the_host_that_waits_for_it() -> None:
    async with street() as here:
        call = asyncio.ensure_future(here.stub.apply(here.stub.name, 1))
        await asyncio.sleep(0.1)
        stopping = await here.drain("a")

        assert "b" == await call
        await stopping


async def test_what_a_host_has_referred_to_is_called_there_until_it_has_stopped() -> None:
    async with street() as here:
        room = await here.stub.room()
        under_way = asyncio.ensure_future(here.stub.name(1))
        await asyncio.sleep(0.1)
        stopping = await here.drain("a")

        assert "a room of a" == await room.name()
        assert "a" == await under_way
        await stopping
        with pytest.raises(NoSuchObject, match="has forgotten it"):
            await room.name()
        assert "a room of b" == await (await here.stub.room()).name()


async def test_what_does_no_harm_twice_is_made_elsewhere_when_a_host_stops_too_early() -> None:
    async with street() as here:
        once = asyncio.ensure_future(here.stub.name(50))
        again = asyncio.ensure_future(here.stub.name_again(50))
        await asyncio.sleep(0.1)
        began_at = asyncio.get_running_loop().time()
        await here.hosts["a"].astop(drain=2)

        with pytest.raises(OutcomeUnknown, match="name may have been executed"):
            await once
        assert asyncio.get_running_loop().time() - began_at < 3
        assert "b" == await again


async def test_a_host_that_has_restarted_gets_what_does_no_harm_twice_and_is_left_then() -> None:
    async with street() as here:
        first = connection_of(here.stub)
        again = asyncio.ensure_future(here.stub.name_again(1))
        await asyncio.sleep(0.1)
        await here.hosts["a"].astop(drain=0.5)
        await here.start("a")

        assert "a" == await again
        await asyncio.sleep(0.1)
        assert first.is_closed
        assert "b" == await here.stub.name()


async def test_a_host_that_falls_silent_while_it_is_drained_is_given_up() -> None:
    async with street() as here:
        once = asyncio.ensure_future(here.stub.name(50))
        again = asyncio.ensure_future(here.stub.name_again(5))
        await asyncio.sleep(0.1)
        stopping = await here.drain("a", 1)
        assert "b" == await here.stub.name()
        here.network.cut(connection_of(here.stub)._book.others[0])
        began_at = asyncio.get_running_loop().time()

        with pytest.raises(OutcomeUnknown):
            await once
        assert asyncio.get_running_loop().time() - began_at < GONE_AFTER + 10
        assert "b" == await again
        await stopping


async def test_who_loses_the_link_to_a_host_that_is_drained_gets_its_answer_there() -> None:
    async with street() as here:
        under_way = asyncio.ensure_future(here.stub.name(5))
        await asyncio.sleep(0.1)
        stopping = await here.drain("a")
        here.network.links[0].reset()

        assert "b" == await here.stub.name()
        assert "a" == await under_way
        await stopping


async def test_calls_that_were_made_too_early_find_the_host_that_is_there_now() -> None:
    """A coroutine may be awaited long after it was made, and threads have their calls begun."""
    async with street() as here:
        first = connection_of(here.stub)
        method = first.interface.methods["name"]
        made, waiter = here.stub.name(), ThreadWaiter()
        held = asyncio.ensure_future(here.stub.name(1))
        await asyncio.sleep(0.1)
        await (await here.drain("a"))
        await held

        count = first.interface.methods["count"]
        counted = first.start_streaming(count, (3,), time_left=None).reader()
        first.begin(waiter, method, (0.0,), None)
        first.notify(first.interface.methods["tell"], ("late",))
        assert "b" == await made
        assert [0, 1, 2] == [number async for number in counted]
        assert waiter.done()
        assert "b" == method.decode_result(waiter.wait().result)
        assert ["late"] == here.houses["b"].told


async def test_hosts_may_be_drained_one_after_the_other_while_calls_are_under_way() -> None:
    async with street() as here:
        calls = []
        for name in "abab":
            calls.append(asyncio.ensure_future(here.stub.name(3)))
            await asyncio.sleep(0.5)
            await (await here.drain(name))
            await here.start(name)
            await asyncio.sleep(1)

        assert ["a", "b", "a", "b"] == await asyncio.gather(*calls)
        connection: Any = core_of(here.stub).connection
        assert not connection._parting


@pytest.mark.parametrize("is_awaited", [True, False])
async def test_a_stub_that_is_closed_waits_for_no_host_that_is_drained(is_awaited: bool) -> None:
    async with street() as here:
        before = asyncio.all_tasks()
        calls: list[asyncio.Task[Any]] = []
        for name in "ab":
            calls.append(asyncio.ensure_future(here.stub.name(30)))
            await asyncio.sleep(0.1)
            calls.append(await here.drain(name, 5))
        tasks = asyncio.all_tasks() - {*calls}
        if is_awaited:
            await liferaft.aclose(here.stub)
        else:
            liferaft.close(here.stub)
            await asyncio.sleep(0.01)

        assert asyncio.all_tasks() & tasks <= before
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [StubClosed, StubClosed] == [type(outcomes[0]), type(outcomes[2])]


@contextlib.contextmanager
def held_open(peer: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Event]:
    """Let the sockets of links to `peer` be closed when the event is set, or at the end."""
    may_close = asyncio.Event()

    async def wait_closed(link: MemoryLink) -> None:
        if link.peer == peer:
            await may_close.wait()

    monkeypatch.setattr(MemoryLink, "wait_closed", wait_closed)
    try:
        yield may_close
    finally:
        may_close.set()


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_stub_that_is_closed_waits_for_the_socket_of_the_host_that_it_left(
    at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with street() as here:

        async def ask_and_close() -> None:
            await here.stub.name(1)
            if not at_once:
                await asyncio.sleep(1)
            await liferaft.aclose(here.stub)

        with held_open("memory:a", monkeypatch):
            closing = asyncio.ensure_future(ask_and_close())
            await asyncio.sleep(0.1)
            stopping = await here.drain("a")
            await asyncio.sleep(10)

            assert not closing.done()
        await asyncio.gather(closing, stopping)


async def test_a_connection_of_nodes_waits_for_the_socket_of_the_host_that_it_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has no stub that goes on with other connections, so it goes on itself."""
    async with street() as here:
        connection = connection_to(here.inside, House, "memory:a,memory:b")
        await connection.wait_bound()
        with held_open("memory:a", monkeypatch):
            stopping = await here.drain("a")
            await connection.wait_bound()
            closing = asyncio.ensure_future(connection.aclose())
            await asyncio.sleep(10)

            assert not closing.done()
        await asyncio.gather(closing, stopping)


async def test_a_stub_that_is_closed_ends_the_socket_of_a_host_that_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with street() as here:
        with held_open("memory:a", monkeypatch) as may_close:
            abort = MemoryLink.abort

            def abort_and_tell(link: MemoryLink) -> None:
                abort(link)
                may_close.set()

            stopping = await here.drain("a")
            await asyncio.sleep(1)
            monkeypatch.setattr(MemoryLink, "abort", abort_and_tell)
            closing = asyncio.ensure_future(liferaft.aclose(here.stub))
            await asyncio.sleep(10)

            assert closing.done()
        await asyncio.gather(closing, stopping)


async def test_who_connects_as_a_host_begins_to_stop_is_connected_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One read may bring both: that the object is bound, and that the host is to be left."""
    inside = MemoryNetwork()
    hosts = [
        await liferaft.aserve(HouseObject(name), House, f"memory:{name}", network=inside)
        for name in "ab"
    ]
    take = CallerConnection.frames_received

    def take_with_more(self: CallerConnection, frames: list[bytes]) -> None:
        is_bound = self.address_text.startswith("memory:a") and frames[-1] == BOUND
        take(self, [*frames, encode(wire.Leaving())] if is_bound else frames)

    monkeypatch.setattr(CallerConnection, "frames_received", take_with_more)
    stub = await liferaft.aconnect(House, "memory:a,memory:b", network=inside, timeout=2)

    assert connection_of(stub).is_bound
    assert "b" == await stub.name()
    await liferaft.aclose(stub)
    for host in hosts:
        await host.astop()
