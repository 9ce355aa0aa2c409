"""A host has streams of its callers' objects: over good links and bad ones, whoever ends them."""

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Protocol, Self

import pytest

import liferaft
from liferaft.errors import (
    DeadlineExceeded,
    OutcomeUnknown,
    RemoteError,
    StubClosed,
    Unreachable,
)
from liferaft.link.base import Network
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.callee_references import HostReferences
from liferaft.rpc.callee_streams import SILENCE_MAX
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.host import CalleeStub
from liferaft.rpc.interface import Interface
from liferaft.rpc.wire import Cancel, Chunk
from tests.rpc.foul_weather import QUIET, TOLD, foul_weather, leaky
from tests.rpc.objects import connection_of

pytestmark = pytest.mark.looptime(noop_cycles=0)

LOST = ("ConnectionLost", "StubClosed", "NoSuchObject", "OutcomeUnknown")
"""What a host may have been told of its caller, when it tells the caller so."""


class Feed(Protocol):
    def count(self, to: int, pause: float) -> AsyncIterator[int]: ...
    async def total(self, numbers: AsyncIterator[int]) -> int: ...
    def double(self, numbers: AsyncIterator[int]) -> AsyncIterator[int]: ...
    def broken(self, after: int) -> AsyncIterator[int]: ...


class Reader(Protocol):
    async def read(self, feed: Feed, to: int, pause: float) -> int: ...
    async def first(self, feed: Feed, count: int) -> list[int]: ...
    async def push(self, feed: Feed, to: int, pause: float) -> int: ...
    async def both(self, feed: Feed, to: int) -> list[int]: ...
    async def broken(self, feed: Feed, after: int) -> int: ...


class Open:
    """Counts the iterators that are under way on either side."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()

    @contextlib.contextmanager
    def __call__(self, what: str) -> Any:
        self.count[what] += 1
        try:
            yield
        finally:
            self.count[what] -= 1

    async def numbers(self, what: str, to: int, pause: float) -> AsyncIterator[int]:
        with self(what):
            for number in range(to):
                if pause:
                    await asyncio.sleep(pause)
                yield number


class FeedObject:
    def __init__(self, is_open: Open) -> None:
        self._open = is_open

    def count(self, to: int, pause: float) -> AsyncIterator[int]:
        return self._open.numbers("count", to, pause)

    async def total(self, numbers: AsyncIterator[int]) -> int:
        with self._open("total"):
            return sum([number async for number in numbers])

    async def double(self, numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        with self._open("double"):
            async for number in numbers:
                yield 2 * number

    async def broken(self, after: int) -> AsyncIterator[int]:
        async for number in self._open.numbers("broken", after, 0.0):
            yield number
        raise KeyError("broken")


class ReaderObject:
    def __init__(self, is_open: Open) -> None:
        self._open = is_open

    async def read(self, feed: Feed, to: int, pause: float) -> int:
        with self._open("read"):
            expected = 0
            async for number in feed.count(to, pause):
                assert number == expected, "an item is lost, or comes twice"
                expected += 1
            return expected

    async def first(self, feed: Feed, count: int) -> list[int]:
        found = []
        numbers = feed.count(10**6, 0.0)
        async for number in numbers:
            found.append(number)
            if len(found) == count:
                break
        return found

    async def push(self, feed: Feed, to: int, pause: float) -> int:
        return await feed.total(self._open.numbers("push", to, pause))

    async def both(self, feed: Feed, to: int) -> list[int]:
        numbers = self._open.numbers("both", to, 0.0)
        return [number async for number in feed.double(numbers)]

    async def broken(self, feed: Feed, after: int) -> int:
        count = 0
        with contextlib.suppress(RemoteError):
            async for _ in feed.broken(after):
                count += 1
            return -1
        return count


class Scene:
    """A reader at a host, a caller of it, and the network between them."""

    def __init__(self, network: Network | None = None, *, timeout: float = 60.0) -> None:
        self.inside = MemoryNetwork()
        self.outside = network or self.inside
        self.is_open = Open()
        self.feed = FeedObject(self.is_open)
        self.host: CalleeStub
        self.reader: Reader
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        implementation = ReaderObject(self.is_open)
        self.host = await liferaft.aserve(
            implementation, Reader, "memory:reader", network=self.inside
        )
        await self.connect()
        return self

    async def connect(self) -> None:
        self.reader = await liferaft.aconnect(
            Reader, "memory:reader", network=self.outside, timeout=self._timeout
        )

    async def __aexit__(self, *_: object) -> None:
        await liferaft.aclose(self.reader)
        if self.host.is_running:
            await self.host.astop()

    @property
    def open_calls(self) -> int:
        """How many callbacks are being executed at the caller."""
        callbacks = connection_of(self.reader)._callbacks
        return 0 if callbacks is None else callbacks._dispatcher._execution_count


async def test_a_host_reads_writes_and_does_both() -> None:
    async with Scene() as here:
        assert 1000 == await here.reader.read(here.feed, 1000, 0.0)
        assert 499500 == await here.reader.push(here.feed, 1000, 0.0)
        assert [0, 2, 4, 6] == await here.reader.both(here.feed, 4)
        assert 3 == await here.reader.broken(here.feed, 3)
        assert 0 == here.open_calls
    assert not +here.is_open.count


async def test_who_has_read_enough_ends_the_stream_at_the_caller() -> None:
    async with Scene() as here:
        assert [0, 1, 2] == await here.reader.first(here.feed, 3)
        await asyncio.sleep(0.1)
        gc.collect()
        await asyncio.sleep(0.1)

        assert 0 == here.open_calls
        assert not +here.is_open.count


async def test_a_call_that_is_given_up_ends_the_stream_behind_it() -> None:
    async with Scene() as here:
        with pytest.raises(DeadlineExceeded), liferaft.deadline(5.0):
            await here.reader.read(here.feed, 10, 1.0)
        await asyncio.sleep(1.0)

        assert 0 == here.open_calls
        assert not +here.is_open.count


async def test_a_stream_may_be_quiet_for_as_long_as_both_are_there() -> None:
    async with Scene(timeout=1e6) as here:
        assert 2 == await here.reader.read(here.feed, 2, 3 * SILENCE_MAX)
        assert 1 == await here.reader.push(here.feed, 2, 3 * SILENCE_MAX)


async def test_a_host_that_restarts_ends_the_streams_of_the_one_before() -> None:
    async with Scene() as here:
        reading = asyncio.ensure_future(here.reader.read(here.feed, 10**6, 1.0))
        await asyncio.sleep(5.0)
        assert 1 == here.is_open.count["count"]
        await here.host.astop()
        await here.host.astart()
        with pytest.raises(OutcomeUnknown):
            await reading

        assert 5 == await here.reader.read(here.feed, 5, 0.0)
        assert not +here.is_open.count


async def test_a_caller_that_leaves_ends_what_the_host_reads_of_it() -> None:
    async with Scene() as here:
        reading = asyncio.ensure_future(here.reader.read(here.feed, 10**6, 1.0))
        await asyncio.sleep(5.0)
        await liferaft.aclose(here.reader)
        with pytest.raises(StubClosed):
            await reading
        await asyncio.sleep(1.0)

        assert not +here.is_open.count


async def test_a_host_that_has_left_its_caller_wants_no_more_of_its_streams() -> None:
    references = HostReferences(Interface.of(Reader), heard_at=lambda _: 0.0)
    sent: list[Any] = []
    references.attach(b"s" * 16, sent.append)
    references.answered(b"s" * 16, encode(Chunk(-7, 0, 0, [], is_last=True)))

    assert [Cancel(7)] == [decode_frame(frame) for frame in sent]


class FoulWeather(Scene):
    """Callers at work while links lose frames, are cut, and the host restarts."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        super().__init__(timeout=self.random.choice((5.0, 20.0)))
        self.leaky = leaky(self.inside, seed, self.random)
        self.done = 0

    async def connect(self) -> None:
        self.outside = self.leaky
        while True:
            with contextlib.suppress(Unreachable, DeadlineExceeded):
                return await super().connect()

    async def run(self) -> None:
        async with foul_weather(self.leaky, self.host, self.random, pause=10.0):
            await asyncio.gather(*(self.read_at_random() for _ in range(3)))
        await asyncio.sleep(QUIET)
        gc.collect()  # errors hold their frames, and those their iterators
        await asyncio.sleep(QUIET)

    async def read_at_random(self) -> None:
        choose = self.random.choice
        for _ in range(15):
            await asyncio.sleep(choose((0.0, 0.1, 1.0)))
            to, pause = choose(((0, 0.0), (5, 0.0), (300, 0.0), (20, 0.5), (100, 0.001)))
            try:
                expected, found = await choose((self.reads, self.pushes, self.doubles, self.fails))(
                    to, pause
                )
                self.done += 1
            except TOLD:
                continue
            except RemoteError as error:
                if not any(name in str(error) for name in LOST):
                    raise
                continue
            assert expected == found

    async def reads(self, to: int, pause: float) -> tuple[object, object]:
        if self.random.random() < 0.3:
            return [0, 1, 2], await self.reader.first(self.feed, 3)
        return to, await self.reader.read(self.feed, to, pause)

    async def pushes(self, to: int, pause: float) -> tuple[object, object]:
        return sum(range(to)), await self.reader.push(self.feed, to, pause)

    async def doubles(self, to: int, _: float) -> tuple[object, object]:
        return [2 * number for number in range(to)], await self.reader.both(self.feed, to)

    async def fails(self, to: int, _: float) -> tuple[object, object]:
        return to, await self.reader.broken(self.feed, to)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.usefixtures("one_chance")
async def test_what_arrives_is_whole_and_nothing_stays_open(seed: int) -> None:
    async with FoulWeather(seed) as scene:
        await scene.run()

        assert scene.done > 0
        assert not +scene.is_open.count
