from typing import Protocol

import liferaft


class Todo(Protocol):
    async def add(self, text: str) -> int: ...


def total(todo: Todo) -> int:
    return todo.add("x")  # error: Incompatible return value type


async def main() -> int:
    return total(await liferaft.aconnect(Todo, "127.0.0.1:7400"))
