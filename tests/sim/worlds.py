"""Stories that happen to a small simulated world."""

import asyncio
from collections.abc import Awaitable, Callable

from liferaft.raft.types import NodeId
from liferaft.recipes.todo import TodoList
from liferaft.sim.loop import run_simulated
from liferaft.sim.settings import Settings
from liferaft.sim.world import World


def told(story: Callable[[World, NodeId], Awaitable[None]], *, nodes: int = 3) -> None:
    """Let a story happen to some nodes; it is told of one that leads, and whom others follow."""

    async def run() -> None:
        world = World(1, nodes, lambda: {"TodoList": TodoList()}, settings=Settings())
        for node_id in world.node_ids:
            await world.start(node_id)
        async with asyncio.timeout(20.0):
            while world.safety.committed_index == 0:  # noqa: ASYNC110 - virtual time
                await asyncio.sleep(0.05)
        leader = world.leader()
        assert leader is not None
        await story(world, leader)
        assert [] == world.violations
        await world.stop()

    run_simulated(run)
