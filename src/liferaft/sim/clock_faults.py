"""Faults of clocks: they run too fast or too slow, and the date jumps. None may break a promise."""

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from liferaft.sim.chronicle import note
from liferaft.sim.loop import running_loop
from liferaft.sim.world import World


async def _drift(world: World, draw: random_module.Random) -> None:
    """Let a monotonic clock be wrong by a few per cent, as a bad quartz is."""
    world.counts["clock drift"] += 1
    await _run_at(world, draw, draw.uniform(0.9, 1.1))


async def _wild_rate(world: World, draw: random_module.Random) -> None:
    """Let a monotonic clock run at half or twice its pace, as a stolen processor makes it."""
    world.counts["wild clock rate"] += 1
    await _run_at(world, draw, draw.choice((0.5, 0.7, 1.5, 2.0)))


async def _run_at(world: World, draw: random_module.Random, rate: float) -> None:
    loop = running_loop()
    node_id = draw.choice(world.node_ids)
    note(f"{node_id}, {rate:.2f} times as fast")
    clock = world.machines[node_id].clock
    clock.run_at(rate, true=loop.true_time)
    await asyncio.sleep(draw.uniform(0.5, 4.0))
    clock.run_at(1.0, true=loop.true_time)


async def _slow_leader(world: World, draw: random_module.Random) -> None:
    """Cut a leader off whose clock is slow: it believes for long that it still leads.

    The others elect a new one meanwhile, and clients reach both. Only a read that asks a majority
    first is right then (D§6.4): what the leader knows by its clock alone is wrong.
    """
    leader = world.leader()
    if leader is None:
        return
    world.counts["slow clock of an isolated leader"] += 1
    loop, clock = running_loop(), world.machines[leader].clock
    clock.run_at(draw.choice((0.1, 0.3)), true=loop.true_time)
    others = [node_id for node_id in world.node_ids if node_id != leader]
    directions = [pair for other in others for pair in ((leader, other), (other, leader))]
    undo = world.network.cut(*directions)
    # By now the others have a leader; clients that lose their links find it, the rest stay.
    await asyncio.sleep(draw.uniform(0.7, 1.2))
    for client in draw.sample(world.client_hosts, len(world.client_hosts) // 2):
        world.network.reset_links(client)
    await asyncio.sleep(draw.uniform(0.5, 2.0))
    undo()
    clock.run_at(1.0, true=loop.true_time)


async def _wall_jump(world: World, draw: random_module.Random) -> None:
    """Let the date jump forward or back, by seconds or by hours; the monotonic clock goes on."""
    world.counts["wall clock jump"] += 1
    node_id = draw.choice(world.node_ids)
    jump = draw.choice((-1, 1)) * draw.choice((1.0, 60.0, 1800.0, 7200.0))
    note(f"{node_id}, {jump:+g} s")
    world.machines[node_id].clock.wall_error += jump
    await asyncio.sleep(draw.uniform(0.5, 4.0))


KINDS: Final[Mapping[str, Callable[[World, random_module.Random], Awaitable[None]]]] = {
    "clock drift": _drift,
    "wild clock rate": _wild_rate,
    "slow clock of an isolated leader": _slow_leader,
    "wall clock jump": _wall_jump,
}
