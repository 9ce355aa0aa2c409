"""An operator, who brings newer programs to the machines while everything else goes wrong.

When that is done is drawn from a source of chance of its own, so that a seed's other faults are
those that it has without.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final

from liferaft.cluster.introductions import COMPLETE_WITHIN
from liferaft.raft.types import NodeId
from liferaft.sim.options import SimulationOptions
from liferaft.sim.process_faults import restart
from liferaft.sim.schedule import FaultStep
from liferaft.sim.world import World

_CHANCE: Final = 0.25
"""Of a run to have an upgrade, where changes are made in some."""


async def _rolling_upgrade(world: World, draw: Random) -> None:
    """Stop and start every node in turn with a newer program, or only some of them."""
    world.counts["rolling upgrade"] += 1
    level, pause_max = world.programs.newest + 1, draw.choice((0.3, 3.0))
    waiting, others = _by_turns(world, draw)
    count = draw.choice((len(others), draw.randint(0, len(others))))
    for node_id in (*waiting, *others[:count]):
        await _upgrade(world, node_id, level, after=draw.uniform(0.0, 0.2))
        await asyncio.sleep(draw.uniform(0.0, pause_max))


async def _upgrade_without_one(world: World, draw: Random) -> None:
    """Upgrade every node but one that is away, for longer than the leader waits to hear of it."""
    world.counts["upgrade without one"] += 1
    level = world.programs.newest + 1
    waiting, others = _by_turns(world, draw)
    for node_id in others[:1]:
        await world.shut_down(node_id)
    for node_id in (*waiting, *others[1:]):
        await _upgrade(world, node_id, level)
    for node_id in others[:1]:
        await restart(world, node_id, after=COMPLETE_WITHIN + draw.uniform(1.0, 3.0))


def _by_turns(world: World, draw: Random) -> tuple[Sequence[NodeId], Sequence[NodeId]]:
    """Return the nodes that wait to be added, and the others: both in any order.

    Those that wait come first: who was added when its program is too old already would only end.
    """
    waiting = world.strangers
    others = [node_id for node_id in world.node_ids if node_id not in waiting]
    return draw.sample(waiting, len(waiting)), draw.sample(others, len(others))


async def _upgrade(world: World, node_id: NodeId, level: int, *, after: float = 0.0) -> None:
    world.programs.install(node_id, level)
    await world.shut_down(node_id)
    await restart(world, node_id, after=after)


KINDS: Final[Mapping[str, Callable[[World, Random], Awaitable[None]]]] = {
    "rolling upgrade": _rolling_upgrade,
    "upgrade without one": _upgrade_without_one,
}


def draw_upgrades(seed: int, options: SimulationOptions, first_number: int) -> list[FaultStep]:
    """Return when programs are upgraded, numbered from `first_number` on; mostly never."""
    draw = Random(f"{seed} upgrades")
    if options.changes == "no" or (options.changes == "some" and draw.random() >= _CHANCE):
        return []
    moments = sorted(draw.uniform(0.0, options.seconds) for _ in range(draw.choice((1, 1, 2))))
    return [
        FaultStep(number, at, draw.choice(list(KINDS)))
        for number, at in enumerate(moments, first_number)
    ]
