"""Faults of the network: foul weather, partitions of every shape, links that break or lie."""

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Final

from liferaft.raft.effects import Apply, Effect
from liferaft.raft.events import Event
from liferaft.raft.types import NodeId
from liferaft.sim.network import Conditions, Undo
from liferaft.sim.world import World

Direction = tuple[str, str]


def _between(group: Iterable[NodeId], others: Iterable[NodeId]) -> list[Direction]:
    """Return both directions between every node of one group and every one of the other."""
    members = list(others)
    return [pair for one in group for other in members for pair in ((one, other), (other, one))]


async def _for_a_while(draw: random_module.Random, *undos: Undo, longest: float = 2.5) -> None:
    """Let it last, and take it back."""
    await asyncio.sleep(draw.uniform(0.2, longest))
    for undo in undos:
        undo()


def _weather(
    kind: str, conditions: Callable[[random_module.Random], Conditions]
) -> Callable[[World, random_module.Random], Awaitable[None]]:
    async def change(world: World, draw: random_module.Random) -> None:
        world.counts[kind] += 1
        await _for_a_while(draw, world.network.set_weather(conditions(draw)))

    return change


async def _one_way_cut(world: World, draw: random_module.Random) -> None:
    world.counts["one-way cut"] += 1
    source, target = draw.sample(world.node_ids, 2)
    await _for_a_while(draw, world.network.cut((source, target)))


async def _halves(world: World, draw: random_module.Random) -> None:
    world.counts["halves"] += 1
    nodes = draw.sample(world.node_ids, len(world.node_ids))
    size = draw.randint(1, len(nodes) - 1)
    await _for_a_while(draw, world.network.cut(*_between(nodes[:size], nodes[size:])))


async def _ring(world: World, draw: random_module.Random) -> None:
    """Let each node see its two neighbours only; three nodes are a ring anyway, so it is a line."""
    world.counts["ring"] += 1
    nodes = draw.sample(world.node_ids, len(world.node_ids))
    neighbours = set(_between_neighbours(nodes, is_closed=len(nodes) > 3))
    cuts = [pair for pair in permutations(nodes, 2) if pair not in neighbours]
    await _for_a_while(draw, world.network.cut(*cuts))


def _between_neighbours(nodes: list[NodeId], *, is_closed: bool) -> list[Direction]:
    following = [*nodes[1:], *(nodes[:1] if is_closed else [])]
    pairs = list(zip(nodes, following, strict=False))
    return pairs + [(other, one) for one, other in pairs]


async def _bridge(world: World, draw: random_module.Random) -> None:
    """Cut the cluster in two halves that one node in the middle sees both of (trap 7)."""
    world.counts["bridge"] += 1
    nodes = draw.sample(world.node_ids, len(world.node_ids))
    middle = (len(nodes) - 1) // 2
    cuts = _between(nodes[1 : 1 + middle], nodes[1 + middle :])
    await _for_a_while(draw, world.network.cut(*cuts))


async def _isolated_leader(world: World, draw: random_module.Random) -> None:
    leader = world.leader()
    if leader is None:
        return
    world.counts["isolated leader"] += 1
    others = [node_id for node_id in world.node_ids if node_id != leader]
    await _for_a_while(draw, world.network.cut(*_between([leader], others)))


async def _flapping(world: World, draw: random_module.Random) -> None:
    """Cut a node off and heal it, again and again, as fast as an election."""
    world.counts["flapping"] += 1
    node = draw.choice(world.node_ids)
    others = [node_id for node_id in world.node_ids if node_id != node]
    for _ in range(draw.randint(3, 8)):
        undo = world.network.cut(*_between([node], others))
        await asyncio.sleep(draw.uniform(0.05, 0.4))
        undo()
        await asyncio.sleep(draw.uniform(0.02, 0.3))


async def _slow_link(world: World, draw: random_module.Random) -> None:
    """Slow one direction down: to less than an election timeout, or to more."""
    world.counts["slow link"] += 1
    source, target = draw.sample(world.node_ids, 2)
    seconds = draw.uniform(0.05, 0.6)
    await _for_a_while(draw, world.network.slow_down(source, target, seconds))


async def _slow_leader(world: World, draw: random_module.Random) -> None:
    """Let all that the leader sends take longer than an election: it comes in later terms."""
    leader = world.leader()
    if leader is None:
        return
    world.counts["slow leader"] += 1
    seconds = draw.uniform(0.3, 1.2)
    undone = [
        world.network.slow_down(leader, other, seconds)
        for other in world.node_ids
        if other != leader
    ]
    await _for_a_while(draw, *undone)


async def _reset(world: World, draw: random_module.Random) -> None:
    world.counts["reset"] += 1
    world.network.reset_links(draw.choice(world.node_ids))


async def _half_open(world: World, draw: random_module.Random) -> None:
    """Let a node's links end on its side alone: its peers go on sending into nothing."""
    world.counts["half-open"] += 1
    world.network.silence_links(draw.choice(world.node_ids))


async def _black_hole(world: World, draw: random_module.Random) -> None:
    """Break a node's links while connecting to it leads nowhere."""
    world.counts["black hole"] += 1
    node = draw.choice(world.node_ids)
    others = [node_id for node_id in world.node_ids if node_id != node]
    undo = world.network.cut(*((other, node) for other in others))
    world.network.reset_links(node)
    await _for_a_while(draw, undo)


async def _clients_cut_off(world: World, draw: random_module.Random) -> None:
    """Swallow what one node sends to all clients: what it acknowledges is lost on the way."""
    world.counts["lost answers"] += 1
    node = world.leader() or draw.choice(world.node_ids)
    cuts = [(node, client) for client in world.client_hosts]
    await _for_a_while(draw, world.network.cut(*cuts), longest=1.0)


async def _changed_majority(world: World, draw: random_module.Random) -> None:
    """Let one majority commit, crash the leader at that moment, and leave it with the others.

    The two majorities have only the leader in common: what it did not keep is lost. Half of the
    time its disk is the slowest one, so that the others have stored what it has not (trap 16).
    """
    leader = world.leader()
    if leader is None:
        return
    world.counts["changed majority"] += 1
    others = [node_id for node_id in world.node_ids if node_id != leader]
    draw.shuffle(others)
    half = len(others) // 2
    undo = world.network.cut(*_between(others[:half], [leader, *others[half:]]))
    if draw.random() < 0.5:
        world.disk_latency_max[leader] = draw.choice((0.05, 0.2))
    await asyncio.sleep(draw.uniform(0.0, 0.3))
    await world.strike_when(leader, "crash at a commit", _has_committed)
    if leader in world.down and leader not in world.atlas.damaged:
        await world.start(leader)
    world.calm_disk(leader)
    undo()
    undo = world.network.cut(*_between(others[half:], [leader, *others[:half]]))
    await asyncio.sleep(draw.uniform(0.5, 1.5))
    undo()


def _has_committed(_events: Sequence[Event], effects: Sequence[Effect]) -> bool:
    return any(isinstance(effect, Apply) for effect in effects)


KINDS: Final[Mapping[str, Callable[[World, random_module.Random], Awaitable[None]]]] = {
    "loss": _weather("loss", lambda draw: Conditions(loss=draw.uniform(0.05, 0.4))),
    "long delay": _weather(
        "long delay", lambda draw: Conditions(delay_max=draw.uniform(0.01, 0.08), long_delay=0.1)
    ),
    "duplication": _weather(
        "duplication", lambda draw: Conditions(duplicate=draw.uniform(0.05, 0.5), delay_max=0.05)
    ),
    "reordering": _weather(
        "reordering", lambda draw: Conditions(reorder=draw.uniform(0.1, 0.7), delay_max=0.05)
    ),
    "storm": _weather(
        "storm",
        lambda draw: Conditions(
            loss=draw.uniform(0.05, 0.3),
            duplicate=0.1,
            reorder=0.3,
            delay_max=0.05,
            long_delay=0.05,
        ),
    ),
    "one-way cut": _one_way_cut,
    "halves": _halves,
    "ring": _ring,
    "bridge": _bridge,
    "isolated leader": _isolated_leader,
    "flapping": _flapping,
    "slow link": _slow_link,
    "reset": _reset,
    "half-open": _half_open,
    "black hole": _black_hole,
    "lost answers": _clients_cut_off,
    "changed majority": _changed_majority,
    "slow leader": _slow_leader,
}
