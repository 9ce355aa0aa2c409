"""Streams of blocking methods over real TCP: threads, early ends, and a bounded memory."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Protocol

import pytest

import liferaft

ROOT = Path(__file__).parents[2]
GROWTH_MAX_BYTES = 64 * 1024 * 1024


class Feed(Protocol):
    """Streams of a class that blocks; one method is awaited."""

    def count(self, to: int) -> Iterator[int]: ...
    def total(self, numbers: Iterator[int], most: int = 1_000_000) -> int: ...
    def double(self, numbers: Iterator[int]) -> Iterator[int]: ...
    async def sum_up(self, numbers: AsyncIterator[int]) -> int: ...
    def upwards(self) -> AsyncIterator[int]: ...


class FeedObject:
    """The implementation; sets an event when a generator was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def count(self, to: int) -> Iterator[int]:
        try:
            yield from range(to)
        finally:
            self.closed.set()

    def total(self, numbers: Iterator[int], most: int = 1_000_000) -> int:
        return sum(number for number, _ in zip(numbers, range(most), strict=False))

    def double(self, numbers: Iterator[int]) -> Iterator[int]:
        for number in numbers:
            yield 2 * number

    async def sum_up(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    async def upwards(self) -> AsyncIterator[int]:
        number = 0
        while True:
            yield number
            number += 1


@pytest.fixture
def feed_object() -> FeedObject:
    return FeedObject()


@pytest.fixture(params=[0, 2], ids=["on the loop", "on threads"])
def feed(feed_object: FeedObject, request: pytest.FixtureRequest) -> Iterator[Feed]:
    threads: int = request.param
    with liferaft.serve(feed_object, Feed, "127.0.0.1:0", threads=threads) as host:
        stub = liferaft.connect(Feed, host.address)
        try:
            yield stub
        finally:
            liferaft.close(stub)


def test_a_result_is_iterated(feed: Feed) -> None:
    assert list(range(1000)) == list(feed.count(1000))


def test_a_reader_that_leaves_closes_the_generator(feed: Feed, feed_object: FeedObject) -> None:
    for number in feed.count(10**9):
        if number == 10:
            break

    assert feed_object.closed.wait(30)


@pytest.mark.parametrize("feed", [2], indirect=True, ids=["on threads"])
def test_arguments_are_iterated_in_the_threads_of_both(feed: Feed) -> None:
    assert 499_500 == feed.total(iter(range(1000)))
    assert 45 == feed.total(iter(range(10**9)), most=10)
    assert [0, 2, 4] == list(feed.double(iter(range(3))))


def test_the_awaited_methods_of_a_blocking_class_stream_too(feed: Feed) -> None:
    async def numbers() -> AsyncIterator[int]:
        for number in range(100):
            yield number

    async def scene() -> tuple[int, list[int]]:
        upwards = []
        async for number in feed.upwards():
            upwards.append(number)
            if number == 5:
                break
        return await feed.sum_up(numbers()), upwards

    assert (4950, [0, 1, 2, 3, 4, 5]) == asyncio.run(scene())


def test_an_argument_s_thread_ends_with_its_stream(feed_object: FeedObject) -> None:
    before = set(threading.enumerate())
    with liferaft.serve(feed_object, Feed, "127.0.0.1:0") as host:
        feed = liferaft.connect(Feed, host.address)
        feed.total(iter(range(10)))
        liferaft.close(feed)
    for thread in set(threading.enumerate()) - before:
        thread.join(30)

    assert before >= set(threading.enumerate())


@pytest.mark.slow
@pytest.mark.processes
def test_two_gigabytes_pass_a_slow_reader_in_little_memory() -> None:
    """Host and caller print by how many bytes each has grown."""
    script = Path(__file__).parent / "two_gigabytes.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=250
    )
    streamed, *growths = map(int, done.stdout.split())

    assert 2 * 1024**3 == streamed
    assert 2 == len(growths)
    assert max(growths) < GROWTH_MAX_BYTES
