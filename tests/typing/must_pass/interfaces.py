"""Protocols, ABCs and plain classes are inferred, without an ignore."""

import abc
from typing import Protocol, assert_type

import liferaft


class Todo(Protocol):
    def add(self, text: str) -> int: ...


class TodoList:
    def add(self, text: str) -> int:
        return len(text)


class Abstract(abc.ABC):
    @abc.abstractmethod
    async def add(self, text: str) -> int: ...


@liferaft.raises(KeyError)
class Plain:
    @liferaft.idempotent
    def size(self) -> int:
        return 0

    @liferaft.oneway
    def poke(self) -> None: ...


def blocking() -> int:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host:
        todo = liferaft.connect(Todo, host.address)
        assert_type(todo, Todo)
        plain = liferaft.connect(Plain, host.address, timeout=None)
        assert_type(plain, Plain)
        with liferaft.deadline(0.5):
            return todo.add("milk") + plain.size()


async def awaiting(address: str) -> int:
    abstract = await liferaft.aconnect(Abstract, address)
    assert_type(abstract, Abstract)
    try:
        return await abstract.add("milk")
    except liferaft.DeadlineExceeded:
        return 0
    finally:
        await liferaft.aclose(abstract)
