"""An operator, who changes the members and hands leadership over while everything else goes wrong.

What the operator does are steps of a schedule too, drawn from a source of chance of their own: a
seed's other faults are drawn as they are without them. Nodes that are added are new machines with
names that were never used, started to join.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Final

from liferaft.cluster.admin import Membership, NodeAdmin
from liferaft.raft.effects import ConfigurationChanged, Effect
from liferaft.raft.events import Event
from liferaft.raft.types import Configuration, NodeId
from liferaft.sim.chronicle import note
from liferaft.sim.core_moments import CHANGE_MOMENTS, turns_after
from liferaft.sim.network import Undo
from liferaft.sim.operator_desk import Desk
from liferaft.sim.options import SimulationOptions
from liferaft.sim.schedule import FaultStep
from liferaft.sim.trigger import Trigger
from liferaft.sim.world import World

MACHINES_MAX: Final = 8
"""As many nodes as are looked after at a time, unless a run begins with more."""

Deed = Callable[[World, Random], Awaitable[None]]


# Deeds.


async def _add(world: World, draw: Random) -> None:
    """Add a node: as a learner to be promoted, or as one for good."""
    name = await _fresh_node(world, draw)
    if name is not None:
        world.counts["add a node"] += 1
        await _ask_to_add(world, draw, name, is_learner=draw.random() < 0.3)


async def _fresh_node(world: World, draw: Random) -> NodeId | None:
    """Return a node that waits to be added, started now unless there is one."""
    if world.strangers:
        return draw.choice(world.strangers)
    if len(world.node_ids) >= max(MACHINES_MAX, len(world.members.first.voters) + 2):
        return None
    name = world.add_machine()
    await world.start(name)
    return name


async def _ask_to_add(
    world: World, draw: Random, name: NodeId, *, is_learner: bool = False, replaces: NodeId = ""
) -> bool:
    note(name)

    async def add(admin: NodeAdmin) -> bool:
        if name not in _names(await admin.members()):
            await admin.add(name, f"memory:{name}", is_learner=is_learner, replaces=replaces)
        return True

    return await Desk(world, draw).ask(add)


async def _promote(world: World, draw: Random) -> None:
    """Let a learner become a voter, one that is added for that if there is none."""
    if not world.members.committed.learners:
        name = await _fresh_node(world, draw)
        if name is None or not await _ask_to_add(world, draw, name, is_learner=True):
            return

    async def promote(admin: NodeAdmin) -> bool:
        learners = _names(await admin.members(), "learner")
        if learners:
            world.counts["promote a learner"] += 1
            await admin.promote(draw.choice(learners))
        return bool(learners)

    await Desk(world, draw).ask(promote)


async def _replace(world: World, draw: Random) -> None:
    """Let a new node take the place of a voter."""
    name = await _fresh_node(world, draw)
    if name is not None:
        world.counts["replace a node"] += 1
        await _ask_to_add(world, draw, name, replaces=draw.choice(world.members.committed.voters))


async def _remove(world: World, draw: Random) -> None:
    """Remove a member."""
    victim = draw.choice(world.members.names)
    if _can_spare(world, draw, victim):
        world.counts["remove a node"] += 1
        await _ask_to_remove(world, draw, victim)


async def _remove_leader(world: World, draw: Random) -> None:
    """Remove the leader itself."""
    leader = world.leader()
    if leader is not None and _can_spare(world, draw, leader):
        world.counts["remove the leader"] += 1
        await _ask_to_remove(world, draw, leader)


def _can_spare(world: World, draw: Random, victim: NodeId) -> bool:
    """Return whether enough voters are left without this node; links need two nodes."""
    voters = world.members.committed.voters
    voters_min = draw.choice((2, 2, 3, 3, 3))
    return len(world.node_ids) > 2 and (victim not in voters or len(voters) > voters_min)


async def _ask_to_remove(world: World, draw: Random, victim: NodeId) -> bool:
    note(victim)
    is_forced = draw.random() < 0.7

    async def remove(admin: NodeAdmin) -> bool:
        if victim in _names(await admin.members()):
            await admin.remove(victim, is_forced=is_forced)
        return True

    return await Desk(world, draw).ask(remove)


async def _prioritize(world: World, draw: Random) -> None:
    """Say anew who should lead."""
    world.counts["prioritize"] += 1

    async def prioritize(admin: NodeAdmin) -> bool:
        voters = _names(await admin.members(), "voter")
        await admin.prioritize(draw.choice(voters), draw.randint(0, 3))
        return True

    await Desk(world, draw).ask(prioritize)


async def _transfer(world: World, draw: Random) -> None:
    """Have leadership handed over to somebody, or to whoever is best."""
    world.counts["transfer"] += 1

    async def transfer(admin: NodeAdmin) -> bool:
        await admin.transfer(draw.choice(("", *_names(await admin.members()))))
        return True

    await Desk(world, draw).ask(transfer)


def _names(membership: Membership, kind: str = "") -> list[NodeId]:
    """Return the members of a kind, or all of them."""
    return [each.node_id for each in membership.members if kind in ("", each.kind)]


# Deeds that meet harm.


async def _replace_dead(world: World, draw: Random) -> None:
    """Let a voter die, and a new node take its place; the dead one may come back at the end."""
    voters = world.members.committed.voters
    victim = draw.choice(voters)
    dead = [each for each in world.dead if each in voters]
    if victim in dead or len(dead) >= world.members.failures_max or victim in world.atlas.damaged:
        return
    name = await _fresh_node(world, draw)
    if name is None or victim not in world.node_ids:
        return
    world.counts["replace a dead node"] += 1
    if victim in world.nodes:
        world.strike(victim)
    world.bury(victim, comes_back=draw.random() < 0.5)
    await _ask_to_add(world, draw, name, replaces=victim)


async def _remove_absent(world: World, draw: Random) -> None:
    """Remove a node that is down or cut off, so that it learns of it only later."""
    victim = draw.choice(world.members.names)
    if not _can_spare(world, draw, victim):
        return
    world.counts["remove an absent node"] += 1
    if draw.random() < 0.5 and victim in world.nodes:
        world.strike(victim)
        await _ask_to_remove(world, draw, victim)
        await _start(world, victim)
        return
    others = [each for each in world.node_ids if each != victim]
    pairs = [pair for each in others for pair in ((victim, each), (each, victim))]
    undo = world.network.cut(*pairs)
    await _ask_to_remove(world, draw, victim)
    await asyncio.sleep(draw.uniform(0.0, 1.5))
    undo()


async def _crash_in_joint_phase(world: World, draw: Random) -> None:
    """Change the voters, and let the leader crash soon after it has begun with that."""
    leader = world.leader()
    if leader is None:
        return
    is_joint = CHANGE_MOMENTS["is in a joint phase"]
    is_due = turns_after(is_joint, draw.choice((0, 0, 1, 2, 3, 5)))
    await asyncio.gather(
        world.strike_when(leader, "crash in a joint phase", is_due), _change_voters(world, draw)
    )
    await _start(world, leader)


async def _split_joint_phase(world: World, draw: Random) -> None:
    """Change the voters, and leave the leader with the smallest majority of the new ones.

    Where a voter is replaced the others are a majority of the old ones: what is decided on one side
    alone is not known on the other.
    """
    leader = world.leader()
    if leader is None:
        return
    begun: list[Configuration] = []
    undos: list[Undo] = []

    def is_due(_events: Sequence[Event], effects: Sequence[Effect]) -> bool:
        changes = [each for each in effects if isinstance(each, ConfigurationChanged)]
        begun[:] = [each.configuration for each in changes if each.configuration.voters_outgoing]
        return bool(begun)

    def split(leader: NodeId) -> None:
        world.counts["split joint phase"] += 1
        ours = {leader, *_smallest_majority(begun[0], leader, draw)}
        theirs = [each for each in world.node_ids if each not in ours]
        directions = [(a, b) for a in sorted(ours) for b in theirs]
        undos.append(world.network.cut(*directions, *((b, a) for a, b in directions)))

    trigger = Trigger(is_due, split)
    world.triggers.pull(leader, trigger)
    change = _replace if draw.random() < 0.5 else _change_voters
    await asyncio.gather(world.triggers.wait_pulled(leader, trigger), change(world, draw))
    await asyncio.sleep(draw.uniform(0.3, 1.5))
    for undo in undos:
        undo()


def _smallest_majority(joint: Configuration, leader: NodeId, draw: Random) -> list[NodeId]:
    """Return a majority of the new voters that has as few of the old ones as can be."""
    voters = draw.sample(joint.voters, len(joint.voters))
    voters.sort(key=lambda each: (each != leader, each in joint.voters_outgoing))
    return voters[: len(voters) // 2 + 1]


async def _change_voters(world: World, draw: Random) -> None:
    """Make a change that goes through a joint phase, at once or once a learner has caught up."""
    await draw.choice((_remove, _remove_leader, _replace, _add))(world, draw)


async def _crash_at_change(world: World, draw: Random) -> None:
    """Crash a node in the turn in which something of a change happens to it."""
    is_due = CHANGE_MOMENTS[draw.choice(tuple(CHANGE_MOMENTS))]
    leader = world.leader() if draw.random() < 0.4 else None
    node_id = leader or draw.choice(world.node_ids)
    note(node_id)
    await world.strike_when(node_id, "crash at a change", is_due)
    await asyncio.sleep(draw.uniform(0.0, 1.0))
    await _start(world, node_id)


async def _start(world: World, node_id: NodeId) -> None:
    if node_id in world.down and node_id not in world.atlas.damaged:
        await world.start(node_id)


DEEDS: Final[Mapping[str, Deed]] = {
    "add a node": _add,
    "promote a learner": _promote,
    "replace a node": _replace,
    "remove a node": _remove,
    "remove the leader": _remove_leader,
    "prioritize": _prioritize,
    "transfer": _transfer,
}

HARMS: Final[Mapping[str, Deed]] = {
    "replace a dead node": _replace_dead,
    "remove an absent node": _remove_absent,
    "crash in a joint phase": _crash_in_joint_phase,
    "split joint phase": _split_joint_phase,
    "crash at a change": _crash_at_change,
}

KINDS: Final[Mapping[str, Deed]] = {**DEEDS, **HARMS}


def draw_changes(seed: int, options: SimulationOptions, first_number: int) -> list[FaultStep]:
    """Return what the operator of a run does, numbered from `first_number` on; often nothing.

    In a calm run it does no harm, and where there are many groups nothing.
    """
    draw = Random(f"{seed} changes")
    is_calm = options.profile == "calm"
    is_drawn = draw.random() < 0.5 and not is_calm
    if options.groups or options.changes == "no" or (options.changes == "some" and not is_drawn):
        return []
    among = tuple(DEEDS if is_calm else KINDS)
    kinds = [kind for kind in among if draw.random() < 0.6] or list(among)
    if draw.random() < 0.7:
        kinds.append("add a node")  # or there would soon be nobody left to remove
    per_second = draw.uniform(0.3, 2.0)
    steps: list[FaultStep] = []
    at = draw.expovariate(per_second)
    while at < options.seconds:
        steps.append(FaultStep(first_number + len(steps), at, draw.choice(kinds)))
        at += draw.expovariate(per_second)
    return steps
