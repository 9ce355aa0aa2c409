"""A stream of strings where numbers are wanted."""

from collections.abc import AsyncIterator
from typing import Protocol

import liferaft


class Feed(Protocol):
    def words(self) -> AsyncIterator[str]: ...
    async def total(self, numbers: AsyncIterator[int]) -> int: ...


async def use(address: str) -> int:
    feed = await liferaft.aconnect(Feed, address)
    return await feed.total(feed.words())  # error: "AsyncIterator[str]"
