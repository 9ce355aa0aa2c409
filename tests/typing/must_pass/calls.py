"""Generic interfaces, ABCs, classes, defaults, overloads, references and hosting: no ignore."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, overload

import liferaft
from liferaft.interceptors import Invocation, Proceed, rate_limit, retry

T = TypeVar("T")


@dataclass
class Item:
    id: int


class Store(Protocol[T]):
    async def put(self, key: str, value: T) -> None: ...
    async def get(self, key: str) -> T: ...


class Base(ABC):
    @abstractmethod
    def size(self) -> int: ...


class Derived(Base):
    def size(self) -> int:
        return 1

    def name(self, *, upper: bool = False) -> str:
        return "x"


class Table(Protocol):
    @overload
    def find(self, key: int) -> Item: ...
    @overload
    def find(self, key: str) -> list[Item]: ...


class Listener(Protocol):
    async def heard(self, text: str) -> None: ...


class Radio(Protocol):
    async def listen(self, listener: Listener) -> None: ...
    async def each(self, function: Callable[[int], Awaitable[int]]) -> int: ...
    def waves(self) -> AsyncIterator[float]: ...


class Ear:
    async def heard(self, text: str) -> None: ...


class Shelf(Generic[T]):
    def first(self) -> T:
        raise NotImplementedError


async def log(call: Invocation, proceed: Proceed) -> object:
    return await proceed(call)


async def double(number: int) -> int:
    return 2 * number


async def use(address: str) -> int:
    store = await liferaft.aconnect(Store[Item], address, interceptors=[retry(3), log])
    await store.put("a", Item(1))
    item: Item = await store.get("a")
    radio = await liferaft.aconnect(Radio, address, balance="round-robin")
    await radio.listen(Ear())
    total = await radio.each(double)
    async for wave in radio.waves():
        total += int(wave)
    await liferaft.aclose(radio)
    return item.id + total


def block(address: str) -> int:
    derived = liferaft.connect(Derived, address, tls=liferaft.Tls(), token="x" * 20)
    table = liferaft.connect(Table, address)
    shelf = liferaft.connect(Shelf[int], address)
    one: Item = table.find(1)
    return derived.size() + len(derived.name(upper=True)) + one.id + shelf.first()


def host(address: str) -> None:
    with liferaft.serve(Derived(), Base, address, interceptors=[rate_limit(10)]) as stub:
        stub.host(Derived(), Derived, name="other")
    described: liferaft.Description = liferaft.describe(address)
    source: str = liferaft.python_source(described)
    assert source
