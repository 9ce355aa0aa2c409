"""Interceptors around calls, at either side, over good links and bad ones."""

import asyncio
import contextlib
import gc
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import pytest

import liferaft
from liferaft.errors import ConfigurationError, DeadlineExceeded, Overloaded, StubClosed
from liferaft.link.base import Network
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.interception import Interceptor, Invocation, Proceed

pytestmark = pytest.mark.looptime(noop_cycles=0)


class NotPositive(Exception):
    value: int


class Sums(Protocol):
    @liferaft.raises(NotPositive)
    async def add(self, one: int, other: int = 0) -> int: ...
    async def blocking(self, seconds: float) -> bool: ...
    async def hang(self) -> None: ...
    async def total(self, numbers: AsyncIterator[int]) -> int: ...
    def upwards(self, start: int) -> AsyncIterator[int]: ...
    def endless(self) -> AsyncIterator[int]: ...
    def blocking_upwards(self, start: int) -> AsyncIterator[int]: ...
    @liferaft.oneway
    async def tell(self, what: str) -> None: ...


class SumsObject:
    def __init__(self) -> None:
        self.added = 0
        self.told: list[str] = []
        self.closed = 0

    async def add(self, one: int, other: int = 0) -> int:
        self.added += 1
        if one < 0:
            error = NotPositive("below 0")
            error.value = one
            raise error
        return one + other

    def blocking(self, seconds: float) -> bool:
        return liferaft.cancelled()

    async def hang(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def total(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    async def upwards(self, start: int) -> AsyncIterator[int]:
        for number in range(start, start + 1000):
            yield number

    async def endless(self) -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                yield number
                await asyncio.sleep(0.1)
        finally:
            self.closed += 1

    def blocking_upwards(self, start: int) -> Iterator[int]:
        yield from range(start, start + 3)

    async def tell(self, what: str) -> None:
        self.told.append(what)


class Recorder:
    """Notes what goes by, and how it ends."""

    def __init__(self, name: str, events: list[str]) -> None:
        self._name = name
        self._events = events
        self.seen: list[Invocation] = []

    async def __call__(self, invocation: Invocation, proceed: Proceed) -> Any:
        self.seen.append(invocation)
        self._events.append(f"{self._name} before")
        try:
            return await proceed(invocation)
        except BaseException as error:
            self._events.append(f"{self._name} {type(error).__name__}")
            raise
        finally:
            self._events.append(f"{self._name} after")


@contextlib.asynccontextmanager
async def sums_at(
    network: Network, *, at_host: list[Interceptor], at_caller: list[Interceptor], **how: Any
) -> AsyncIterator[tuple[Sums, SumsObject]]:
    implementation = SumsObject()
    async with await liferaft.aserve(
        implementation, Sums, "memory:host", network=network, interceptors=at_host, **how
    ):
        stub = await liferaft.aconnect(
            Sums, "memory:host", network=network, interceptors=at_caller, timeout=60
        )
        try:
            yield stub, implementation
        finally:
            await liferaft.aclose(stub)


async def test_a_call_goes_through_all_of_them_in_order() -> None:
    events: list[str] = []
    outer, inner = Recorder("outer", events), Recorder("inner", events)
    host = Recorder("host", events)
    async with sums_at(MemoryNetwork(), at_host=[host], at_caller=[outer, inner]) as (stub, _):
        assert 5 == await stub.add(2, other=3)

    assert [
        "outer before", "inner before", "host before", "host after", "inner after", "outer after",
    ] == events  # fmt: skip
    (told,) = outer.seen
    assert ("Sums", "add", (2, 3), False) == (
        told.interface, told.method, told.arguments, told.is_idempotent,
    )  # fmt: skip
    assert ("Sums", (2, 3)) == (host.seen[0].object, host.seen[0].arguments)


async def test_metadata_travels_to_the_host_and_not_back() -> None:
    async def mark(invocation: Invocation, proceed: Proceed) -> Any:
        return await proceed(invocation.replace(metadata={"user": "somebody"}))

    host = Recorder("host", [])
    async with sums_at(MemoryNetwork(), at_host=[host], at_caller=[mark]) as (stub, _):
        await stub.add(1)
        await stub.total(stub.upwards(0))
        await stub.tell("x")
        await asyncio.sleep(0.1)

    assert {"somebody"} == {told.metadata["user"] for told in host.seen}
    assert ["add", "tell", "total", "upwards"] == sorted(told.method for told in host.seen)


async def test_one_may_change_answer_refuse_and_see_what_is_raised() -> None:
    async def meddle(invocation: Invocation, proceed: Proceed) -> Any:
        match invocation.arguments:
            case (0, _):
                return 42
            case (1, other):
                return await proceed(invocation.replace(arguments=(100, other)))
            case (2, _):
                raise Overloaded("no more", 0.25)
            case _:
                return await proceed(invocation)

    events: list[str] = []
    async with sums_at(
        MemoryNetwork(), at_host=[meddle], at_caller=[Recorder("caller", events)]
    ) as (stub, sums):
        assert [42, 107] == [await stub.add(0), await stub.add(1, 7)]
        with pytest.raises(Overloaded, match="no more") as refused:
            await stub.add(2)
        with pytest.raises(NotPositive) as raised:
            await stub.add(-3)
        assert (0.25, -3, 2) == (refused.value.retry_after, raised.value.value, sums.added)

    assert "caller NotPositive" in events


async def test_a_call_that_is_repeated_on_the_way_is_seen_once() -> None:
    leak = Leak(loss=0.3, duplicate=0.4, delay_max=0.05)
    network = LeakyNetwork(MemoryNetwork(), seed=11, outgoing=leak, incoming=leak)
    host, caller = Recorder("host", []), Recorder("caller", [])
    async with sums_at(network, at_host=[host], at_caller=[caller]) as (stub, sums):
        for number in range(40):
            assert number == await stub.add(number)

    assert 40 == sums.added == len(host.seen) == len(caller.seen)


async def test_what_is_refused_before_the_method_may_come_again() -> None:
    refusals = 0

    async def refuse_half(invocation: Invocation, proceed: Proceed) -> Any:
        nonlocal refusals
        refusals += 1
        if refusals % 2:
            raise Overloaded("not now")
        return await proceed(invocation)

    leak = Leak(duplicate=0.5, delay_max=0.02)
    network = LeakyNetwork(MemoryNetwork(), seed=4, outgoing=leak, incoming=leak)
    async with sums_at(network, at_host=[refuse_half], at_caller=[]) as (stub, sums):
        answers = [
            answer
            for _ in range(40)
            for answer in await asyncio.gather(stub.add(1), return_exceptions=True)
        ]

    served = answers.count(1)
    assert served == sums.added
    assert 0 < served < 40


async def test_a_stream_is_within_them_until_its_end() -> None:
    events: list[str] = []
    async with sums_at(
        MemoryNetwork(),
        at_host=[Recorder("host", events)],
        at_caller=[Recorder("caller", events)],
    ) as (stub, _):
        numbers = stub.upwards(0)
        first = await anext(numbers)
        before_the_end = list(events)
        rest = [number async for number in numbers]
        blocking = [number async for number in stub.blocking_upwards(7)]

    assert (0, list(range(1, 1000)), [7, 8, 9]) == (first, rest, blocking)
    assert "caller after" not in before_the_end
    assert ["caller before", "host before", "host after", "caller after"] * 2 == events


async def test_arguments_that_are_streams_go_through() -> None:
    async with sums_at(
        MemoryNetwork(), at_host=[Recorder("host", [])], at_caller=[Recorder("caller", [])]
    ) as (stub, _):
        assert 499500 == await stub.total(stub.upwards(0))


@pytest.mark.parametrize("how", ["close", "drop"])
async def test_a_stream_that_is_given_up_ends_at_the_host(how: str) -> None:
    events: list[str] = []
    async with sums_at(
        MemoryNetwork(),
        at_host=[Recorder("host", events)],
        at_caller=[Recorder("caller", events)],
    ) as (stub, sums):
        numbers = stub.endless()
        await anext(numbers)
        if how == "close":
            await numbers.aclose()  # type: ignore[attr-defined]
        else:
            del numbers
            gc.collect()
        await asyncio.sleep(1)
        assert 1 == sums.closed

    assert ["caller before", "host before"] == events[:2]
    assert {"caller CancelledError", "caller after", "host after"} <= set(events)


async def test_what_ends_a_stream_early_is_its_readers_to_hear_and_not_the_loops() -> None:
    async def passing(invocation: Invocation, proceed: Proceed) -> Any:
        return await proceed(invocation)

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with sums_at(MemoryNetwork(), at_host=[], at_caller=[passing]) as (stub, _):
        with liferaft.deadline(1):
            numbers = stub.endless()
        await asyncio.sleep(2)
        with pytest.raises(DeadlineExceeded):
            [number async for number in numbers]
        del numbers
        gc.collect()

    assert [] == told


async def test_a_stream_that_was_not_let_through_yet_ends_with_its_stub() -> None:
    async def never(_: Invocation, __: Proceed) -> Any:
        await asyncio.get_running_loop().create_future()

    async with sums_at(MemoryNetwork(), at_host=[], at_caller=[never]) as (stub, _):
        first = asyncio.ensure_future(anext(stub.upwards(0)))
        given_up = stub.upwards(0)
        await given_up.aclose()  # type: ignore[attr-defined]
        assert [] == [number async for number in given_up]
        await liferaft.aclose(stub)

        with pytest.raises(StubClosed):
            await first


async def test_a_stream_cannot_be_begun_twice() -> None:
    async def twice(invocation: Invocation, proceed: Proceed) -> Any:
        await proceed(invocation)
        return await proceed(invocation)

    async with sums_at(MemoryNetwork(), at_host=[], at_caller=[twice]) as (stub, _):
        assert [1, 2] == [await stub.add(1), await stub.add(2)]
        numbers = stub.upwards(0)
        assert 1000 == len([number async for number in numbers])
        with pytest.raises(ConfigurationError, match="cannot be made again"):
            await numbers.ended()  # type: ignore[attr-defined]


@pytest.mark.parametrize("side", ["caller", "host"])
async def test_an_argument_that_is_a_stream_cannot_be_read_twice(side: str) -> None:
    """Or the second attempt would have the sum of nothing."""

    async def twice(invocation: Invocation, proceed: Proceed) -> Any:
        result = await proceed(invocation)
        with pytest.raises(ConfigurationError, match="cannot be made again"):
            await proceed(invocation)
        return result

    sides: dict[str, list[Interceptor]] = {"at_host": [], "at_caller": [], f"at_{side}": [twice]}
    async with sums_at(MemoryNetwork(), **sides) as (stub, _):
        assert 499500 == await stub.total(stub.upwards(0))


async def test_a_host_sends_a_stream_once() -> None:
    async def twice(invocation: Invocation, proceed: Proceed) -> Any:
        await proceed(invocation)
        with pytest.raises(ConfigurationError, match="cannot be made again"):
            await proceed(invocation)

    async with sums_at(MemoryNetwork(), at_host=[twice], at_caller=[]) as (stub, _):
        assert list(range(1000)) == [number async for number in stub.upwards(0)]


async def test_cancelling_the_caller_cancels_the_method_within_them() -> None:
    events: list[str] = []
    async with sums_at(
        MemoryNetwork(), at_host=[Recorder("host", events)], at_caller=[Recorder("caller", [])]
    ) as (stub, _):
        call = asyncio.ensure_future(stub.hang())
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.sleep(0.1)

    assert ["host before", "host CancelledError", "host after"] == events


async def test_the_deadline_bounds_attempts_together() -> None:
    attempts = 0

    async def again_and_again(invocation: Invocation, proceed: Proceed) -> Any:
        nonlocal attempts
        while True:
            attempts += 1
            with contextlib.suppress(Overloaded):
                return await proceed(invocation)
            await asyncio.sleep(0.5)

    async def refuse(invocation: Invocation, proceed: Proceed) -> Any:
        raise Overloaded("never")

    async with sums_at(MemoryNetwork(), at_host=[refuse], at_caller=[again_and_again]) as (stub, _):
        with pytest.raises(liferaft.DeadlineExceeded), liferaft.deadline(2.2):
            await stub.add(1)

    assert 5 <= attempts <= 6


def test_blocking_methods_and_stubs_have_them_too() -> None:
    events: list[str] = []

    class Doubles(Protocol):
        def double(self, number: int) -> int: ...
        def count(self, to: int) -> Iterator[int]: ...

    class DoublesObject:
        def double(self, number: int) -> int:
            events.append("method")
            assert not liferaft.cancelled()
            return 2 * number

        def count(self, to: int) -> Iterator[int]:
            yield from range(to)

    at_host, at_caller = [Recorder("host", events)], [Recorder("caller", events)]
    with liferaft.serve(DoublesObject(), Doubles, "127.0.0.1:0", interceptors=at_host) as host:
        stub = liferaft.connect(Doubles, host.address, interceptors=at_caller)
        assert 14 == stub.double(7)
        assert [0, 1, 2] == list(stub.count(3))
        liferaft.close(stub)

    once = ["caller before", "host before", "host after", "caller after"]
    assert [*once[:2], "method", *once[2:], *once] == events
