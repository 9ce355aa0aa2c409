"""The second fidelity: the cores alone, on a simulated network and disks, for very many seeds.

What runs is `RaftCore` as it ships; what stands around it here does what cluster/driver.py,
storage/wal.py and the peers do, without an event loop, files and frames. One seed decides all of a
run, and the same seed gives the same run, byte for byte: the result's digest is taken of every
event and every effect of every node, in order.

Checked after every turn: sim/safety.py. Sampled, for they are dear: raft/invariants.py, on every
turn that changes a role, and on every `SAMPLED`th of the others. Checked with every answer: that
the history is linearizable, and that nothing acknowledged is lost. Checked at the end: progress
within `PROGRESS_SECONDS` of virtual time after the last fault, equal states on all nodes, and that
every command was executed once.
"""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

from msgspec.structs import replace

from liferaft.cluster.reads import ReadKind
from liferaft.errors import InvariantViolated
from liferaft.raft.config import RaftConfig
from liferaft.raft.configuration import members
from liferaft.raft.effects import ConfigurationChanged, Effect, RoleChanged
from liferaft.raft.events import Event
from liferaft.raft.invariants import Observation, check_state, check_transition
from liferaft.raft.invariants import observe as look_at
from liferaft.raft.types import Configuration, Snapshot
from liferaft.sim.chronicle import Chronicle, FaultSpan
from liferaft.sim.core_clients import Client, History, Load
from liferaft.sim.core_disk import CoreDisk
from liferaft.sim.core_faults import ALL_KINDS, FAMILY_OF, counts_of, draw_schedule
from liferaft.sim.core_host import Machine, Surroundings
from liferaft.sim.core_machine import executed_once
from liferaft.sim.core_marks import Marks, no_marks
from liferaft.sim.core_members import MemberWatch
from liferaft.sim.core_network import CoreNetwork
from liferaft.sim.core_plan import Plan, plan_of
from liferaft.sim.core_player import FaultPlayer, Step
from liferaft.sim.core_reference import Reference
from liferaft.sim.core_texture import draw_config, draw_lease, draw_load
from liferaft.sim.core_trace import Trace
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.observer import TurnObserver
from liferaft.sim.options import SimulationOptions
from liferaft.sim.result import SimulationResult, undisturbed
from liferaft.sim.safety import SafetyChecker
from liferaft.sim.schedule import FaultStep
from liferaft.sim.scheduler import NOBODY, Scheduler

PROGRESS_SECONDS: Final = 20.0
"""How long, in virtual seconds, a cluster may take to go on after the last fault has ended."""

SAMPLED: Final = 32
"""One turn in so many is held against all of raft/invariants.py."""


def simulate_core(
    seed: int,
    options: SimulationOptions,
    *,
    observers: Sequence[TurnObserver] = (),
    chronicle: Chronicle | None = None,
) -> SimulationResult:
    """Run one cluster of cores under faults, and check all its promises.

    `chronicle` gets what was done to it. Raises `SimulationFailed` when a promise is broken.
    """
    chronicle = chronicle or Chronicle()
    world = CoreWorld(seed, options, observers, chronicle)
    try:
        with undisturbed():
            return world.run()
    except (InvariantViolated, AssertionError) as violation:
        chronicle.violated()
        raise SimulationFailed(
            seed,
            str(violation) or repr(violation),
            options.command(seed),
            tuple((step.number, step.at) for step in world.schedule),
        ) from violation
    finally:
        chronicle.finish()


class CoreWorld:
    """One run of one seed."""

    def __init__(
        self,
        seed: int,
        options: SimulationOptions,
        observers: Sequence[TurnObserver] = (),
        chronicle: Chronicle | None = None,
    ) -> None:
        nodes, profile = options.nodes, options.profile
        self.seed: Final = seed
        self.scheduler: Final = Scheduler()
        chronicle = chronicle or Chronicle()
        chronicle.now = lambda: self.scheduler.now
        self.marks: Final[Marks] = no_marks()
        self._seconds = options.seconds
        self._faults: Counter[str] = Counter()
        self._observers = tuple(observers)
        self._trace: Final = Trace()
        self._turns = 0
        self._before: Observation | None = None
        self._random = self._source("world")
        texture = self._source("texture")
        calm = profile == "calm"
        self._jitter = 0.05 if calm else texture.choice((0.05, 0.3, 1.0))
        self.network: Final = CoreNetwork(
            self.scheduler,
            self._source("network"),
            jitter=self._jitter,
            marks=self.marks,
        )
        plan = plan_of(options, self._source("operator"))
        config = RaftConfig() if calm else draw_config(texture)
        lease = None if calm or plan.needs_wild_clocks else draw_lease(self._source("leases"))
        first = Configuration(voters=tuple(f"n{number + 1}" for number in range(nodes)))
        self.safety: Final = SafetyChecker(first)
        self.around: Final = self._surroundings(first, config, lease, plan, chronicle)
        self.machines: Final[list[Machine]] = []
        for _ in range(nodes):
            self._make_machine()
        self._members = MemberWatch(first, self.marks)
        self._reference = Reference(self.safety.applied, first)
        self._history = History()
        load = Load() if calm else draw_load(texture)
        self._clients = [self._make_client(i + 1, load) for i in range(load.clients)]
        steps = draw_schedule(self._source("schedule"), profile=profile, seconds=options.seconds)
        self._steps = dict(enumerate((*steps, *plan.steps)))
        self.schedule: Final = options.kept(
            [FaultStep(number, step.at, step.kind) for number, step in self._steps.items()]
        )
        self._spans = {step: _span(number, step) for number, step in self._steps.items()}
        chronicle.faults.extend(self._spans[self._steps[each.number]] for each in self.schedule)
        self._player = FaultPlayer(self, ALL_KINDS)

    def _surroundings(
        self,
        first: Configuration,
        config: RaftConfig,
        lease: float | None,
        plan: Plan,
        chronicle: Chronicle,
    ) -> Surroundings:
        reads = ReadKind.FOLLOW if plan.may_follow else ReadKind.QUORUM
        return Surroundings(
            scheduler=self.scheduler,
            network=self.network,
            configuration=first,
            config=replace(plan.applied_to(config), lease_clock_error=lease),
            watcher=self,
            marks=self.marks,
            chronicle=chronicle,
            pace=plan.pace,
            reads=reads if lease is None else ReadKind.LEASE,
        )

    def _source(self, name: str) -> Random:
        """Return the source of chance of one part of the world."""
        return Random(f"{self.seed} {name}")

    def _make_machine(self) -> Machine:
        number = len(self.around.machines)
        node_id = f"n{number + 1}"
        disk = CoreDisk(
            self.scheduler,
            number,
            self._source(f"disk {node_id}"),
            jitter=self._jitter,
            marks=self.marks,
        )
        machine = Machine(
            number,
            node_id,
            self.around,
            disk,
            random=self._source(node_id),
            snapshot_random=self._source(f"snapshots {node_id}"),
        )
        self.around.add(machine)
        self.scheduler.add_host(machine)
        self.network.add_receiver(machine.receive)
        self.machines.append(machine)
        return machine

    def _make_client(self, number: int, load: Load) -> Client:
        return Client(
            number,
            scheduler=self.scheduler,
            network=self.network,
            machines=self.machines,
            history=self._history,
            acknowledge=self.safety.acknowledged,
            random=self._source(f"client {number}"),
            load=load,
            marks=self.marks,
        )

    # The run.

    def run(self) -> SimulationResult:
        """Run all of it and return what it did."""
        for machine in self.machines:
            machine.start()
        for client in self._clients:
            client.start()
        self._player.schedule([self._steps[step.number] for step in self.schedule])
        self.scheduler.run(self._seconds)
        self._player.end_all()
        self._finish()
        self._check_end()
        return self._result()

    def _finish(self) -> None:
        """Let every client come to its end, and a last one write; then let all nodes catch up."""
        for client in self._clients:
            client.is_over = True
        judge = self._make_client(len(self._clients) + 1, Load())
        judge.is_over = True
        judge.write(1)
        deadline = self.scheduler.now + PROGRESS_SECONDS
        while not self._is_finished(judge):
            if self.scheduler.now > deadline:
                raise InvariantViolated(f"progress: {self._what_is_missing(judge)}")
            self.scheduler.run(self.scheduler.now + 0.05)

    def _is_finished(self, judge: Client) -> bool:
        return (
            judge.is_idle
            and all(client.is_idle for client in self._clients)
            and self._members.are_settled
            and all(
                machine.process is not None
                and machine.process.applied_index == len(self.safety.applied)
                for machine in self._member_machines()
            )
        )

    def _member_machines(self) -> list[Machine]:
        """Return the machines of whoever is a member at present."""
        around = self.around
        names = members(self._members.committed)
        return [around.machines[around.number_of[name]] for name in names]

    def _what_is_missing(self, judge: Client) -> str:
        waiting = [client.number for client in (*self._clients, judge) if not client.is_idle]
        applied = {
            machine.node_id: machine.process.applied_index if machine.process else None
            for machine in self._member_machines()
        }
        return (
            f"{PROGRESS_SECONDS:g} s after the faults ended, clients {waiting} wait, and of "
            f"{len(self.safety.applied)} entries the members have applied {applied}"
            + ("" if self._members.are_settled else f"; {self._members.committed} is committed")
        )

    def _check_end(self) -> None:
        writes = executed_once(self.safety.applied)
        for write, told in self._history.acknowledged.items():
            if writes.get(write) != told:
                raise InvariantViolated(
                    f"exactly once: write {write} was answered with {told}, and in the log it "
                    f"makes {writes.get(write)}"
                )
        expected = {key: (version, write) for write, (key, version) in writes.items()}
        for machine in self.machines:
            self._count_repeats(machine)
        for machine in self._member_machines():
            assert machine.process is not None
            state = machine.process.registers.state()
            if state != expected:
                raise InvariantViolated(
                    f"equal states: {machine.node_id} has {state}, and its log makes {expected}"
                )

    def _result(self) -> SimulationResult:
        return SimulationResult(
            seed=self.seed,
            digest=self._trace.digest(),
            virtual_seconds=self.scheduler.now,
            events=self.safety.events,
            elections=self.safety.elections,
            applied=len(self.safety.applied),
            outcomes={
                "acknowledged": len(self._history.acknowledged),
                "reads": self._history.reads,
            },
            faults={kind: count for kind, count in counts_of(self._faults).items() if count},
            marks={mark: count for mark, count in self.marks.items() if count},
            schedule=self.schedule,
        )

    # What the faults need.

    def leader(self) -> Machine | None:
        """Return who leads in the highest term, None when nobody does."""
        found: Machine | None = None
        term = -1
        for machine in self.machines:
            process = machine.process
            is_leading = process is not None and process.core.role == "leader"
            if process is not None and is_leading and process.core.current_term > term:
                found, term = machine, process.core.current_term
        return found

    def crash(
        self,
        machine: Machine,
        *,
        down: float,
        why: str = "crashed",
        is_silent: bool = False,
    ) -> None:
        """Crash the node on a machine, and start it again after so many seconds."""
        self._count_repeats(machine)
        self._members.note_crash(machine)
        machine.crash(why, is_silent=is_silent)
        self.safety.node_started(machine.node_id)
        self.scheduler.at(self.scheduler.now + down, NOBODY, self._start, machine)

    def _start(self, machine: Machine) -> None:
        if machine.process is None and not machine.is_retired:
            machine.start()

    def hush(self, seconds: float) -> None:
        """Let no client begin anything new for so long."""
        for client in self._clients:
            client.silent_until = self.scheduler.now + seconds

    def add_machine(self) -> Machine:
        """Start a node on a new machine, which waits to be made a member."""
        machine = self._make_machine()
        machine.start()
        return machine

    def _retire(self, machine: Machine) -> None:
        """Let a node that was removed never come back."""
        if machine.is_retired:
            return
        if machine.process is None:
            self.marks["removed node never came back"] += 1
        else:
            self.marks["removed node stopped"] += 1
            self._count_repeats(machine)
            machine.crash("it was removed")
            self.safety.node_started(machine.node_id)
        machine.is_retired = True
        self.machines.remove(machine)

    def note(self, step: Step, text: str, shown: Sequence[str]) -> None:
        """Count a fault that was made, put it into the trace, and show it to who looks at it."""
        self._faults[step.kind] += 1
        self._trace.add((step.kind, self.scheduler.now, text))
        notes = self._spans[step].notes
        notes += [each for each in shown if each not in notes]

    def _count_repeats(self, machine: Machine) -> None:
        if machine.process is not None:
            self.marks["command answered again"] += machine.process.registers.repeats
            self.marks["old copy of a command ignored"] += machine.process.registers.old_copies

    # What the machines tell.

    def started(self, machine: Machine) -> None:
        """Learn that a node begins a life."""
        assert machine.process is not None
        for observer in self._observers:
            observer.born(machine.node_id, machine.process.core, lambda: self.scheduler.now)

    def before_turn(self, machine: Machine) -> None:
        """Look at a node before one turn in so many."""
        self._turns += 1
        if self._turns % SAMPLED == 0:
            assert machine.process is not None
            self._before = look_at(machine.process.core)

    def after_turn(
        self, machine: Machine, events: Sequence[Event], effects: Sequence[Effect]
    ) -> None:
        """Check the promises, and put the turn into the trace."""
        process = machine.process
        assert process is not None
        core = process.core
        now = self.scheduler.now
        self._trace.add((machine.number, now, events, effects))
        for observer in self._observers:
            observer.turn(machine.node_id, now, core, events, effects)
        self.safety.observe(machine.node_id, core, events, effects)
        if self._reference.waiting:
            self._reference.check_waiting()
        if self._before is not None:
            before, self._before = self._before, None
            check_state(core)
            check_transition(before, look_at(core))
        elif effects and isinstance(effects[0], RoleChanged):
            check_state(core)

    def members_committed(self, machine: Machine, effect: ConfigurationChanged) -> None:
        """Stop a node that learns of its removal, and forget the dead ones that were removed."""
        is_news = self._members.learn(machine, effect)
        now, retired = self.scheduler.now, effect.configuration.retired
        if machine.node_id in retired:
            soon = now + self._random.choice((0.0, 0.0, 0.05)) * self._random.random()
            self.scheduler.at(soon, machine.number, self._retire, machine)
        if is_news:
            for other in list(self.machines):
                is_dead = other.node_id in retired and other.process is None
                if is_dead and self._random.random() < 0.7:
                    self._retire(other)

    def saw_snapshot(self, machine: Machine, snapshot: Snapshot, state: bytes) -> None:
        """Remember a snapshot until all that it covers was seen to be applied."""
        self._reference.waiting.append((machine.node_id, snapshot, state))

    def crashed(self, machine: Machine, why: str) -> None:
        """Start a node again that ended by itself or at a moment that was chosen."""
        down = self._random.choice((0.0, 0.05, 0.5)) * self._random.random()
        self.crash(machine, down=down, why=why, is_silent=self._random.random() < 0.5)


def _span(number: int, step: Step) -> FaultSpan:
    family = FAMILY_OF.get(step.kind, "")
    return FaultSpan(number, step.kind, family, step.at, step.at + step.seconds)
