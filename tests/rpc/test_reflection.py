"""Generic interfaces, inherited ones, and overloads."""

from collections.abc import AsyncIterator
from typing import Any, Generic, Protocol, TypeVar, overload

import pytest

import liferaft
from liferaft.errors import InterfaceError
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.interface import Interface

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class Store(Protocol[KeyT, ValueT]):
    async def put(self, key: KeyT, value: ValueT) -> None: ...
    async def get(self, key: KeyT) -> ValueT | None: ...
    def items(self) -> AsyncIterator[tuple[KeyT, ValueT]]: ...


class Named(Store[str, ValueT], Protocol[ValueT]):
    async def names(self) -> list[str]: ...


class Scores(Named[int], Protocol):
    async def best(self) -> int: ...


class Found(Protocol):
    @overload
    def find(self, key: int) -> str: ...
    @overload
    def find(self, key: str, *, deep: bool) -> list[str]: ...
    def other(self) -> None: ...


class FoundClass:
    @overload
    def find(self, key: int) -> str: ...
    @overload
    def find(self, key: str) -> list[str]: ...
    def find(self, key: Any) -> Any:
        return str(key)


class Shelf(Generic[ValueT]):
    def first(self) -> ValueT:
        raise NotImplementedError


def signatures(interface: Any) -> dict[str, str]:
    return Interface.of(interface).signatures


def test_a_generic_interface_is_taken_with_its_arguments() -> None:
    assert {
        "put": "put(key: str, value: list[int]) -> None",
        "get": "get(key: str) -> None | list[int]",
        "items": "items() -> Iterator[tuple[str, list[int]]]",
    } == signatures(Store[str, list[int]])
    assert {"first": "first() -> bool"} == signatures(Shelf[bool])


def test_what_bases_leave_open_is_filled_in_by_who_derives() -> None:
    assert "put(key: str, value: float) -> None" == signatures(Named[float])["put"]
    assert "put(key: str, value: int) -> None" == signatures(Scores)["put"]
    assert ["best", "get", "items", "names", "put"] == sorted(signatures(Scores))


def test_a_generic_interface_without_arguments_leaves_a_type_open() -> None:
    with pytest.raises(InterfaceError, match=r"Store.put\(key\): .* leaves a type open"):
        Interface.of(Store)


@pytest.mark.parametrize("interface", [Found, FoundClass])
def test_of_overloads_the_first_counts(interface: type) -> None:
    assert "find(key: int) -> str" == signatures(interface)["find"]


def test_an_interface_is_reflected_once() -> None:
    assert Interface.of(Store[str, int]) is Interface.of(Store[str, int])


async def test_a_stub_of_a_generic_interface_calls() -> None:
    class IntStore:
        def __init__(self) -> None:
            self.values: dict[str, int] = {}

        async def put(self, key: str, value: int) -> None:
            self.values[key] = value

        async def get(self, key: str) -> int | None:
            return self.values.get(key)

        async def items(self) -> AsyncIterator[tuple[str, int]]:
            for item in self.values.items():
                yield item

    network = MemoryNetwork()
    async with await liferaft.aserve(IntStore(), Store[str, int], "memory:store", network=network):
        store = await liferaft.aconnect(Store[str, int], "memory:store", network=network)
        await store.put("a", 1)
        assert (1, None) == (await store.get("a"), await store.get("b"))
        assert [("a", 1)] == [item async for item in store.items()]
        with pytest.raises(liferaft.InterfaceMismatch):
            await liferaft.aconnect(Store[str, str], "memory:store", network=network)
        await liferaft.aclose(store)
