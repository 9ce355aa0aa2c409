"""Faults around snapshots: who needs one, who is late with one, and who crashes meanwhile."""

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Final

import msgspec

from liferaft.raft.effects import Effect
from liferaft.raft.events import Event
from liferaft.raft.types import COMMAND, Entry, NodeId
from liferaft.sim.core_host import Machine
from liferaft.sim.core_moments import CHANGE_MOMENTS
from liferaft.sim.core_node import Process
from liferaft.sim.core_player import FaultPlayer, Kind, Nobody, Step, between, disarming

COPIES: Final = 8
COPIES_BYTES: Final = 100_000
"""How much a stranded leader appends at a time, twenty times a second."""


def crash_at_a_change(player: FaultPlayer, step: Step, random: Random) -> None:
    """Crash one node, or any, in the turn in which something of this happens to it."""
    name = random.choice(tuple(CHANGE_MOMENTS))
    happens = CHANGE_MOMENTS[name]
    victims = list(player.machines) if random.random() < 0.3 else [player.leader_or_any(random)]
    for machine in victims:
        player.note(step, f"{machine.node_id}: {name}")
        machine.trigger = happens
        player.after(max(step.seconds, 1.0), disarming(machine, happens))


def failing_snapshot(player: FaultPlayer, step: Step, random: Random) -> None:
    """Let the snapshots that some nodes write fail."""
    for machine in random.sample(player.machines, random.randint(1, len(player.machines))):
        player.note(step, machine.node_id)
        machine.disk.snapshots.is_failing = True
        player.after(step.seconds, machine.disk.snapshots.calm)


def lag_behind(player: FaultPlayer, step: Step, random: Random) -> None:
    """Cut a node off until it needs a snapshot; then let it have some of it at a time."""
    machine = random.choice(player.machines)
    player.note(step, machine.node_id)

    def let_some_through() -> None:
        at = 0.0
        for _ in range(random.choice((0, 3, 8))):
            at += random.uniform(0.01, 0.06)
            player.after(at, cut)

    def cut() -> None:
        player.cut_for(random.uniform(0.01, 0.06), between([machine], player.others([machine])))

    _cut_until_behind(player, machine, let_some_through)


def _cut_until_behind(
    player: FaultPlayer, machine: Machine, then: Callable[[], None], tries: int = 60
) -> None:
    """Cut a node off until who leads has compacted what it needs, or for some seconds."""
    pause = 0.05
    if not tries or _needs_snapshot(player.cluster.leader(), machine):
        then()
        return
    player.cut_for(pause, between([machine], player.others([machine])))
    player.after(pause, lambda: _cut_until_behind(player, machine, then, tries - 1))


def _needs_snapshot(leader: Machine | None, machine: Machine) -> bool:
    """Return whether a node knows too little as committed to go on without a snapshot."""
    if leader is None or leader.process is None or machine.process is None:
        return False
    return leader.process.core.state.log.base_index > machine.process.core.commit_index


def go_far_ahead(player: FaultPlayer, step: Step, random: Random) -> None:
    """Let a leader that believes in itself append what nobody commits, beyond the others' snapshot.

    Other members may be the last of that. It is offered that snapshot afterwards, and crashes as it
    installs it, or some time after.
    """
    leader = player.cluster.leader()
    if leader is not None:
        player.note(step, leader.node_id)
        leader.set_clock(rate=random.uniform(0.01, 0.1))
        stranded = _Stranded(player, leader, random)
        _cut_until_behind(player, leader, stranded.end, tries=40)
        player.after(0.1, stranded.repeat_commands)


class _Stranded:
    """A leader that is cut off from all others and does not step down."""

    def __init__(self, player: FaultPlayer, machine: Machine, random: Random) -> None:
        self._player = player
        self._machine = machine
        self._random = random
        self._is_over = False

    def repeat_commands(self) -> None:
        """Let it append copies of the commands that it had last, again and again.

        They change nothing more, should they be executed.
        """
        process = self._machine.process
        if self._is_over or process is None:
            return
        log = process.core.state.log
        first = max(log.first_held, log.last_index - COPIES)
        piece = log.piece(first, log.last_index, COPIES_BYTES) if first <= log.last_index else None
        entries = () if piece is None else piece.entries
        self._ask(lambda asked: _propose_again(asked, entries))
        self._player.after(0.05, self.repeat_commands)

    def end(self) -> None:
        """Let the others reach it; half the time it wants other members before that."""
        player, machine, random = self._player, self._machine, self._random
        self._is_over = True
        if random.random() < 0.5:
            left_out = random.choice([other.node_id for other in player.others([machine])])
            self._ask(lambda asked: _leave_out(asked, left_out))
        machine.set_clock(rate=1.0)
        if random.random() < 0.5:
            installs = CHANGE_MOMENTS["installs a snapshot"]
            machine.trigger = installs
            player.after(2.0, disarming(machine, installs))
        player.after(random.choice((0.05, 0.3, 1.0)) * random.random(), self._crash)

    def _ask(self, order: Callable[[Process], None]) -> None:
        def reach(_: None) -> None:
            if self._machine.process is not None:
                order(self._machine.process)

        self._player.network.call(self._machine.number, reach, None)

    def _crash(self) -> None:
        if self._machine.process is not None:
            self._player.cluster.crash(self._machine, down=self._random.choice((0.0, 0.2)))


def _propose_again(process: Process, entries: Sequence[Entry]) -> None:
    for entry in entries:
        if entry.kind == COMMAND:
            process.propose(entry.data, Nobody())


def _leave_out(process: Process, name: NodeId) -> None:
    now = process.core.configuration
    voters = tuple(voter for voter in now.voters if voter != name)
    process.change(msgspec.structs.replace(now, voters=voters), _ignore)


def lose_leader_at_fetch(player: FaultPlayer, step: Step, random: Random) -> None:
    """Let a node fall behind, and crash whoever leads soon after it begins to fetch a snapshot.

    It may take so long to store that one who leads after that, with more of the log, is sooner.
    """
    lag_behind(player, step, random)

    def strike() -> None:
        leader = player.cluster.leader()
        if leader is not None and leader.process is not None:
            player.note(step, leader.node_id)
            player.cluster.crash(leader, down=random.choice((0.0, 0.5, 1.0)))

    def begin(machine: Machine) -> None:
        machine.disk.snapshots.delay = random.choice((0.0, 1.2))
        player.after(2.0, machine.disk.snapshots.calm)
        player.after(random.uniform(0.0, 0.05), strike)

    for machine in player.machines:
        _at_fetch(player, machine, partial(begin, machine))


def be_late_with_snapshot(player: FaultPlayer, step: Step, random: Random) -> None:
    """Let a node have the entries that a snapshot stands for before it has the snapshot.

    It falls behind, and begins to fetch one. Then those who know what is committed crash, and one
    that still has all entries leads it, restarted so that it does not know; it takes that one long
    to learn, for the disk of the node is slow.
    """
    leader = player.cluster.leader()
    others = [] if leader is None else player.others([leader])
    if len(others) < 2:
        return
    random.shuffle(others)
    late, ahead, *others = others
    others = others[: len(others) // 2]  # without those there is still a majority
    player.note(step, f"{late.node_id} {ahead.node_id}")
    ahead.disk.snapshots.is_failing = True

    def begin() -> None:
        late.disk.snapshots.delay = random.uniform(0.8, 2.0)
        player.after(random.uniform(0.01, 0.06), strike)  # it has all chunks by then

    def strike() -> None:
        late.disk.latency_max = 0.3
        for machine in (leader, ahead, *others):
            if machine is not None and machine.process is not None:
                player.cluster.crash(machine, down=0.0 if machine is ahead else 1.5)

    def calm() -> None:
        ahead.disk.snapshots.calm()
        late.disk.snapshots.calm()
        late.disk.be_quick()

    _at_fetch(player, late, begin)
    _cut_until_behind(player, late, lambda: player.after(2.0, calm))


def _at_fetch(player: FaultPlayer, machine: Machine, strike: Callable[[], None]) -> None:
    """Do something when the node on a machine begins to fetch a snapshot; once."""

    def watch(events: Sequence[Event], effects: Sequence[Effect]) -> bool:
        if CHANGE_MOMENTS["fetches a snapshot"](events, effects):
            machine.trigger = None
            strike()
        return False

    machine.trigger = watch
    player.after(2.5, disarming(machine, watch))


def _ignore(_: object) -> None:
    """Want no answer: it would never come."""


SNAPSHOTS: Final[dict[str, Kind]] = {
    "crash at a change": crash_at_a_change,
    "failing snapshot": failing_snapshot,
    "lag behind": lag_behind,
    "go far ahead": go_far_ahead,
    "lose the leader at a fetch": lose_leader_at_fetch,
    "late snapshot": be_late_with_snapshot,
}
