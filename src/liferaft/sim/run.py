"""One simulation from one seed: a cluster, clients, faults, and a verdict.

The same seed gives the same run: `SimulationResult.digest`, taken of every turn of every node, is
equal in every process.
"""

import asyncio
import random as random_module
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from liferaft.errors import InvariantViolated, LiferaftError, Removed
from liferaft.raft.types import NodeId
from liferaft.sim.chronicle import Chronicle
from liferaft.sim.digest import TraceDigest
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.faults import FaultInjector, draw_schedule
from liferaft.sim.hours import Hours
from liferaft.sim.loop import run_simulated, running_loop
from liferaft.sim.marks import Marks
from liferaft.sim.member_changes import draw_changes
from liferaft.sim.nodes import group_names, of_group
from liferaft.sim.observer import TurnObserver
from liferaft.sim.options import SimulationOptions
from liferaft.sim.result import SimulationResult, undisturbed
from liferaft.sim.shared_state import SharedState
from liferaft.sim.upgrades import draw_upgrades
from liferaft.sim.workload import Seat, Workload
from liferaft.sim.world import World

PROGRESS_SECONDS: Final = 30.0
"""How long, in virtual seconds, a cluster may take to go on after the last fault has ended."""

ABSENCE_SECONDS: Final = 3.0
"""Virtual seconds after which a node that is away is taken for dead, and groups rest without it."""

WATCH_INTERVAL: Final = 0.5
"""Virtual seconds between two looks at the replicas."""

RENEWAL: Final = 0.01
"""How likely a client begins a new session before a step: old ones are forgotten by new ones."""


def simulate(
    seed: int,
    options: SimulationOptions | None = None,
    *,
    workload: Callable[[], Workload] = SharedState,
    observers: Sequence[TurnObserver] = (),
    chronicle: Chronicle | None = None,
) -> SimulationResult:
    """Run one cluster under faults and check all its promises; `chronicle` gets what was done.

    Raises `SimulationFailed` when one of them is broken, `ConfigurationError` for options that
    cannot be.
    """
    options = options or SimulationOptions()
    simulation = Simulation(seed, options, workload, observers, chronicle)
    try:
        with undisturbed():
            return run_simulated(simulation.run)
    except Exception as violation:  # noqa: BLE001 - whatever was raised, the seed shows it again
        first = simulation.first_violation or violation
        steps = tuple((step.number, step.at) for step in simulation.schedule)
        text = str(first) if isinstance(first, LiferaftError) else repr(first)
        raise SimulationFailed(seed, text, options.command(seed), steps) from first


class Simulation:
    """One run; `run` is its main coroutine, to be given to a virtual loop."""

    def __init__(
        self,
        seed: int,
        options: SimulationOptions,
        workload: Callable[[], Workload],
        observers: Sequence[TurnObserver] = (),
        chronicle: Chronicle | None = None,
    ) -> None:
        self._seed = seed
        self._options = options
        self._workloads = {group: workload() for group in group_names(options.groups)}
        self._digest = TraceDigest()
        self._marks = Marks()
        self._observers: tuple[TurnObserver, ...] = (self._digest, self._marks, *observers)
        self._chronicle = chronicle or Chronicle()
        self._is_over = False
        self._world: World | None = None
        self._burst = options.burst or _drawn_burst(seed, options)
        faults = draw_schedule(seed, profile=options.profile, seconds=options.seconds)
        changes = draw_changes(seed, options, len(faults))
        upgrades = draw_upgrades(seed, options, len(faults) + len(changes))
        schedule = [*faults, *changes, *upgrades]
        self.schedule = options.kept(sorted(schedule, key=lambda step: step.at))

    @property
    def first_violation(self) -> Exception | None:
        """What was broken first, None while nothing is."""
        return None if self._world is None else next(iter(_violations(self._world)), None)

    async def run(self) -> SimulationResult:
        """Run all of it and return what it did."""
        try:
            return await self._run()
        except LiferaftError:
            self._chronicle.violated()
            raise
        finally:
            self._chronicle.finish()

    async def _run(self) -> SimulationResult:
        options = self._options
        world = self._world = World(
            self._seed,
            options.nodes,
            next(iter(self._workloads.values())).objects,
            self._observers,
            self._chronicle,
            groups=options.groups,
        )
        self._marks.watch(world)
        for node_id in world.node_ids:
            await world.start(node_id)
        seats, clients = self._seat_clients(world)
        watcher = asyncio.create_task(self._watch(world))
        await FaultInjector(world, self.schedule).run(options.seconds)
        self._is_over = True
        await asyncio.gather(watcher, *clients)
        _raise_first(world)
        await self._check_rest(world)  # before anybody asks: what rests must need no waking
        await self._check_return(world)
        await self._check_absence(world, seats)
        judges = [
            Seat(world, "judge", group=group, timeout=PROGRESS_SECONDS) for group in world.groups
        ]
        await self._check_end(world, judges)
        for seat in (*seats, *judges):
            await seat.leave()
        await self._check_rest(world)
        self._chronicle.finish()
        await world.stop()
        _raise_first(world)
        return self._result(world)

    def _seat_clients(self, world: World) -> tuple[list[Seat], list[asyncio.Task[None]]]:
        """Let each group have its clients; the first is used all the time, the others by turns."""
        seats: list[Seat] = []
        tasks: list[asyncio.Task[None]] = []
        for number, group in enumerate(world.groups):
            draw = random_module.Random(f"{self._seed} hours of {group}")
            hours = Hours(draw, is_busy=number == 0)
            for client in range(self._options.clients):
                seat = Seat(world, f"client-{client + 1}", group=group)
                seats.append(seat)
                tasks.append(asyncio.create_task(self._run_client(world, seat, hours)))
        return seats, tasks

    async def _run_client(self, world: World, seat: Seat, hours: Hours) -> None:
        workload = self._workloads[seat.group]
        clients = self._options.clients * len(world.groups)
        burst = self._burst
        pause_max = 2 * burst * clients / self._options.commands_per_second
        while not self._is_over and not world.violations:
            await asyncio.sleep(seat.random.uniform(0.0, pause_max))
            if not hours.are_on(seat.now):
                continue
            if seat.is_lost:
                self._marks.hit("a client knows only nodes that are gone")
                await seat.leave()  # and ask anew where the cluster is
            if seat.random.random() < RENEWAL:
                await seat.leave()  # and come back with a new session
            try:
                if burst == 1:
                    await workload.step(seat)
                else:
                    await asyncio.gather(*(workload.step(seat) for _ in range(burst)))
            except InvariantViolated as violation:
                world.violate(violation)

    async def _watch(self, world: World) -> None:
        """Let the workload look at the replicas every now and then."""
        while not self._is_over and not world.violations:
            try:
                for group, workload in self._workloads.items():
                    workload.check_now(world, group)
            except InvariantViolated as violation:
                world.violate(violation)
            await asyncio.sleep(WATCH_INTERVAL)

    async def _check_end(self, world: World, judges: Sequence[Seat]) -> None:
        """Check that the cluster goes on, what the clients saw, and that all nodes are equal."""
        try:
            async with asyncio.timeout(PROGRESS_SECONDS):
                for judge in judges:
                    await self._check_workload(world, judge)
        except (TimeoutError, LiferaftError) as error:
            _raise_first(world)
            if isinstance(error, InvariantViolated):
                raise
            raise InvariantViolated(f"progress: none after the faults ended: {error!r}") from error
        _raise_first(world)
        await self._settle(world)
        await self._check_replicas(world)
        self._digest.add(self._outcomes())

    async def _check_workload(self, world: World, judge: Seat) -> None:
        try:
            await self._workloads[judge.group].check_end(judge, world)
        except InvariantViolated as violation:
            raise of_group(violation, judge.group) from violation

    def _outcomes(self) -> dict[str, int]:
        added: Counter[str] = Counter()
        for workload in self._workloads.values():
            added.update(workload.outcomes())
        return dict(added)

    def _can_spare_node(self, world: World) -> bool:
        return self._options.profile != "calm" and world.members.failures_max > 0

    async def _check_return(self, world: World) -> None:
        """Check that nobody waits at rest for a leader that began anew before it was missed."""
        returning = world.leader()
        if world.rests is None or returning is None or not self._can_spare_node(world):
            return
        world.strike(returning)
        await world.start(returning)
        await self._check_rest(world)

    async def _check_absence(self, world: World, seats: Sequence[Seat]) -> None:
        """Check that a node learns by itself what was said in groups that rest since without it."""
        if world.rests is None or not self._can_spare_node(world):
            return
        away = world.random("absence").choice(world.node_ids)
        world.strike(away)
        for seat in seats:
            await self._workloads[seat.group].step(seat)
        await asyncio.sleep(ABSENCE_SECONDS)
        await world.start(away)
        await self._check_rest(world)

    async def _check_rest(self, world: World) -> None:
        """Check that groups that nobody uses fall silent, and not before all have everything."""
        if world.rests is None:
            return
        restless = await world.rests.wait_silent(world.groups, PROGRESS_SECONDS)
        _raise_first(world)
        if restless:
            raise InvariantViolated(
                f"rest: nobody uses {', '.join(restless)}, and they do not fall silent"
            )
        for group in world.groups:
            late = [node_id for node_id in world.node_ids if _is_behind(world, node_id, group)]
            if late:
                raise InvariantViolated(f"rest: {group} rests, and {', '.join(late)} lacks the end")

    async def _settle(self, world: World) -> None:
        """Wait until the members are who they will be, and all who were removed have ended."""
        deadline = running_loop().true_time + PROGRESS_SECONDS
        while (unaware := _removed(world)) or not world.members.are_settled:
            _raise_first(world)
            await _send_away_lost(world)
            if running_loop().true_time > deadline:
                raise InvariantViolated(
                    f"progress: {world.members.committed} is committed, and "
                    + (f"{', '.join(unaware)} goes on" if unaware else "the change does not end")
                )
            await asyncio.sleep(0.05)
        for node_id in world.strangers:
            await world.send_away(node_id)

    async def _check_replicas(self, world: World) -> None:
        """Wait until every node has applied everything, and compare their states."""
        deadline = running_loop().true_time + PROGRESS_SECONDS
        while late := behind(world):
            _raise_first(world)
            if running_loop().true_time > deadline:
                raise InvariantViolated(
                    f"progress: {', '.join(late)} of {', '.join(world.node_ids)} did not catch "
                    "up after the faults ended"
                )
            await asyncio.sleep(0.05)
        for group in world.groups:
            parts = {node: world.parts(node)[group] for node in sorted(world.nodes)}
            if any(part.status().compared_index for part in parts.values()):
                self._marks.hit("replicas that run find each other equal")
            digests = {node: part.digest() for node, part in parts.items()}
            if len({state.digest for state in digests.values()}) != 1:
                violation = InvariantViolated(f"equal replicas: their states differ: {digests}")
                raise of_group(violation, group)

    def _result(self, world: World) -> SimulationResult:
        counts = {**world.counts, **_network_counts(world), **_disk_counts(world)}
        checkers = world.checkers.values()
        return SimulationResult(
            seed=self._seed,
            digest=self._digest.hexdigest(),
            virtual_seconds=running_loop().true_time,
            events=sum(checker.events for checker in checkers),
            elections=sum(checker.elections for checker in checkers),
            applied=sum(len(checker.applied) for checker in checkers),
            outcomes=self._outcomes(),
            faults=dict(sorted((kind, count) for kind, count in counts.items() if count)),
            marks=self._marks.counts(),
            schedule=self.schedule,
        )


def behind(world: World) -> list[NodeId]:
    """Return the nodes that have not applied everything, or do not run.

    What a client gave up on may still be applied at any time, so "everything" is asked anew.
    """
    return [
        node_id
        for node_id in world.node_ids
        if any(_is_behind(world, node_id, group) for group in world.groups)
    ]


def _is_behind(world: World, node_id: NodeId, group: str) -> bool:
    part = world.parts(node_id).get(group)
    applied = world.checkers[group].applied
    return part is None or part.driver.applied_index < len(applied)


def _removed(world: World) -> list[NodeId]:
    """Return the nodes that were removed and have not ended yet."""
    return [node_id for node_id in world.node_ids if node_id in world.members.committed.retired]


async def _send_away_lost(world: World) -> None:
    """Stop removed nodes that know only others that are gone: nobody is left to tell them."""
    for node_id, core in world.cores().items():
        is_removed = node_id in world.members.committed.retired
        if is_removed and not world.members.can_be_told(core) and node_id in world.nodes:
            world.marks.hit("a removed node knows nobody who is left")
            await world.send_away(node_id)


def _network_counts(world: World) -> dict[str, int]:
    statistics = world.network.statistics
    return {
        "frames lost": statistics.lost,
        "frames repeated": statistics.duplicated,
        "frames overtaken": statistics.reordered,
        "frames held up": statistics.held_up,
        "frames cut off": statistics.cut_off,
        "links reset": statistics.resets,
        "links silent": statistics.silences,
    }


def _disk_counts(world: World) -> dict[str, int]:
    disks = world.disks.values()
    return {
        "unsynced writes lost": sum(disk.platter.lost_changes for disk in disks),
        "torn writes": sum(disk.platter.torn_writes for disk in disks),
    }


def _violations(world: World) -> list[Exception]:
    failures = [node.failure for node in world.nodes.values()]
    unexpected = (each for each in failures if each and not isinstance(each, Removed))
    return [*world.violations, *unexpected]


def _raise_first(world: World) -> None:
    for violation in world.violations:
        raise violation


def _drawn_burst(seed: int, options: SimulationOptions) -> int:
    if options.target or options.profile == "calm":
        return 1
    return random_module.Random(f"{seed} burst").choice((1, 1, 1, 3, 10, 20))
