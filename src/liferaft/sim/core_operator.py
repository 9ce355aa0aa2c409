"""An operator, who changes the members and hands leadership over while everything else goes wrong.

What the operator does are steps of a schedule too, drawn from a source of chance of their own: a
seed's other faults are the same without them. Nodes that are added are new machines with names that
were never used, which wait to be told whom they belong to.
"""

from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from liferaft.raft.configuration import members
from liferaft.raft.effects import ChangeAccepted, ChangeRejected
from liferaft.raft.types import Configuration, NodeId, Promotion
from liferaft.sim.core_host import Machine
from liferaft.sim.core_moments import CHANGE_MOMENTS, turns_after
from liferaft.sim.core_player import FaultPlayer, Kind, Step, between, disarming

MEMBERS_MAX: Final = 7

FOR_EVER: Final = 1e9
"""Seconds: longer than any run."""

MakeTarget = Callable[[Configuration, Machine], Configuration | None]
"""Says whom the members shall be instead of those of a leader, None to leave it."""


def changed(now: Configuration, **differences: object) -> Configuration:
    """Return the target that differs so from `now`, without promises to who is gone."""
    target = msgspec.structs.replace(now, **differences)
    voters, learners = set(target.voters), set(target.learners)
    return msgspec.structs.replace(
        target,
        voters=tuple(sorted(voters)),
        learners=tuple(sorted(learners - voters)),
        promotions=tuple(
            sorted(
                (
                    each
                    for each in target.promotions
                    if each.node in learners - voters and each.replaces in ("", *voters)
                ),
                key=lambda each: each.node,
            )
        ),
        priorities=tuple(pair for pair in target.priorities if pair[0] in voters | learners),
    )


class Request:
    """One wish for other members, asked again until a leader accepts it or the step is over.

    `make_target` is called for each try, for the members may be others by then.
    """

    def __init__(
        self, player: FaultPlayer, step: Step, random: Random, make_target: MakeTarget
    ) -> None:
        self._player = player
        self._step = step
        self._random = random
        self._make_target = make_target
        self._end = player.scheduler.now + max(step.seconds, 0.5)
        self.on_accepted: Callable[[Machine, Configuration], None] = lambda _leader, _target: None

    def ask(self) -> None:
        """Ask who leads; now and then somebody else."""
        player, random = self._player, self._random
        machine = player.cluster.leader()
        if machine is not None and random.random() < 0.05:
            machine = random.choice(player.machines)
        if machine is None or machine.process is None:
            self._ask_again()
            return
        now = machine.process.core.configuration
        if now.voters_outgoing or not now.voters:
            self._ask_again()
            return
        target = self._make_target(now, machine)
        if target is not None:
            player.note(self._step, f"{machine.node_id}: {target}")
            player.network.call(machine.number, lambda asked: self._reach(machine, asked), target)

    def _reach(self, machine: Machine, target: Configuration) -> None:
        if machine.process is None:
            self._ask_again()
        else:
            machine.process.change(target, lambda answer: self._answered(machine, target, answer))

    def _answered(
        self, machine: Machine, target: Configuration, answer: ChangeAccepted | ChangeRejected
    ) -> None:
        if isinstance(answer, ChangeAccepted):
            self.on_accepted(machine, target)
        else:
            self._ask_again()

    def _ask_again(self) -> None:
        seconds = self._random.uniform(0.02, 0.15)
        if self._player.scheduler.now + seconds < self._end:
            self._player.after(seconds, self.ask)


class _Fresh:
    """Machines that one step adds: the same ones at each try."""

    def __init__(self, player: FaultPlayer) -> None:
        self._player = player
        self._names: list[NodeId] = []

    def names(self, count: int) -> list[NodeId]:
        """Return the names of so many new machines."""
        while len(self._names) < count:
            self._names.append(self._player.cluster.add_machine().node_id)
        return self._names[:count]


# Deeds.


def add_node(player: FaultPlayer, step: Step, random: Random) -> None:
    """Add a node: as a learner to be promoted, as a learner for good, or as a voter at once."""
    fresh = _Fresh(player)
    how = random.choice(("promoted", "promoted", "learner", "voter"))

    def target(now: Configuration, _: Machine) -> Configuration | None:
        if len(members(now)) >= MEMBERS_MAX:
            return None
        (name,) = fresh.names(1)
        if name in members(now):
            return None
        if how == "voter":
            return changed(now, voters=(*now.voters, name))
        promotions = (*now.promotions, Promotion(name)) if how == "promoted" else now.promotions
        return changed(now, learners=(*now.learners, name), promotions=promotions)

    Request(player, step, random, target).ask()


def remove_node(player: FaultPlayer, step: Step, random: Random) -> None:
    """Remove a member, or the leader itself."""
    voters_min = random.choice((1, 2, 2, 3, 3, 3))

    def target(now: Configuration, leader: Machine) -> Configuration | None:
        victim = leader.node_id if step.kind == "remove the leader" else ""
        if victim not in now.voters:
            victim = random.choice(members(now))
        if victim in now.voters and len(now.voters) <= voters_min:
            return None
        return changed(
            now,
            voters=tuple(voter for voter in now.voters if voter != victim),
            learners=tuple(learner for learner in now.learners if learner != victim),
        )

    Request(player, step, random, target).ask()


def replace_node(player: FaultPlayer, step: Step, random: Random) -> None:
    """Let a new node take the place of a voter, which may be dead and not come back."""
    fresh = _Fresh(player)
    victims: list[NodeId] = []

    def target(now: Configuration, _: Machine) -> Configuration | None:
        if not victims:
            victims.append(random.choice(now.voters))
            if step.kind == "replace a dead node":
                kill(victims[0])
        (name,) = fresh.names(1)
        if name in members(now) or victims[0] not in now.voters:
            return None
        return changed(
            now,
            learners=(*now.learners, name),
            promotions=(*now.promotions, Promotion(name, victims[0])),
        )

    def kill(name: NodeId) -> None:
        for machine in player.machines:
            if machine.node_id == name and machine.process is not None:
                player.cluster.crash(machine, down=FOR_EVER)

    Request(player, step, random, target).ask()


def exchange_many(player: FaultPlayer, step: Step, random: Random) -> None:
    """Let the voters be others but for one or two."""
    _exchange(player, step, random).ask()


def _exchange(player: FaultPlayer, step: Step, random: Random) -> Request:
    fresh = _Fresh(player)

    def target(now: Configuration, _: Machine) -> Configuration | None:
        kept = random.sample(now.voters, min(len(now.voters), random.choice((1, 1, 2))))
        names = fresh.names(max(1, min(len(now.voters), 3) - len(kept) + 1))
        if set(names) & set(members(now)):
            return None
        return changed(now, voters=(*kept, *names))

    return Request(player, step, random, target)


def split_joint_phase(player: FaultPlayer, step: Step, random: Random) -> None:
    """Exchange many, and once that is accepted leave the leader with the new ones alone."""

    def split(leader: Machine, target: Configuration) -> None:
        ours = [m for m in player.machines if m is leader or m.node_id in target.voters]
        theirs = [m for m in player.machines if m not in ours]
        player.cut_for(max(step.seconds, 0.3), between(ours, theirs))

    request = _exchange(player, step, random)
    request.on_accepted = split
    request.ask()


def crash_in_joint_phase(player: FaultPlayer, step: Step, random: Random) -> None:
    """Exchange many, and let the leader crash soon after it has begun with that."""
    for machine in player.machines:
        moment = CHANGE_MOMENTS["begins a change"]
        trigger = turns_after(moment, random.choice((0, 0, 1, 2, 3, 5)))
        machine.trigger = trigger
        player.after(max(step.seconds, 0.5), disarming(machine, trigger))
    exchange_many(player, step, random)


def swap_roles(player: FaultPlayer, step: Step, random: Random) -> None:
    """Let a learner vote at once, or a voter learn; with many members, both."""

    def target(now: Configuration, _: Machine) -> Configuration | None:
        up = random.sample(now.learners, min(len(now.learners), 1))
        down = random.sample(now.voters, 1) if len(now.voters) > 2 else []
        if up and random.random() < 0.5:
            down = []
        if not up and not down:
            return None
        return changed(
            now,
            voters=(*(set(now.voters) - set(down)), *up),
            learners=(*(set(now.learners) - set(up)), *down),
        )

    Request(player, step, random, target).ask()


def prioritize(player: FaultPlayer, step: Step, random: Random) -> None:
    """Say anew who should lead."""

    def target(now: Configuration, _: Machine) -> Configuration:
        chosen = [name for name in now.voters if random.random() < 0.6]
        return changed(now, priorities=tuple((name, random.randint(1, 3)) for name in chosen))

    Request(player, step, random, target).ask()


def transfer(player: FaultPlayer, step: Step, random: Random) -> None:
    """Ask the leader, as a rule, to hand over to somebody, or to whoever is best."""
    machine = player.cluster.leader() or random.choice(player.machines)
    if random.random() < 0.1:
        machine = random.choice(player.machines)
    targets = [None, *(each.node_id for each in player.machines)]
    target = random.choice(targets)
    player.note(step, f"{machine.node_id}: {target}")

    def reach(asked: NodeId | None) -> None:
        if machine.process is not None:
            machine.process.transfer(asked)

    player.network.call(machine.number, reach, target)


DEEDS: Final[dict[str, Kind]] = {
    "add a node": add_node,
    "remove a node": remove_node,
    "remove the leader": remove_node,
    "replace a node": replace_node,
    "exchange many": exchange_many,
    "swap roles": swap_roles,
    "prioritize": prioritize,
    "transfer": transfer,
}
"""What does no harm."""

HARMS: Final[dict[str, Kind]] = {
    "replace a dead node": replace_node,
    "split joint phase": split_joint_phase,
    "crash in a joint phase": crash_in_joint_phase,
}
