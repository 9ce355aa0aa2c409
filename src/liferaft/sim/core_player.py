"""Carries out the steps of a schedule of faults: network, processes, disks and clocks."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final, Protocol

import msgspec

from liferaft.raft.types import NodeId
from liferaft.sim.core_host import Machine, Trigger
from liferaft.sim.core_moments import MOMENTS
from liferaft.sim.core_network import CoreNetwork, Weather
from liferaft.sim.scheduler import NOBODY, Scheduler

Pairs = list[tuple[int, int]]


class Step(msgspec.Struct, frozen=True):
    """A fault of some kind, from `at` on, for `seconds`; `seed` decides whom it hits and how."""

    at: float
    kind: str
    seconds: float
    seed: int


class Cluster(Protocol):
    """Whom the faults hit."""

    @property
    def scheduler(self) -> Scheduler:
        """The virtual time."""

    @property
    def network(self) -> CoreNetwork:
        """What the machines talk over."""

    @property
    def machines(self) -> list[Machine]:
        """Every machine whose node was not removed, the oldest first."""

    def leader(self) -> Machine | None:
        """Return who leads in the highest term, None when nobody does."""

    def crash(self, machine: Machine, *, down: float, is_silent: bool = False) -> None:
        """Crash the node on a machine, and start it again after so many seconds."""

    def hush(self, seconds: float) -> None:
        """Let no client begin anything new for so long."""

    def add_machine(self) -> Machine:
        """Start a node on a new machine, which waits to be made a member."""

    def note(self, step: Step, text: str, shown: Sequence[str]) -> None:
        """Count a fault that was made, put it into the trace, and show it to who looks at it."""


class Nobody:
    """Waits for a command or a read whose outcome nobody wants to know."""

    def applied(self, outcome: bytes) -> None:
        """Take what the state machine answered."""

    def lost(self, leader: NodeId | None) -> None:
        """Learn that the node lost sight of the command."""

    def ready(self) -> None:
        """Read now."""

    def rejected(self, leader: NodeId | None, *, is_overloaded: bool = False) -> None:
        """Learn that the node does not do it."""


class FaultPlayer:
    """Carries out the steps of a schedule; after `end_all`, nothing is wrong any more."""

    def __init__(self, cluster: Cluster, kinds: "Mapping[str, Kind]") -> None:
        self.cluster: Final = cluster
        self.network: Final = cluster.network
        self.scheduler: Final = cluster.scheduler
        self._kinds = kinds
        self._is_over = False

    @property
    def machines(self) -> list[Machine]:
        """Every machine whose node was not removed."""
        return self.cluster.machines

    def schedule(self, steps: Sequence[Step]) -> None:
        """Let these steps happen."""
        for step in steps:
            self.scheduler.at(step.at, NOBODY, self._play, step)

    def end_all(self) -> None:
        """Undo every fault: heal, calm, resume, start."""
        self._is_over = True
        self.network.heal()
        for machine in self.machines:
            machine.trigger = None
            machine.slowness = 0.0
            machine.disk.calm()
            machine.resume_all()
            machine.set_clock(rate=1.0)
            if machine.process is None:
                machine.start()

    def _play(self, step: Step) -> None:
        if not self._is_over:
            self._kinds[step.kind](self, step, Random(step.seed))

    def note(self, step: Step, text: str, *shown: str) -> None:
        """Tell that a step does something; a person is shown the text, or what is given beside."""
        self.cluster.note(step, text, shown or (text,))

    def after(self, seconds: float, function: Callable[[], None]) -> None:
        """Call `function` later, unless all faults have ended by then."""
        now = self.scheduler.now
        self.scheduler.at(now + seconds, NOBODY, self._call, function)

    def _call(self, function: Callable[[], None]) -> None:
        if not self._is_over:
            function()

    def leader_or_any(self, random: Random) -> Machine:
        """Return who leads, more often than chance would."""
        leader = self.cluster.leader()
        if leader is not None and random.random() < 0.4:
            return leader
        return random.choice(self.machines)

    # The network.

    def foul_weather(self, step: Step, random: Random) -> None:
        """Lose, repeat, delay or reorder, everywhere."""
        weather = {
            "loss": Weather(loss=random.uniform(0.02, 0.4)),
            "duplicates": Weather(duplicate=random.uniform(0.05, 0.4)),
            "long delays": Weather(long_delay=random.uniform(0.01, 0.2)),
            "reordering": Weather(spread=random.uniform(0.005, 0.1)),
        }[step.kind]
        self.note(step, f"{weather}", *weather.in_words())
        self.network.begin(weather)
        self.after(step.seconds, lambda: self.network.end(weather))

    def cut(self, step: Step, random: Random) -> None:
        """Cut the network in one of its shapes."""
        pairs = self._shape(step.kind, random)
        if pairs:
            self.note(step, f"{pairs}", *self._arrows(pairs))
            self.cut_for(step.seconds, pairs)

    def flap(self, step: Step, random: Random) -> None:
        """Cut and mend the same links in turns."""
        kind = random.choice(("halves", "one-way cut", "isolated node"))
        pairs = self._shape(kind, random)
        self.note(step, f"{pairs}", *self._arrows(pairs))
        end = self.scheduler.now + step.seconds

        def down() -> None:
            up_at = min(random.uniform(0.02, 0.2), max(end - self.scheduler.now, 0.0))
            self.cut_for(up_at, pairs)
            if self.scheduler.now + up_at < end:
                self.after(up_at + random.uniform(0.02, 0.2), down)

        down()

    def slow_link(self, step: Step, random: Random) -> None:
        """Delay all that one node sends to some others."""
        source, seconds = self.leader_or_any(random), random.uniform(0.02, 0.3)
        others = self.others([source])
        pairs = [(source.number, m.number) for m in random.sample(others, (len(others) + 1) // 2)]
        self.note(step, f"{pairs} {seconds}", *self._arrows(pairs))
        self.network.slow(pairs, seconds)
        self.after(step.seconds, lambda: self.network.slow(pairs, -seconds))

    def _arrows(self, pairs: Pairs) -> list[str]:
        names = {machine.number: machine.node_id for machine in self.machines}
        return [f"{names[source]} → {names[target]}" for source, target in pairs]

    def cut_for(self, seconds: float, pairs: Pairs) -> None:
        """Cut these links for so long."""
        self.network.cut(pairs)
        self.after(seconds, lambda: self.network.mend(pairs))

    def _shape(self, kind: str, random: Random) -> Pairs:  # noqa: PLR0911 - a row for each shape
        order = random.sample(self.machines, len(self.machines))
        if len(order) < 2:
            return []  # nobody is there to be cut off from
        leader = self.cluster.leader()
        if kind == "one-way cut":
            return [(order[0].number, order[1].number)]
        if kind == "halves":
            half = random.randint(1, len(order) - 1)
            return between(order[:half], order[half:])
        if kind == "ring":
            return apart(order, lambda i, j: (i - j) % len(order) in (1, len(order) - 1))
        if kind == "bridge":
            middle = len(order) // 2
            return between(order[:middle], order[middle + 1 :])
        if kind == "isolated leader":
            return between([leader], self.others([leader])) if leader is not None else []
        if kind == "deaf node":
            return [(machine.number, order[0].number) for machine in order[1:]]
        if kind == "mute node":
            return [(order[0].number, machine.number) for machine in order[1:]]
        assert kind == "isolated node"
        return between(order[:1], order[1:])

    def others(self, but: Sequence[Machine]) -> list[Machine]:
        """Return all other machines."""
        return [machine for machine in self.machines if machine not in but]

    # Processes.

    def crash(self, step: Step, random: Random) -> None:
        """Crash one node, or the leader, or all of them."""
        leader = self.cluster.leader()
        if step.kind == "crash of all":
            victims = list(self.machines)
        elif step.kind == "crash of the leader":
            victims = [leader] if leader is not None else []
        else:
            victims = [random.choice(self.machines)]
        for machine in victims:
            self._crash(step, machine, step.seconds * random.random())

    def _crash(self, step: Step, machine: Machine, down: float) -> None:
        if machine.process is not None:
            self.note(step, machine.node_id)
            self.cluster.crash(machine, down=down)

    def bounce(self, step: Step, random: Random) -> None:
        """Crash some nodes at once and start them again at once: what they promised is there."""
        for machine in random.sample(self.machines, random.randint(1, len(self.machines))):
            self._crash(step, machine, random.choice((0.0, 0.01)))

    def crash_loop(self, step: Step, random: Random) -> None:
        """Crash one node again and again, soon after it started."""
        machine = self.leader_or_any(random)
        end = self.scheduler.now + step.seconds

        def again() -> None:
            self._crash(step, machine, random.uniform(0.0, 0.05))
            if self.scheduler.now < end:
                self.after(random.uniform(0.05, 0.3), again)

        again()

    def crash_at_a_moment(self, step: Step, random: Random) -> None:
        """Crash one node in the turn in which something happens, and start it again soon."""
        name = random.choice(tuple(MOMENTS))
        happens, machine = MOMENTS[name], self.leader_or_any(random)
        self.note(step, f"{machine.node_id}: {name}")
        machine.trigger = happens
        self.after(step.seconds, lambda: disarm(machine, happens))

    def pause(self, step: Step, random: Random) -> None:
        """Stop one node, or the leader, longer than an election takes."""
        leader = self.cluster.leader()
        if step.kind == "pause of all":
            victims = list(self.machines)
        elif step.kind == "pause of the leader":
            victims = [leader] if leader is not None else []
        else:
            victims = [random.choice(self.machines)]
        for machine in victims:
            self.note(step, machine.node_id)
            life = machine.pause()
            self.after(step.seconds, lambda m=machine, n=life: m.resume(n))  # type: ignore[misc]

    def starve(self, step: Step, random: Random) -> None:
        """Let one node take few turns a second."""
        machine = self.leader_or_any(random)
        machine.slowness = random.uniform(0.005, 0.08)
        self.note(step, f"{machine.node_id} {machine.slowness}")
        self.after(step.seconds, lambda: setattr(machine, "slowness", 0.0))

    # Disks.

    def slow_disk(self, step: Step, random: Random) -> None:
        """Let the writes of some nodes take long."""
        count = random.randint(1, len(self.machines))
        latency_max = random.choice((0.01, 0.05, 0.2))
        for machine in random.sample(self.machines, count):
            self.note(step, f"{machine.node_id} {latency_max}")
            machine.disk.latency_max = latency_max
            self.after(step.seconds, machine.disk.be_quick)

    def stuck_disk(self, step: Step, random: Random) -> None:
        """Let no write of one node end for a while."""
        machine = self.leader_or_any(random)
        self.note(step, machine.node_id)
        machine.disk.stick()
        self.after(step.seconds, machine.disk.release)

    def failing_disk(self, step: Step, random: Random) -> None:
        """Let the next sync, or the next read, of one node fail."""
        machine = self.leader_or_any(random)
        self.note(step, machine.node_id)
        if step.kind == "failed sync":
            machine.disk.is_sync_failing = True
        else:
            machine.disk.is_read_failing = True

    # Clocks.

    def clock(self, step: Step, random: Random) -> None:
        """Let one clock run fast or slow, or jump forward."""
        machine = self.leader_or_any(random)
        if step.kind == "clock jump":
            jump = random.choice((0.1, 0.5, 3.0)) * random.random()
            self.note(step, f"{machine.node_id} {jump}")
            machine.set_clock(rate=machine.rate, jump=jump)
        else:
            rate = random.choice((random.uniform(0.3, 1.0), random.uniform(1.0, 3.0)))
            self.note(step, f"{machine.node_id} {rate}")
            machine.set_clock(rate=rate)
            self.after(step.seconds, lambda: machine.set_clock(rate=1.0))


Kind = Callable[[FaultPlayer, Step, Random], None]
"""Carries out a step."""


def between(group: Sequence[Machine], others: Sequence[Machine]) -> Pairs:
    """Return every link between the two groups, both ways."""
    pairs = [(one.number, other.number) for one in group for other in others]
    return pairs + [(target, source) for source, target in pairs]


def apart(order: Sequence[Machine], are_joined: Callable[[int, int], bool]) -> Pairs:
    """Return the links between all whose places in `order` are not joined."""
    return [
        (order[i].number, order[j].number)
        for i in range(len(order))
        for j in range(len(order))
        if i != j and not are_joined(i, j)
    ]


def disarm(machine: Machine, trigger: Trigger) -> None:
    """Take back a trigger that has not been set off."""
    if machine.trigger is trigger:
        machine.trigger = None


def disarming(machine: Machine, trigger: Trigger) -> Callable[[], None]:
    """Return a call of `disarm`."""
    return lambda: disarm(machine, trigger)
