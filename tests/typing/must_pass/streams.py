"""Streams keep the types of their items."""

from collections.abc import AsyncIterator, Iterator
from typing import Protocol, assert_type

import liferaft


class Feed(Protocol):
    def count(self, to: int) -> AsyncIterator[int]: ...
    async def total(self, numbers: AsyncIterator[int]) -> int: ...


class BlockingFeed(Protocol):
    def count(self, to: int) -> Iterator[int]: ...
    def total(self, numbers: Iterator[int]) -> int: ...


async def awaiting(address: str) -> int:
    feed = await liferaft.aconnect(Feed, address)
    async for number in feed.count(3):
        assert_type(number, int)
    return await feed.total(feed.count(3))


def blocking(address: str) -> int:
    feed = liferaft.connect(BlockingFeed, address)
    for number in feed.count(3):
        assert_type(number, int)
    return feed.total(iter([1, 2]))
