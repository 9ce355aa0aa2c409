"""Every kind of reads, and how a stub that only reads says no."""

from typing import Protocol

import liferaft


class Todo(Protocol):
    def add(self, text: str) -> int: ...
    def items(self) -> list[str]: ...


def use(address: str) -> list[str]:
    stubs = [
        liferaft.connect(Todo, address, reads="linearizable"),
        liferaft.connect(Todo, address, reads="lease"),
        liferaft.connect(Todo, address, reads="follower", balance="round-robin"),
        liferaft.connect(Todo, address, reads=liferaft.Within(0.5)),
        liferaft.connect(Todo, address, reads="stale"),
    ]
    try:
        stubs[-1].add("milk")
    except liferaft.ReadOnly as error:
        return [str(error)]
    return [text for stub in stubs for text in stub.items()]


async def use_awaited(address: str) -> list[str]:
    todo: Todo = await liferaft.aconnect(Todo, address, reads="stale")
    return todo.items()
