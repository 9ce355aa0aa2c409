"""What goes wrong around the cores, and when: a schedule drawn up front, and who carries it out.

Each step of a schedule has a source of chance of its own, so that a run can be repeated with some
of its steps only and those do what they did, as far as the cluster is in the same state. Every step
ends before the faults do.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Protocol

import msgspec

from liferaft.errors import ConfigurationError
from liferaft.raft.effects import Accepted, Apply, Effect, Persist, RoleChanged
from liferaft.raft.events import Event, Stored
from liferaft.sim.core_network import CoreNetwork, Weather
from liferaft.sim.core_node import Machine, Trigger
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
    def machines(self) -> tuple[Machine, ...]:
        """Every machine, by its number."""

    def leader(self) -> Machine | None:
        """Return who leads in the highest term, None when nobody does."""

    def crash(self, machine: Machine, *, down: float, is_silent: bool = False) -> None:
        """Crash the node on a machine, and start it again after so many seconds."""

    def note(self, kind: str, text: str) -> None:
        """Count a fault that was made, and put it into the trace."""


class FaultPlayer:
    """Carries out the steps of a schedule; after `end_all`, nothing is wrong any more."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._network = cluster.network
        self._machines = cluster.machines
        self._scheduler = cluster.scheduler
        self._is_over = False

    def schedule(self, steps: Sequence[Step]) -> None:
        """Let these steps happen."""
        for step in steps:
            self._scheduler.at(step.at, NOBODY, self._play, step)

    def end_all(self) -> None:
        """Undo every fault: heal, calm, resume, start."""
        self._is_over = True
        self._network.heal()
        for machine in self._machines:
            machine.trigger = None
            machine.slowness = 0.0
            machine.disk.calm()
            machine.resume_all()
            machine.set_clock(rate=1.0)
            if machine.process is None:
                machine.start()

    def _play(self, step: Step) -> None:
        if not self._is_over:
            KINDS[step.kind](self, step, Random(step.seed))

    def _note(self, step: Step, text: str) -> None:
        self._cluster.note(step.kind, text)

    def _after(self, seconds: float, function: Callable[[], None]) -> None:
        """Call `function` later, unless all faults have ended by then."""
        now = self._scheduler.now
        self._scheduler.at(now + seconds, NOBODY, self._call, function)

    def _call(self, function: Callable[[], None]) -> None:
        if not self._is_over:
            function()

    def _leader_or_any(self, random: Random) -> Machine:
        leader = self._cluster.leader()
        if leader is not None and random.random() < 0.4:
            return leader
        return random.choice(self._machines)

    # The network.

    def foul_weather(self, step: Step, random: Random) -> None:
        """Lose, repeat, delay or reorder, everywhere."""
        weather = {
            "loss": Weather(loss=random.uniform(0.02, 0.4)),
            "duplicates": Weather(duplicate=random.uniform(0.05, 0.4)),
            "long delays": Weather(long_delay=random.uniform(0.01, 0.2)),
            "reordering": Weather(spread=random.uniform(0.005, 0.1)),
        }[step.kind]
        self._note(step, f"{weather}")
        self._network.begin(weather)
        self._after(step.seconds, lambda: self._network.end(weather))

    def cut(self, step: Step, random: Random) -> None:
        """Cut the network in one of its shapes."""
        pairs = self._shape(step.kind, random)
        if pairs:
            self._note(step, f"{pairs}")
            self._cut_for(step.seconds, pairs)

    def flap(self, step: Step, random: Random) -> None:
        """Cut and mend the same links in turns."""
        kind = random.choice(("halves", "one-way cut", "isolated node"))
        pairs = self._shape(kind, random)
        self._note(step, f"{pairs}")
        end = self._scheduler.now + step.seconds

        def down() -> None:
            up_at = min(random.uniform(0.02, 0.2), max(end - self._scheduler.now, 0.0))
            self._cut_for(up_at, pairs)
            if self._scheduler.now + up_at < end:
                self._after(up_at + random.uniform(0.02, 0.2), down)

        down()

    def slow_link(self, step: Step, random: Random) -> None:
        """Delay all that one node sends to some others."""
        source, seconds = self._leader_or_any(random), random.uniform(0.02, 0.3)
        others = self._others([source])
        pairs = [(source.number, m.number) for m in random.sample(others, (len(others) + 1) // 2)]
        self._note(step, f"{pairs} {seconds}")
        self._network.slow(pairs, seconds)
        self._after(step.seconds, lambda: self._network.slow(pairs, -seconds))

    def _cut_for(self, seconds: float, pairs: Pairs) -> None:
        self._network.cut(pairs)
        self._after(seconds, lambda: self._network.mend(pairs))

    def _shape(self, kind: str, random: Random) -> Pairs:  # noqa: PLR0911 - a row for each shape
        order = random.sample(self._machines, len(self._machines))
        leader = self._cluster.leader()
        if kind == "one-way cut":
            return [(order[0].number, order[1].number)]
        if kind == "halves":
            half = random.randint(1, len(order) - 1)
            return _between(order[:half], order[half:])
        if kind == "ring":
            return _apart(order, lambda i, j: (i - j) % len(order) in (1, len(order) - 1))
        if kind == "bridge":
            middle = len(order) // 2
            return _between(order[:middle], order[middle + 1 :])
        if kind == "isolated leader":
            return _between([leader], self._others([leader])) if leader is not None else []
        if kind == "deaf node":
            return [(machine.number, order[0].number) for machine in order[1:]]
        if kind == "mute node":
            return [(order[0].number, machine.number) for machine in order[1:]]
        assert kind == "isolated node"
        return _between(order[:1], order[1:])

    def _others(self, but: Sequence[Machine]) -> list[Machine]:
        return [machine for machine in self._machines if machine not in but]

    # Processes.

    def crash(self, step: Step, random: Random) -> None:
        """Crash one node, or the leader, or all of them."""
        leader = self._cluster.leader()
        if step.kind == "crash of all":
            victims = list(self._machines)
        elif step.kind == "crash of the leader":
            victims = [leader] if leader is not None else []
        else:
            victims = [random.choice(self._machines)]
        for machine in victims:
            self._crash(step, machine, step.seconds * random.random())

    def _crash(self, step: Step, machine: Machine, down: float) -> None:
        if machine.process is not None:
            self._note(step, machine.node_id)
            self._cluster.crash(machine, down=down)

    def bounce(self, step: Step, random: Random) -> None:
        """Crash some nodes at once and start them again at once: what they promised is there."""
        for machine in random.sample(self._machines, random.randint(1, len(self._machines))):
            self._crash(step, machine, random.choice((0.0, 0.01)))

    def crash_loop(self, step: Step, random: Random) -> None:
        """Crash one node again and again, soon after it started."""
        machine = self._leader_or_any(random)
        end = self._scheduler.now + step.seconds

        def again() -> None:
            self._crash(step, machine, random.uniform(0.0, 0.05))
            if self._scheduler.now < end:
                self._after(random.uniform(0.05, 0.3), again)

        again()

    def crash_at_a_moment(self, step: Step, random: Random) -> None:
        """Crash one node in the turn in which something happens, and start it again soon."""
        name = random.choice(tuple(_MOMENTS))
        happens, machine = _MOMENTS[name], self._leader_or_any(random)
        self._note(step, f"{machine.node_id}: {name}")
        machine.trigger = happens
        self._after(step.seconds, lambda: _disarm(machine, happens))

    def pause(self, step: Step, random: Random) -> None:
        """Stop one node, or the leader, longer than an election takes."""
        leader = self._cluster.leader()
        if step.kind == "pause of all":
            victims = list(self._machines)
        elif step.kind == "pause of the leader":
            victims = [leader] if leader is not None else []
        else:
            victims = [random.choice(self._machines)]
        for machine in victims:
            self._note(step, machine.node_id)
            life = machine.pause()
            self._after(step.seconds, lambda m=machine, n=life: m.resume(n))  # type: ignore[misc]

    def starve(self, step: Step, random: Random) -> None:
        """Let one node take few turns a second."""
        machine = self._leader_or_any(random)
        machine.slowness = random.uniform(0.005, 0.08)
        self._note(step, f"{machine.node_id} {machine.slowness}")
        self._after(step.seconds, lambda: setattr(machine, "slowness", 0.0))

    # Disks.

    def slow_disk(self, step: Step, random: Random) -> None:
        """Let the writes of some nodes take long."""
        count = random.randint(1, len(self._machines))
        latency_max = random.choice((0.01, 0.05, 0.2))
        for machine in random.sample(self._machines, count):
            self._note(step, f"{machine.node_id} {latency_max}")
            machine.disk.latency_max = latency_max
            self._after(step.seconds, machine.disk.be_quick)

    def stuck_disk(self, step: Step, random: Random) -> None:
        """Let no write of one node end for a while."""
        machine = self._leader_or_any(random)
        self._note(step, machine.node_id)
        machine.disk.stick()
        self._after(step.seconds, machine.disk.release)

    def failing_disk(self, step: Step, random: Random) -> None:
        """Let the next sync, or the next read, of one node fail."""
        machine = self._leader_or_any(random)
        self._note(step, machine.node_id)
        if step.kind == "failed sync":
            machine.disk.is_sync_failing = True
        else:
            machine.disk.is_read_failing = True

    # Clocks.

    def clock(self, step: Step, random: Random) -> None:
        """Let one clock run fast or slow, or jump forward."""
        machine = self._leader_or_any(random)
        if step.kind == "clock jump":
            jump = random.choice((0.1, 0.5, 3.0)) * random.random()
            self._note(step, f"{machine.node_id} {jump}")
            machine.set_clock(rate=machine.rate, jump=jump)
        else:
            rate = random.choice((random.uniform(0.3, 1.0), random.uniform(1.0, 3.0)))
            self._note(step, f"{machine.node_id} {rate}")
            machine.set_clock(rate=rate)
            self._after(step.seconds, lambda: machine.set_clock(rate=1.0))

    # Whole stories.

    def change_majority(self, step: Step, random: Random) -> None:
        """Let one majority commit, bounce the leader, and leave it with the others.

        The two majorities have only the leader in common: what it did not keep is lost.
        """
        leader = self._cluster.leader()
        if leader is None:
            return
        self._note(step, leader.node_id)
        others = self._others([leader])
        random.shuffle(others)
        half = len(others) // 2
        first, second = others[:half], others[half:]
        middle = step.seconds * random.uniform(0.1, 0.4)
        self._cut_for(middle, _between(first, [leader, *second]))

        def turn_over() -> None:
            if leader.process is not None:
                self._cluster.crash(leader, down=0.0)
            self._cut_for(step.seconds - middle, _between(second, [leader, *first]))

        self._after(middle, turn_over)

    def figure_8(self, step: Step, random: Random) -> None:
        """Let leader after leader reach one peer alone, and crash (Figure 8 of the paper).

        Entries of several terms lie on minorities then, and are spread by later leaders. Those
        crash as well, some turns after they were elected: between the moment when a majority has
        the old entries and the moment when it has the new term's first there are few.
        """
        end = self._scheduler.now + step.seconds

        def isolate() -> None:
            leader = self._cluster.leader()
            if leader is None:
                again(random.uniform(0.02, 0.1))
                return
            self._note(step, leader.node_id)
            friend = random.choice(self._others([leader]))
            pairs = _between([leader], self._others([leader, friend]))
            seconds = random.uniform(0.005, 0.3)
            self._cut_for(seconds, pairs)
            self._after(seconds, lambda: strike(leader))

        def strike(leader: Machine) -> None:
            if leader.process is not None:
                self._cluster.crash(leader, down=random.choice((0.0, 0.2, 0.6)) * random.random())
            for machine in self._machines:
                trigger = _turns_after_leading(random.choice((0, 0, 1, 2, 3, 5, 8)))
                machine.trigger = trigger
                self._after(end - self._scheduler.now, _disarming(machine, trigger))
            again(random.uniform(0.3, 1.2))

        def again(seconds: float) -> None:
            if self._scheduler.now + seconds < end:
                self._after(seconds, isolate)

        isolate()

    def stale_leader(self, step: Step, random: Random) -> None:
        """Slow the leader's clock and cut it off: it believes in itself while others lead."""
        leader = self._cluster.leader()
        if leader is None:
            return
        self._note(step, leader.node_id)
        leader.set_clock(rate=random.uniform(0.1, 0.4))
        self._cut_for(step.seconds, _between([leader], self._others([leader])))
        self._after(step.seconds, lambda: leader.set_clock(rate=1.0))

    def overwritten_write(self, step: Step, random: Random) -> None:
        """Leave the leader and one follower alone, the follower's disk stuck, then part them.

        The others elect, and overwrite entries that the follower is still writing.
        """
        leader = self._cluster.leader()
        if leader is None:
            return
        friend = random.choice(self._others([leader]))
        self._note(step, f"{leader.node_id} {friend.node_id}")
        apart = step.seconds * random.uniform(0.2, 0.6)
        let_go = apart + (step.seconds - apart) * random.random()
        judged = let_go + random.uniform(0.0, 0.2)
        self._cut_for(apart, _between([leader, friend], self._others([leader, friend])))
        friend.disk.stick()

        def part() -> None:
            self._cut_for(judged - apart, _between([leader], self._others([leader])))

        def release() -> None:
            friend.disk.latency_max = 0.3  # so that the write of what replaced it takes its time
            friend.disk.release()

        def judge() -> None:
            """Leave the friend, who may have lost what it still wrote, without who overwrote it."""
            if friend.process is not None and random.random() < 0.7:
                self._cluster.crash(friend, down=0.0)
            friend.disk.be_quick()
            newer = self._cluster.leader()
            if newer is not None and newer not in (leader, friend):
                self._cut_for(1.0, _between([newer], self._others([newer])))

        self._after(apart, part)
        self._after(let_go, release)
        self._after(judged, judge)


def _between(group: Sequence[Machine], others: Sequence[Machine]) -> Pairs:
    """Return every link between the two groups, both ways."""
    pairs = [(one.number, other.number) for one in group for other in others]
    return pairs + [(target, source) for source, target in pairs]


def _apart(order: Sequence[Machine], are_joined: Callable[[int, int], bool]) -> Pairs:
    """Return the links between all whose places in `order` are not joined."""
    return [
        (order[i].number, order[j].number)
        for i in range(len(order))
        for j in range(len(order))
        if i != j and not are_joined(i, j)
    ]


def _disarm(machine: Machine, trigger: Trigger) -> None:
    if machine.trigger is trigger:
        machine.trigger = None


def _disarming(machine: Machine, trigger: Trigger) -> Callable[[], None]:
    return lambda: _disarm(machine, trigger)


def _turns_after_leading(turns: int) -> Trigger:
    """Return a trigger for the turn so many turns after the one in which its node was elected."""
    left: int | None = None

    def happens(events: Sequence[Event], effects: Sequence[Effect]) -> bool:
        nonlocal left
        if _MOMENTS["leads"](events, effects):
            left = turns
        elif left is not None:
            left -= 1
        return left == 0

    return happens


_MOMENTS: Final[dict[str, Trigger]] = {
    "votes": lambda _, effects: any(
        isinstance(effect, Persist)
        and effect.hard_state is not None
        and effect.hard_state.voted_for
        for effect in effects
    ),
    "has stored": lambda events, _: any(isinstance(event, Stored) for event in events),
    "appends": lambda _, effects: any(
        isinstance(effect, Persist) and effect.entries for effect in effects
    ),
    "applies": lambda _, effects: any(isinstance(effect, Apply) for effect in effects),
    "accepts": lambda _, effects: any(isinstance(effect, Accepted) for effect in effects),
    "leads": lambda _, effects: any(
        isinstance(effect, RoleChanged) and effect.role == "leader" for effect in effects
    ),
}

Kind = Callable[[FaultPlayer, Step, Random], None]

NETWORK: Final[dict[str, Kind]] = {
    **dict.fromkeys(("loss", "duplicates", "long delays", "reordering"), FaultPlayer.foul_weather),
    **dict.fromkeys(
        (
            "one-way cut",
            "halves",
            "ring",
            "bridge",
            "isolated leader",
            "isolated node",
            "deaf node",
            "mute node",
        ),
        FaultPlayer.cut,
    ),
    "flapping": FaultPlayer.flap,
    "slow link": FaultPlayer.slow_link,
}

PROCESSES: Final[dict[str, Kind]] = {
    **dict.fromkeys(("crash", "crash of the leader", "crash of all"), FaultPlayer.crash),
    "bounce": FaultPlayer.bounce,
    "crash loop": FaultPlayer.crash_loop,
    "crash at a moment": FaultPlayer.crash_at_a_moment,
    **dict.fromkeys(("pause", "pause of the leader", "pause of all"), FaultPlayer.pause),
    "starved": FaultPlayer.starve,
}

DISKS: Final[dict[str, Kind]] = {
    "slow disk": FaultPlayer.slow_disk,
    "stuck disk": FaultPlayer.stuck_disk,
    **dict.fromkeys(("failed sync", "failed read"), FaultPlayer.failing_disk),
}

CLOCKS: Final[dict[str, Kind]] = dict.fromkeys(("clock rate", "clock jump"), FaultPlayer.clock)

STORIES: Final[dict[str, Kind]] = {
    "changed majority": FaultPlayer.change_majority,
    "figure 8": FaultPlayer.figure_8,
    "stale leader": FaultPlayer.stale_leader,
    "overwritten write": FaultPlayer.overwritten_write,
}

KINDS: Final[dict[str, Kind]] = {**NETWORK, **PROCESSES, **DISKS, **CLOCKS, **STORIES}

PROFILES: Final[dict[str, tuple[str, ...]]] = {
    "calm": (),
    "network": tuple(NETWORK),
    "process": tuple(PROCESSES),
    "disk": (*DISKS, "crash", "bounce", "overwritten write"),
    "clock": (*CLOCKS, "stale leader", "isolated leader"),
    "mixed": tuple(KINDS),
}


def draw_schedule(random: Random, *, profile: str, seconds: float) -> list[Step]:
    """Return the faults of a run, in the order of their times.

    A run has a few kinds only, others than the next: so each kind meets the cluster in states that
    the others would hinder. Raises `ConfigurationError` for a profile that there is not.
    """
    if profile not in PROFILES:
        raise ConfigurationError(
            f"there is no profile {profile!r}: choose one of {', '.join(PROFILES)}"
        )
    kinds = [kind for kind in PROFILES[profile] if random.random() < 0.4]
    kinds = kinds or list(PROFILES[profile])
    if not kinds:
        return []
    steps = []
    per_second = random.uniform(0.5, 4.0)
    at = random.expovariate(per_second)
    while at < seconds:
        lasting = min(random.choice((0.3, 1.0, 2.0)) * (0.1 + random.random()), seconds - at)
        steps.append(Step(at, random.choice(kinds), lasting, random.getrandbits(32)))
        at += random.expovariate(per_second)
    return steps


def counts_of(faults: Counter[str]) -> dict[str, int]:
    """Return how many faults of each kind were made, every kind named."""
    return {kind: faults[kind] for kind in KINDS}
