"""Streams end to end over memory links and leaky ones, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Protocol

import pytest

from liferaft.errors import (
    ConnectionLost,
    DeadlineExceeded,
    InvalidArgument,
    OutcomeUnknown,
    Overloaded,
    ProtocolError,
    RemoteError,
    StubClosed,
    Unreachable,
)
from liferaft.link.address import parse_address
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.callee_sessions import Memory
from liferaft.rpc.deadline import deadline
from liferaft.rpc.stream import WINDOW
from tests.rpc.objects import connected, hosted

pytestmark = pytest.mark.looptime(noop_cycles=0)


class Feed(Protocol):
    """Streams each way and both ways."""

    def count(self, to: int) -> AsyncIterator[int]:
        """Count from 0, and break at 100."""
        ...

    async def prepared(self, to: int) -> AsyncIterator[int]:
        """Return a stream after some work."""
        ...

    async def total(self, numbers: AsyncIterator[int], *, most: int = 1_000_000) -> int:
        """Add up to that many numbers."""
        ...

    def double(self, numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        """Answer each number with its double."""
        ...

    def blobs(self, size_bytes: int) -> AsyncIterator[bytes]:
        """Give blobs without end."""
        ...

    async def keep_waiting(self, blobs: AsyncIterator[bytes]) -> None:
        """Take nothing, without end."""


class FeedObject:
    """The implementation; remembers what became of its generators."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = 0

    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            if number == 100:
                raise ValueError("a hundred")
            yield number

    async def prepared(self, to: int) -> AsyncIterator[int]:
        await asyncio.sleep(0.1)
        return self.count(to)

    async def total(self, numbers: AsyncIterator[int], *, most: int = 1_000_000) -> int:
        found = 0
        async for number in numbers:
            found += number
            most -= 1
            if not most:
                break
        return found

    async def double(self, numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield 2 * number

    async def blobs(self, size_bytes: int) -> AsyncIterator[bytes]:
        try:
            while True:
                self.given += 1
                yield bytes(size_bytes)
        finally:
            self.closed += 1

    async def keep_waiting(self, blobs: AsyncIterator[bytes]) -> None:
        await asyncio.Event().wait()


class Given:
    """An argument that counts what was taken, and tells whether it was closed."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.taken = 0
        self.is_closed = False

    async def stream(self) -> AsyncIterator[Any]:
        try:
            for item in self.items:
                self.taken += 1
                yield item
        finally:
            self.is_closed = True


async def test_a_result_comes_item_by_item() -> None:
    network = MemoryNetwork()
    async with hosted(network, FeedObject(), Feed), connected(network, Feed) as feed:
        assert [0, 1, 2, 3] == [number async for number in feed.count(4)]
        assert [0, 1] == [number async for number in await feed.prepared(2)]


async def test_an_argument_goes_item_by_item() -> None:
    network, given = MemoryNetwork(), Given(list(range(1000)))
    async with hosted(network, FeedObject(), Feed), connected(network, Feed) as feed:
        assert 499_500 == await feed.total(given.stream())
        assert given.is_closed


async def test_both_ways_at_once() -> None:
    """Each answer comes before the next question is asked: nothing waits for a whole stream."""
    network = MemoryNetwork()
    answers: list[int] = []
    asked = asyncio.Event()

    async def questions() -> AsyncIterator[int]:
        for number in range(5):
            yield number
            await asked.wait()
            asked.clear()

    async with hosted(network, FeedObject(), Feed), connected(network, Feed) as feed:
        async for answer in feed.double(questions()):
            answers.append(answer)
            asked.set()

    assert [0, 2, 4, 6, 8] == answers


async def test_what_the_method_raises_comes_after_its_items() -> None:
    network = MemoryNetwork()
    found: list[int] = []
    async with hosted(network, FeedObject(), Feed), connected(network, Feed) as feed:
        stream = feed.count(200)
        with pytest.raises(RemoteError, match="a hundred"):
            await _read_all(stream, found)

    assert list(range(100)) == found


async def test_a_slow_reader_holds_the_writer() -> None:
    network, object_ = MemoryNetwork(), FeedObject()
    async with hosted(network, object_, Feed), connected(network, Feed) as feed:
        stream = feed.blobs(10_000)
        await anext(stream)
        await asyncio.sleep(5)
        given_at_first = object_.given
        await asyncio.sleep(60)
        given_later = object_.given
        for _ in range(given_at_first):
            await anext(stream)
        await asyncio.sleep(5)
        await stream.aclose()

        assert WINDOW // 10_000 <= given_at_first <= WINDOW // 10_000 + 3
        assert given_at_first == given_later
        assert object_.given > given_at_first


@pytest.mark.parametrize("way", ["closed", "dropped"])
async def test_a_reader_that_leaves_ends_the_writer(way: str) -> None:
    network, object_ = MemoryNetwork(), FeedObject()
    async with hosted(network, object_, Feed) as host, connected(network, Feed) as feed:
        stream = feed.blobs(10)
        await anext(stream)
        if way == "closed":
            await stream.aclose()
        del stream
        await asyncio.sleep(1)

        assert (1, 0) == (object_.closed, host.dispatcher._execution_count)


async def test_a_reader_that_was_cancelled_may_read_on_and_ends_the_writer_when_it_is_gone() -> (
    None
):
    network, more = MemoryNetwork(), asyncio.Event()

    async def questions() -> AsyncIterator[int]:
        yield 1
        await more.wait()
        yield 2
        await asyncio.Event().wait()

    async with hosted(network, FeedObject(), Feed) as host, connected(network, Feed) as feed:
        stream = feed.double(questions())
        first = await anext(stream)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 1)
        more.set()
        second = await anext(stream)
        del stream
        await asyncio.sleep(1)

        assert (2, 4, 0) == (first, second, host.dispatcher._execution_count)


async def _read_all(stream: AsyncIterator[Any], found: list[Any] | None = None) -> None:
    async for item in stream:
        if found is not None:
            found.append(item)
        await asyncio.sleep(0)


async def test_a_method_that_has_enough_ends_its_caller_s_iterator() -> None:
    network, given = MemoryNetwork(), Given([1] * 1_000_000)
    async with hosted(network, FeedObject(), Feed), connected(network, Feed) as feed:
        total = await feed.total(given.stream(), most=10)
        await asyncio.sleep(0.1)

        assert (10, True) == (total, given.is_closed)
        assert given.taken < 1_000_000


async def test_an_argument_that_breaks_raises_its_own_error_and_ends_the_call() -> None:
    network = MemoryNetwork()

    async def broken() -> AsyncIterator[int]:
        yield 1
        raise KeyError("milk")

    async with hosted(network, FeedObject(), Feed) as host, connected(network, Feed) as feed:
        with pytest.raises(KeyError, match="milk"):
            await feed.total(broken())
        with pytest.raises(KeyError, match="milk"):
            await _read_all(feed.double(broken()))
        await asyncio.sleep(1)

        assert 0 == host.dispatcher._execution_count


async def test_an_item_of_another_type_names_the_parameter() -> None:
    network = MemoryNetwork()
    given = Given([1, "two"])
    async with hosted(network, FeedObject(), Feed), connected(network, Feed) as feed:
        with pytest.raises(InvalidArgument, match=r"total\(numbers\): an item: Expected `int`"):
            await feed.total(given.stream())


async def test_an_item_that_cannot_travel_ends_the_stream_with_an_error() -> None:
    network = MemoryNetwork()
    async with hosted(network, FeedObject(), Feed), connected(network, Feed) as feed:
        with pytest.raises(TypeError, match="object"):
            await feed.total(Given([object()]).stream())


async def test_a_deadline_bounds_the_whole_stream_and_the_default_does_not() -> None:
    network = MemoryNetwork()

    async def slow() -> AsyncIterator[int]:
        for number in range(10):
            await asyncio.sleep(1.0)
            yield number

    async with hosted(network, FeedObject(), Feed), connected(network, Feed, timeout=2.0) as feed:
        without = [number async for number in feed.double(slow())]
        with pytest.raises(DeadlineExceeded), deadline(2.5):
            await _read_all(feed.double(slow()))

    assert 10 == len(without)


@pytest.mark.parametrize("seed", range(5))
async def test_streams_are_whole_through_loss_repeats_and_lost_links(seed: int) -> None:
    leak = Leak(loss=0.3, duplicate=0.2, reorder=0.3, delay_max=0.05)
    network = LeakyNetwork(MemoryNetwork(), seed=seed, outgoing=leak, incoming=leak)
    chance = Random(seed)
    found = []
    async with hosted(network, FeedObject(), Feed), connected(network, Feed, timeout=60) as feed:
        async for number in feed.double(Given(list(range(300))).stream()):
            found.append(number)
            if number % 200 == 100:
                chance.choice(network.links).abort()
            await asyncio.sleep(0.01)

    assert [2 * number for number in range(300)] == found


async def test_a_host_that_restarts_ends_its_streams() -> None:
    network = MemoryNetwork()
    async with hosted(network, FeedObject(), Feed) as host, connected(network, Feed) as feed:
        stream = feed.blobs(10)
        await anext(stream)
        await host.stop()
        await host.start()
        with pytest.raises(OutcomeUnknown):
            await _read_all(stream)


async def test_a_host_that_is_gone_is_given_up_after_the_time_of_a_call() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    async with hosted(network, FeedObject(), Feed), connected(leaky, Feed, timeout=8.0) as feed:
        stream = feed.blobs(10)
        await anext(stream)
        leaky.cut(parse_address("memory:host"))
        began = asyncio.get_running_loop().time()
        with pytest.raises(ConnectionLost):
            await _read_all(stream)
        with pytest.raises(Unreachable):
            await feed.total(Given([1]).stream())

        assert 7.0 < asyncio.get_running_loop().time() - began < 25.0


async def test_a_caller_that_is_gone_is_given_up() -> None:
    network, object_ = MemoryNetwork(), FeedObject()
    leaky = LeakyNetwork(network, seed=1)
    async with hosted(network, object_, Feed) as host, connected(leaky, Feed, timeout=1) as feed:
        stream = feed.blobs(10)
        await anext(stream)
        leaky.cut(parse_address("memory:host"))
        await asyncio.sleep(90)

        assert (1, 0) == (object_.closed, host.dispatcher._execution_count)


async def test_a_stub_that_closes_ends_its_streams() -> None:
    network, object_ = MemoryNetwork(), FeedObject()
    async with hosted(network, object_, Feed):
        async with connected(network, Feed) as feed:
            stream = feed.blobs(10)
            await anext(stream)
        with pytest.raises(StubClosed):
            await _read_all(stream)
        with pytest.raises(StubClosed):
            feed.blobs(10)


async def test_too_many_streams_are_turned_away() -> None:
    network, memory = MemoryNetwork(), Memory(streams_max=2)
    async with (
        hosted(network, FeedObject(), Feed, memory=memory),
        connected(network, Feed) as feed,
    ):
        streams = [feed.blobs(10) for _ in range(2)]
        for stream in streams:
            await anext(stream)
        with pytest.raises(Overloaded):
            await _read_all(feed.count(3))
        await streams[0].aclose()
        await asyncio.sleep(1)

        assert [0, 1, 2] == [number async for number in feed.count(3)]


async def test_many_streams_that_nobody_reads_hold_less_each() -> None:
    """A stranger may open as many as there may be, and send what no method takes."""
    network = MemoryNetwork()
    memory = Memory(streams_max=64, stream_bytes_max=4 * WINDOW)
    blobs = [bytes(1000)] * 2000
    given = [Given(blobs) for _ in range(64)]
    async with (
        hosted(network, FeedObject(), Feed, memory=memory),
        connected(network, Feed) as feed,
    ):
        calls = [asyncio.ensure_future(feed.keep_waiting(each.stream())) for each in given]
        await asyncio.sleep(30)
        held_bytes = [each.taken * 1000 for each in given]
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    assert 0.9 * WINDOW < held_bytes[0] < 1.1 * WINDOW
    assert sum(held_bytes) < 64 * WINDOW // 4


async def test_a_result_of_another_type_is_an_error_and_ends_the_stream() -> None:
    class Wrong(FeedObject):
        async def count(self, to: int) -> AsyncIterator[Any]:
            yield 1
            yield "two"

    network = MemoryNetwork()
    async with hosted(network, Wrong(), Feed), connected(network, Feed) as feed:
        with pytest.raises(ProtocolError, match=r"Feed\.count -> return: an item does not fit"):
            await _read_all(feed.count(3))
