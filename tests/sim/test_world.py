"""A simulated world: what an operator does to its nodes."""

import asyncio

from liferaft.raft.types import NodeId
from liferaft.sim.loop import running_loop
from liferaft.sim.world import World
from tests.sim.worlds import told


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
