"""kill -9 of every node at once, in the middle of writes: what was acknowledged is there after."""

import asyncio
from typing import Protocol

import pytest

from liferaft import api
from liferaft.errors import LiferaftError
from liferaft.ops.processes import LocalCluster
from liferaft.recipes.todo import Item

pytestmark = pytest.mark.processes

ROUNDS = 3
WRITERS = 4
ACKNOWLEDGED_PER_ROUND = 60


class AsyncTodo(Protocol):
    """The list as a client on the loop sees it."""

    async def add(self, text: str, *, by: str = "") -> Item: ...
    async def items(self) -> list[Item]: ...


class Writers:
    """Add items until they are told to stop, and note what was acknowledged."""

    def __init__(self, todo: AsyncTodo) -> None:
        self._todo = todo
        self.asked = 0
        self.acknowledged: dict[str, int] = {}
        self.enough = asyncio.Event()

    async def write(self) -> None:
        while True:
            self.asked += 1
            text = f"item {self.asked}"
            try:
                item = await self._todo.add(text)
            except LiferaftError:
                continue  # its outcome is unknown: it may be there once or not at all
            self.acknowledged[text] = item.id
            if len(self.acknowledged) >= self.goal:
                self.enough.set()

    goal = ACKNOWLEDGED_PER_ROUND


async def test_nothing_acknowledged_is_lost_when_all_nodes_are_killed_at_once() -> None:
    async with LocalCluster(3, objects=["Todo=liferaft.recipes.todo:TodoList"]) as cluster:
        await cluster.wait_leader()
        todo = await api.aconnect(AsyncTodo, cluster.address, name="Todo", timeout=30.0)
        writers = Writers(todo)
        tasks = [asyncio.create_task(writers.write()) for _ in range(WRITERS)]
        for number in range(1, ROUNDS + 1):
            writers.goal = number * ACKNOWLEDGED_PER_ROUND
            writers.enough.clear()
            async with asyncio.timeout(120):
                await writers.enough.wait()
            await cluster.kill(*cluster.nodes)  # while every writer waits for an answer
            await cluster.start_all()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        items = await todo.items()
        await api.aclose(todo)
    found = {item.text: item.id for item in items}

    assert len(writers.acknowledged) >= ROUNDS * ACKNOWLEDGED_PER_ROUND
    assert len(found) == len(items)
    assert writers.acknowledged == {text: found.get(text) for text in writers.acknowledged}
