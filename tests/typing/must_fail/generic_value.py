"""A value of another type than the generic interface was given."""

from typing import Protocol, TypeVar

import liferaft

T = TypeVar("T")


class Store(Protocol[T]):
    async def put(self, key: str, value: T) -> None: ...
    async def get(self, key: str) -> T: ...


async def use(address: str) -> None:
    store = await liferaft.aconnect(Store[int], address)
    await store.put("a", "text")  # error: Argument 2 to "put"
