"""A caller without the interface asks the host for it, over any network."""

from typing import Any, Protocol

import pytest

import liferaft
from liferaft.errors import InterfaceMismatch, NoSuchObject, ProtocolError
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.directory import read_description
from tests.rpc.objects import Counter, CounterObject


async def test_a_stub_made_from_a_description_calls_as_one_made_from_the_class() -> None:
    network = MemoryNetwork()
    async with await liferaft.aserve(CounterObject(), Counter, "memory:host", network=network):
        description = await liferaft.adescribe("memory:host", network=network)
        interface = liferaft.interface_class(description)
        stub: Any = await liferaft.aconnect(interface, "memory:host", network=network)

        assert [1, 6] == [await stub.increment(), await stub.increment(by=5)]
        with pytest.raises(Exception, match="no milk") as caught:
            await stub.find("milk")
        assert ("NotFound", "milk", 1) == (
            type(caught.value).__name__,
            caught.value.key,  # type: ignore[attr-defined]
            caught.value.tries,  # type: ignore[attr-defined]
        )
        await liferaft.aclose(stub)


@pytest.mark.looptime
async def test_a_description_comes_whole_through_a_link_that_loses_and_repeats() -> None:
    inner = MemoryNetwork()
    leak = Leak(loss=0.3, duplicate=0.3, delay_max=0.05)
    network = LeakyNetwork(inner, outgoing=leak, incoming=leak, seed=3)
    async with await liferaft.aserve(CounterObject(), Counter, "memory:host", network=inner):
        description = await liferaft.adescribe("memory:host", network=network, timeout=60)

    assert "Counter" == description.object
    assert 6 == len(description.methods)


async def test_each_object_of_a_host_is_described_by_its_name() -> None:
    network = MemoryNetwork()
    async with await liferaft.aserve(
        CounterObject(), Counter, "memory:host", network=network
    ) as host:
        host.host(CounterObject(), Counter, name="second")

        second = await liferaft.adescribe("memory:host", name="second", network=network)
        assert "second" == second.object
        with pytest.raises(NoSuchObject, match="it has Counter, second"):
            await liferaft.adescribe("memory:host", name="third", network=network)
        with pytest.raises(NoSuchObject, match="say which one"):
            await liferaft.adescribe("memory:host", network=network)


async def test_a_stub_made_from_an_old_description_is_told_what_differs() -> None:
    network = MemoryNetwork()
    async with await liferaft.aserve(CounterObject(), Counter, "memory:host", network=network):
        description = await liferaft.adescribe("memory:host", network=network)
    interface = liferaft.interface_class(description)

    class Newer(Protocol):
        async def increment(self, by: str) -> int: ...
        async def value(self) -> int: ...
        async def hang(self) -> None: ...
        async def find(self, key: str) -> None: ...
        async def fail(self, text: str) -> None: ...
        async def poke(self) -> None: ...

    async with await liferaft.aserve(CounterObject(), Newer, "memory:host", network=network):
        with pytest.raises(InterfaceMismatch, match="increment differs"):
            await liferaft.aconnect(interface, "memory:host", network=network)


def test_a_description_that_cannot_be_read_is_the_hosts_fault() -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        read_description({"object": 3})


def test_a_blocking_caller_describes_too() -> None:
    with liferaft.serve(CounterObject(), Counter, "127.0.0.1:0") as host:
        assert "Counter" == liferaft.describe(host.address).interface
