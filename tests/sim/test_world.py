"""A simulated world: what an operator does to its nodes."""

import asyncio
from collections.abc import Awaitable, Callable

from liferaft.raft.types import NodeId
from liferaft.recipes.todo import TodoList
from liferaft.sim.loop import run_simulated, running_loop
from liferaft.sim.settings import Settings
from liferaft.sim.world import World


def told(story: Callable[[World, NodeId], Awaitable[None]]) -> None:
    """Let a story happen to three nodes; it is told of one that leads, and whom others follow."""

    async def run() -> None:
        world = World(1, 3, lambda: {"TodoList": TodoList()}, settings=Settings())
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


def test_who_is_shut_down_while_it_leads_lets_another_lead_first() -> None:
    async def story(world: World, leader: NodeId) -> None:
        began = running_loop().true_time
        was_stopped = await world.shut_down(leader)
        took = running_loop().true_time - began

        assert was_stopped
        assert leader not in world.nodes
        assert world.leader() not in (None, leader)
        assert took < world.settings.raft.election_timeout

    told(story)


def test_who_is_struck_while_it_is_shut_down_was_not_stopped_by_that() -> None:
    async def story(world: World, leader: NodeId) -> None:
        stopping = asyncio.create_task(world.shut_down(leader))
        await asyncio.sleep(0.0005)
        world.strike(leader)

        assert not await stopping
        assert not await world.shut_down(leader), "nothing runs there any more"

    told(story)
