"""What is damaged at a time leaves enough that is sound, and what is forgotten nobody needs."""

import asyncio

from liferaft.raft.types import NodeId
from liferaft.sim.world import World
from tests.sim.worlds import told


def followers(world: World, leader: NodeId) -> list[NodeId]:
    return [node_id for node_id in world.node_ids if node_id != leader]


def test_a_majority_of_disks_stays_sound() -> None:
    async def story(world: World, leader: NodeId) -> None:
        one, other, third, _ = followers(world, leader)
        world.atlas.damage(one, lambda: None)
        assert not world.atlas.can_damage(one), "it is damaged already"
        assert world.atlas.can_damage(other)
        world.atlas.damage(other, lambda: None)

        assert [one, other] == world.atlas.damaged
        assert not world.atlas.can_damage(third), "of five only two may be"
        world.atlas.mend(one)
        assert world.atlas.can_damage(third)

    told(story, nodes=5)


def test_what_was_damaged_is_put_back_last_first() -> None:
    async def story(world: World, leader: NodeId) -> None:
        undone: list[int] = []
        world.atlas.damage(leader, lambda: undone.append(1))
        world.atlas.damage(leader, lambda: undone.append(2), lambda: undone.append(3))
        world.atlas.mend(leader)
        world.atlas.mend(leader)

        assert [3, 2, 1] == undone

    told(story)


def test_who_follows_a_leader_that_has_all_of_it_elsewhere_may_forget() -> None:
    async def story(world: World, leader: NodeId) -> None:
        one, other = followers(world, leader)
        await _all_stored(world)

        assert not world.atlas.can_forget(leader)
        assert world.atlas.can_forget(one)
        assert world.atlas.can_forget(other), "who forgot before has it all again"

    told(story)


def test_nobody_forgets_while_another_is_down_or_damaged() -> None:
    async def story(world: World, leader: NodeId) -> None:
        one, other = followers(world, leader)
        await _all_stored(world)
        world.atlas.damage(other, lambda: None)
        assert not world.atlas.can_forget(one)
        world.atlas.mend(other)
        world.strike(other)

        assert not world.atlas.can_forget(one)

    told(story)


async def _all_stored(world: World) -> None:
    """Wait until every node has on its disk what the leader wrote, and knows it committed."""
    async with asyncio.timeout(20.0):
        while any(  # noqa: ASYNC110 - virtual time
            core.commit_index != core.last_index
            or core.statistics().stable_index != world.safety.committed_index
            for core in world.cores().values()
        ):
            await asyncio.sleep(0.05)
