"""Faults of processes: they end at any moment, stand still, and come back."""

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from liferaft.raft.effects import Effect, Persist, ReadReady
from liferaft.raft.events import Event, Received
from liferaft.raft.messages import RequestVoteReply
from liferaft.raft.types import NodeId
from liferaft.sim.chronicle import note
from liferaft.sim.trigger import Trigger
from liferaft.sim.world import DISK_LATENCY_MIN, World

AMID_A_WRITE: Final = 0.5
"""How many of the power cuts that have no moment of their own wait for a write: a disk is idle for
most of the time, and what is not synced is what they can lose."""

WRITE_SECONDS_MAX: Final = 0.2
"""How long, in virtual seconds, a write is waited for that may never come."""


async def restart(world: World, node_id: NodeId, *, after: float) -> None:
    """Start a node that is down, unless somebody else has done so meanwhile."""
    await asyncio.sleep(after)
    if node_id in world.down and node_id not in world.atlas.damaged:
        await world.start(node_id)


async def await_power_cut(world: World, draw: random_module.Random, node_id: NodeId) -> None:
    """Wait for the moment at which the power shall fail: now, or while the node writes."""
    if draw.random() >= AMID_A_WRITE:
        return
    note(node_id)
    try:
        async with asyncio.timeout(WRITE_SECONDS_MAX):
            await world.disks[node_id].wait_for_write()
    except TimeoutError:
        return
    await asyncio.sleep(draw.uniform(0.0, DISK_LATENCY_MIN))


async def _crash(world: World, draw: random_module.Random) -> None:
    """Let the power fail on one node."""
    node_id = draw.choice(world.node_ids)
    await await_power_cut(world, draw, node_id)
    if node_id in world.nodes:
        world.counts["crash"] += 1
        world.strike(node_id)
    await restart(world, node_id, after=draw.uniform(0.0, 2.0))


async def _kill(world: World, draw: random_module.Random) -> None:
    """End one process; what it wrote stays in the system's cache."""
    node_id = draw.choice(world.node_ids)
    if node_id in world.nodes:
        world.counts["kill"] += 1
        world.strike(node_id, is_power_cut=False)
    await restart(world, node_id, after=draw.uniform(0.0, 1.0))


async def _crash_of_leader(world: World, draw: random_module.Random) -> None:
    leader = world.leader()
    if leader is None:
        return
    await await_power_cut(world, draw, leader)
    if leader in world.nodes:
        world.counts["crash of the leader"] += 1
        world.strike(leader)
    await restart(world, leader, after=draw.uniform(0.0, 2.0))


async def _crash_of_all(world: World, draw: random_module.Random) -> None:
    world.counts["crash of all"] += 1
    await await_power_cut(world, draw, draw.choice(world.node_ids))
    for node_id in list(world.nodes):
        world.strike(node_id)
    downtime = draw.uniform(0.0, 0.5)
    for node_id in world.node_ids:
        await restart(world, node_id, after=downtime)
        downtime = draw.uniform(0.0, 0.1)


async def _crash_loop(world: World, draw: random_module.Random) -> None:
    """Let a node crash again and again, now and then before it has started."""
    world.counts["crash loop"] += 1
    node_id = draw.choice(world.node_ids)
    for _ in range(draw.randint(3, 8)):
        await await_power_cut(world, draw, node_id)
        if node_id in world.nodes:
            world.strike(node_id)
        if node_id in world.down and node_id not in world.atlas.damaged:
            starting = asyncio.create_task(world.start(node_id))
            await asyncio.sleep(draw.uniform(0.001, 0.3))
            if draw.random() < 0.5 and node_id in world.nodes:
                world.strike(node_id)
            await starting
    await restart(world, node_id, after=0.1)


async def _bounce(world: World, draw: random_module.Random) -> None:
    """Crash some nodes at once and start them again at once: what was promised must be there."""
    world.counts["bounce"] += 1
    bounced = draw.sample(world.node_ids, draw.randint(1, len(world.node_ids)))
    await await_power_cut(world, draw, bounced[0])
    for node_id in bounced:
        if node_id in world.nodes:
            world.strike(node_id)
    for node_id in bounced:
        await restart(world, node_id, after=0.0)


async def _bounce_at_election(world: World, draw: random_module.Random) -> None:
    """Bounce at the moment of an election: a voter that forgets elects two leaders."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 1.0
    # In virtual time, looking every two milliseconds costs nothing.
    while loop.time() < end and not _is_campaigning(world):  # noqa: ASYNC110
        await asyncio.sleep(0.002)
    await asyncio.sleep(draw.uniform(0.0, 0.01))
    world.counts["bounce at an election"] += 1
    await _bounce(world, draw)


def _is_campaigning(world: World) -> bool:
    cores = (core for group in world.groups for core in world.cores(group).values())
    return any(core.role == "candidate" for core in cores)


async def _crash_at_event(world: World, draw: random_module.Random) -> None:
    """Crash a node right behind one of its next turns: decided, and nothing of it carried out."""
    node_id = draw.choice(world.node_ids)
    remaining = [draw.randint(1, 60)]

    def is_due(_events: Sequence[Event], _effects: Sequence[Effect]) -> bool:
        remaining[0] -= 1
        return remaining[0] == 0

    await _strike_when(world, draw, node_id, "crash at an event", is_due)


async def _crash_before_sync(world: World, draw: random_module.Random) -> None:
    """Crash a node while it writes what it was just asked to persist: a vote, a term, entries."""

    def is_due(_events: Sequence[Event], effects: Sequence[Effect]) -> bool:
        return any(isinstance(effect, Persist) for effect in effects)

    node_id = draw.choice(world.node_ids)
    trigger = Trigger(is_due, lambda _: None)
    world.triggers.pull(node_id, trigger)
    await world.triggers.wait_pulled(node_id, trigger)
    await asyncio.sleep(draw.uniform(0.0, world.disk_latency_max[node_id]))
    await await_power_cut(world, draw, node_id)
    if node_id in world.nodes:
        world.counts["crash before a sync"] += 1
        world.strike(node_id)
    await restart(world, node_id, after=draw.uniform(0.0, 1.0))


async def _crash_of_new_leader(world: World, draw: random_module.Random) -> None:
    """Crash a candidate as it wins."""

    def is_due(events: Sequence[Event], _effects: Sequence[Effect]) -> bool:
        return any(
            isinstance(event, Received) and isinstance(event.message, RequestVoteReply)
            for event in events
        )

    node_id = draw.choice(world.node_ids)
    await _strike_when(world, draw, node_id, "crash at a vote", is_due)


async def _strike_when(
    world: World,
    draw: random_module.Random,
    node_id: NodeId,
    kind: str,
    is_due: Callable[[Sequence[Event], Sequence[Effect]], bool],
) -> None:
    note(node_id)
    await world.strike_when(node_id, kind, is_due)
    await restart(world, node_id, after=draw.uniform(0.0, 1.0))


async def _pause(world: World, draw: random_module.Random) -> None:
    node_id = draw.choice(world.node_ids)
    world.counts["pause"] += 1
    await _pause_for(world, node_id, draw.uniform(0.1, 2.0))


async def _pause_of_leader(world: World, draw: random_module.Random) -> None:
    """Let the leader stand still for longer than an election, and go on believing (trap 8)."""
    leader = world.leader()
    if leader is not None:
        world.counts["pause of the leader"] += 1
        await _pause_for(world, leader, draw.uniform(0.3, 3.0))


async def _pause_for(world: World, node_id: NodeId, seconds: float) -> None:
    world.pause(node_id)
    await asyncio.sleep(seconds)
    world.resume(node_id)


async def _pause_before_answer(world: World, draw: random_module.Random) -> None:
    """Let a leader stand still between the quorum that confirms a read and the answer."""
    leader = world.leader()
    if leader is None:
        return

    def is_due(_events: Sequence[Event], effects: Sequence[Effect]) -> bool:
        return any(isinstance(effect, ReadReady) for effect in effects)

    def pause(node_id: NodeId) -> None:
        world.counts["pause before an answer"] += 1
        world.pause(node_id)

    note(leader)
    trigger = Trigger(is_due, pause)
    world.triggers.pull(leader, trigger)
    await world.triggers.wait_pulled(leader, trigger)
    await asyncio.sleep(draw.uniform(0.3, 2.0))
    world.resume(leader)


async def _rolling_restart(world: World, draw: random_module.Random) -> None:
    """Stop and start every node in turn, as for an upgrade."""
    world.counts["rolling restart"] += 1
    for node_id in draw.sample(world.node_ids, len(world.node_ids)):
        if await world.shut_down(node_id):
            await restart(world, node_id, after=draw.uniform(0.0, 0.2))
        await asyncio.sleep(draw.uniform(0.0, 0.5))


KINDS: Final[Mapping[str, Callable[[World, random_module.Random], Awaitable[None]]]] = {
    "crash": _crash,
    "kill": _kill,
    "crash of the leader": _crash_of_leader,
    "crash of all": _crash_of_all,
    "crash loop": _crash_loop,
    "bounce": _bounce,
    "bounce at an election": _bounce_at_election,
    "crash at an event": _crash_at_event,
    "crash before a sync": _crash_before_sync,
    "crash at a vote": _crash_of_new_leader,
    "pause": _pause,
    "pause of the leader": _pause_of_leader,
    "pause before an answer": _pause_before_answer,
    "rolling restart": _rolling_restart,
}
