"""Large calls and results over links that are slow, in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import pytest

import liferaft
from liferaft.errors import DeadlineExceeded
from liferaft.link.base import BYTES_PER_SECOND_MIN, Network
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.server import Limits

pytestmark = pytest.mark.looptime(noop_cycles=0)

SIZE = 8_000_000


ITEMS = 3
ITEM_SIZE = 4_000_000


class Store(Protocol):
    async def put(self, data: bytes) -> int: ...
    async def get(self, size: int) -> bytes: ...
    async def put_all(self, items: AsyncIterator[bytes]) -> int: ...
    def get_all(self, count: int, size: int) -> AsyncIterator[bytes]: ...


class StoreObject:
    def __init__(self) -> None:
        self.count_of_calls = 0

    async def put(self, data: bytes) -> int:
        self.count_of_calls += 1
        return len(data)

    async def get(self, size: int) -> bytes:
        self.count_of_calls += 1
        return bytes(size)

    async def put_all(self, items: AsyncIterator[bytes]) -> int:
        return sum([len(item) async for item in items])

    async def get_all(self, count: int, size: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(size)


@contextlib.asynccontextmanager
async def store_at(
    inside: Network, network: Network, limits: Limits | None = None
) -> AsyncIterator[tuple[Store, StoreObject]]:
    store = StoreObject()
    async with await liferaft.aserve(store, Store, "memory:a", network=inside, limits=limits):
        stub = await liferaft.aconnect(Store, "memory:a", network=network, timeout=600)
        try:
            yield stub, store
        finally:
            await liferaft.aclose(stub)


@pytest.mark.parametrize("rate", [4_000_000, 500_000, 140_000])
async def test_what_is_large_crosses_a_slow_link_once_and_as_fast_as_that_is(rate: int) -> None:
    leak = Leak(bytes_per_second=rate)
    inside = MemoryNetwork()
    network = LeakyNetwork(inside, seed=1, outgoing=leak, incoming=leak)
    loop = asyncio.get_running_loop()
    async with store_at(inside, network) as (stub, store):
        (link,) = network.links
        began_at = loop.time()
        assert SIZE == await stub.put(bytes(SIZE))
        put_at = loop.time()
        assert SIZE == len(await stub.get(SIZE))

        assert SIZE / rate <= put_at - began_at < SIZE / rate + 1
        assert SIZE / rate <= loop.time() - put_at < SIZE / rate + 1
        assert (link,) == network.links, "it was not taken for silent"
        assert 2 == store.count_of_calls


async def large_items() -> AsyncIterator[bytes]:
    for _ in range(ITEMS):
        yield bytes(ITEM_SIZE)


@pytest.mark.parametrize("rate", [4_000_000, 1_000_000, 300_000])
async def test_large_items_of_streams_cross_a_slow_link(rate: int) -> None:
    leak = Leak(bytes_per_second=rate)
    inside = MemoryNetwork()
    network = LeakyNetwork(inside, seed=1, outgoing=leak, incoming=leak)
    loop = asyncio.get_running_loop()
    least = ITEMS * ITEM_SIZE / rate
    async with store_at(inside, network) as (stub, _):
        (link,) = network.links
        began_at = loop.time()
        assert ITEMS * ITEM_SIZE == await stub.put_all(large_items())
        put_at = loop.time()
        got = [len(item) async for item in stub.get_all(ITEMS, ITEM_SIZE)]

        assert [ITEM_SIZE] * ITEMS == got
        assert least <= put_at - began_at < 4 * least
        assert least <= loop.time() - put_at < 4 * least
        assert (link,) == network.links, "it was not taken for silent"


async def test_a_host_does_not_end_a_link_on_which_a_large_call_is_coming() -> None:
    leak = Leak(bytes_per_second=SIZE / 20)
    inside = MemoryNetwork()
    slow = LeakyNetwork(inside, seed=1, incoming=leak)
    async with store_at(slow, inside, Limits(silence_max=6.0)) as (stub, _):
        (link,) = slow.links
        assert SIZE == await stub.put(bytes(SIZE))
        assert (link,) == slow.links


async def test_a_host_that_is_gone_is_found_once_a_large_call_has_left() -> None:
    inside = MemoryNetwork()
    network = LeakyNetwork(inside, seed=1, outgoing=Leak(bytes_per_second=1_000_000))
    async with store_at(inside, network) as (stub, _):
        (link,) = network.links
        assert SIZE == await stub.put(bytes(SIZE))
        network.cut_all()
        with pytest.raises(DeadlineExceeded), liferaft.deadline(5):
            await stub.get(1)

        assert link.is_closed


async def test_a_host_that_is_gone_is_found_though_a_large_call_was_under_way() -> None:
    inside = MemoryNetwork()
    network = LeakyNetwork(inside, seed=1)
    async with store_at(inside, network) as (stub, _):
        (link,) = network.links
        network.cut_all()
        with pytest.raises(DeadlineExceeded), liferaft.deadline(SIZE / BYTES_PER_SECOND_MIN + 10):
            await stub.put(bytes(SIZE))

        assert link.is_closed
