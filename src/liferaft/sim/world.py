"""A whole cluster in one process: the nodes that ship, on simulated machines, network and disks.

A node's disk outlives its crashes; its links, tasks and memory do not. Every source of chance in
the world is drawn from one seed, each part its own, so that adding a draw in one place does not
change all the others. What goes wrong is decided elsewhere (`sim.faults`); here it is carried out,
and every node that ends by itself is either explained by what was done to it, or a violation.
"""

import asyncio
import random as random_module
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from liferaft.cluster.config import NodeConfig
from liferaft.cluster.driver import Driver
from liferaft.cluster.member import Member
from liferaft.errors import (
    DiskFailed,
    InvariantViolated,
    LiferaftError,
    Removed,
    ReplicaDiverged,
    StorageError,
)
from liferaft.link.address import Address
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Effect
from liferaft.raft.events import Event
from liferaft.raft.types import Configuration, NodeId
from liferaft.rpc.caller import CallerStubCreator
from liferaft.rpc.connection import CallerConnection
from liferaft.sim.atlas import FaultAtlas
from liferaft.sim.chronicle import Chronicle, note
from liferaft.sim.clock import Clock
from liferaft.sim.loop import SimulatedHost, running_loop
from liferaft.sim.marks import Marks
from liferaft.sim.members import MemberWatch
from liferaft.sim.mount import Mount
from liferaft.sim.network import SimulatedNetwork
from liferaft.sim.nodes import Life, Made, Objects, in_group, maker_of, of_group
from liferaft.sim.observer import TurnObserver
from liferaft.sim.programs import Programs
from liferaft.sim.rests import RestWatch
from liferaft.sim.safety import SafetyChecker
from liferaft.sim.settings import Settings, draw_settings
from liferaft.sim.trigger import Trigger, Triggers
from liferaft.storage.faulty import FaultyDisk

DISK_LATENCY_MIN: Final = 0.0005
DISK_LATENCY_MAX: Final = 0.002
"""Seconds that a write and its sync take, at least and, on a disk that is well, at most."""


DATA: Final = "/data"
"""Every node's data directory, on a disk of its own."""


class _Part(NamedTuple):
    """A node's part in a group, in one of its lives."""

    node_id: NodeId
    life: int
    group: str


class World:
    """The cluster, its network, its disks, and the checker that watches all of it.

    `node_ids` are the nodes that there are, members or not, running or not: more when machines are
    added, fewer when a node has ended for good; the tuple itself is never changed.

    Each node takes part in every one of `groups`, with a checker and a watch of its own for each; a
    world without groups has one without a name. `safety` and `members` are those of the first.
    """

    def __init__(
        self,
        seed: int,
        node_count: int,
        objects: Objects,
        observers: Sequence[TurnObserver] = (),
        chronicle: Chronicle | None = None,
        *,
        groups: int = 0,
        settings: Settings | None = None,
        lease_clock_error: float | None = None,
    ) -> None:
        self.seed: Final = seed
        self.network: Final = SimulatedNetwork(self.random("network"))
        self.node_ids: tuple[NodeId, ...] = ()
        self.nodes: Final[dict[NodeId, Life]] = {}
        self.counts: Final[Counter[str]] = Counter()
        self.violations: Final[list[Exception]] = []
        self.chronicle: Final = chronicle or Chronicle()
        self.machines: Final[dict[NodeId, SimulatedHost]] = {}
        self.disk_latency_max: Final[dict[NodeId, float]] = {}
        self.disks: Final[dict[NodeId, FaultyDisk]] = {}
        settings = settings or draw_settings(self.random)
        self.settings: Final = settings.with_leases(lease_clock_error)
        self._maker = maker_of(groups, objects, self.random("groups"))
        self.groups: Final = self._maker.groups
        self._made: dict[NodeId, Made] = {}
        self._draw_group = partial(self.random("whose leader").choice, self.groups)
        self.instances: Final[dict[NodeId, Mapping[str, object]]] = {}
        self.marks = Marks()
        self._observers = observers
        self.programs: Final = Programs(self._hit)
        self._lives: Counter[NodeId] = Counter()
        self._supervisors: dict[NodeId, asyncio.Task[None]] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self.client_hosts: Final[list[str]] = []
        self._starting: dict[NodeId, asyncio.Task[None]] = {}
        self._stopping: list[NodeId] = []
        self._dead: dict[NodeId, bool] = {}
        self.triggers: Final = Triggers()
        self._peers: dict[NodeId, dict[NodeId, str]] = {}
        names = tuple(f"n{number + 1}" for number in range(node_count))
        for name in names:
            self._add_machine(name, names)
        first = Configuration(voters=tuple(sorted(names)))
        self.checkers: Final = {group: SafetyChecker(first) for group in self.groups}
        self.watches: Final = {group: MemberWatch(first, self._hit) for group in self.groups}
        self.safety: Final = self.checkers[self.groups[0]]
        self.members: Final = self.watches[self.groups[0]]
        self.atlas: Final = FaultAtlas(self)
        self.rests: Final = RestWatch(self._hit) if groups else None

    def random(self, name: str) -> random_module.Random:
        """Return the source of chance of one part of the world."""
        return random_module.Random(f"{self.seed} {name}")

    def add_machine(self) -> NodeId:
        """Add a machine whose node, once started, waits to be added; return the node's name."""
        name = f"n{len(self.machines) + 1}"
        self._add_machine(name, (*self.members.names, name))
        return name

    def _add_machine(self, name: NodeId, peers: Sequence[NodeId]) -> None:
        self.node_ids = (*self.node_ids, name)
        self.machines[name] = self.machine(name)
        self.programs.added(name)
        self.disk_latency_max[name] = DISK_LATENCY_MAX
        self.disks[name] = self._make_disk(name)
        self._peers[name] = {peer: f"memory:{peer}" for peer in peers}

    def machine(self, name: str) -> SimulatedHost:
        """Return a machine whose monotonic clock began somewhere of its own."""
        return SimulatedHost(
            name, Clock(started_at=self.random(f"clock of {name}").uniform(0.0, 1e6))
        )

    # Who is there.

    @property
    def down(self) -> list[NodeId]:
        """The nodes that do not run, and could be started."""
        return [
            node_id
            for node_id in self.node_ids
            if not (node_id in self.nodes or node_id in self._stopping or node_id in self._dead)
        ]

    def leader(self, group: str | None = None) -> NodeId | None:
        """Return who leads a group in the highest term, None when nobody does.

        Without a name it is a group that is drawn.
        """
        leading = [
            (core.current_term, node_id)
            for node_id, core in self.cores(group or self._draw_group()).items()
            if core.role == "leader"
        ]
        return max(leading)[1] if leading else None

    def leaders(self) -> list[NodeId]:
        """Return everyone who leads any group in the highest term."""
        found = (self.leader(group) for group in self.groups)
        return list(dict.fromkeys(leader for leader in found if leader is not None))

    def cores(self, group: str | None = None) -> dict[NodeId, RaftCore]:
        """Return a group's cores on the nodes that have come as far as having one.

        Without a name it is the first group.
        """
        name = self.groups[0] if group is None else group
        parts = {node_id: self.parts(node_id) for node_id in self.nodes}
        return {node_id: each[name].driver.core for node_id, each in parts.items() if name in each}

    def parts(self, node_id: NodeId) -> Mapping[str, Member]:
        """Return a node's parts in its groups, as far as they have come to take part."""
        return self._made[node_id].parts() if node_id in self.nodes else {}

    @property
    def changed_at(self) -> tuple[int, ...]:
        """Where in the log of each group the members were last told, as far as anybody knows."""
        return tuple(watch.index for watch in self.watches.values())

    def group_of(self, path: str) -> str:
        """Return the group whose file lies at this path of a disk."""
        return next((each for each in self.groups if f"/{each}/" in path), self.groups[0])

    # Lives of nodes.

    async def start(self, node_id: NodeId) -> bool:
        """Start a node that is down, with the disk that it left behind.

        Returns whether it runs. It does not when its disk is damaged or fails, which is what it
        should do; that it does so without a reason is a violation.
        """
        if node_id not in self.down:
            return False  # somebody else has started it meanwhile, or is stopping it
        node = self._make_node(node_id)
        starting = running_loop().create_task(node.start(), context=self.machines[node_id].context)
        self._starting[node_id] = starting
        try:
            await asyncio.wait([starting])
        finally:
            if self._starting.get(node_id) is starting:
                del self._starting[node_id]
        if self.nodes.get(node_id) is not node:
            self.marks.hit("a node ends before it has started")
            return False
        error = starting.exception()
        if error is not None:
            del self.nodes[node_id]
            if not isinstance(error, StorageError):
                raise error
            self.chronicle.begin(node_id, "down", f"it did not start: {error}")
            self._explain(node_id, error)
            return False
        if self.atlas.is_damaged(node_id):
            self.marks.hit("a node starts on a damaged disk and is not harmed")
        self.chronicle.end(node_id, "down")
        self._supervisors[node_id] = asyncio.create_task(self._supervise(node_id, node))
        for group, part in self.parts(node_id).items():
            for observer in self._observers:
                name, core = in_group(group, node_id), part.driver.core
                observer.born(name, core, lambda: running_loop().true_time)
        return True

    def _make_node(self, node_id: NodeId) -> Life:
        self._lives[node_id] += 1
        life = self._lives[node_id]
        for checker in self.checkers.values():
            checker.node_started(node_id)
        if self.rests is not None:
            self.rests.born(node_id)
        made = self._maker.make(
            NodeConfig(
                node_id=node_id,
                peers=self._peers[node_id],
                data=DATA,
                is_joining=node_id not in self.members.first.voters,
                raft=self.settings.raft,
                segment_bytes=self.settings.segment_bytes,
                snapshots=self.settings.snapshots,
                compare_interval=self.settings.compare_interval,
            ),
            network=self.network.host(node_id, self.machines[node_id]),
            disk=Mount(self.disks[node_id]),
            random=self.random(f"{node_id} life {life}"),
            wall_clock=lambda: self.machines[node_id].clock.wall(running_loop().true_time),
            work_clock=lambda: running_loop().true_time,
            level=self.programs.started(node_id),
            observer=lambda group: partial(self._observe, _Part(node_id, life, group)),
        )
        self._made[node_id] = made
        self.nodes[node_id] = made.life
        self.instances[node_id] = made.objects
        return made.life

    def strike(self, node_id: NodeId, *, is_power_cut: bool = True) -> None:
        """End a node in the middle of whatever it does.

        A power cut loses what was not synced, in any part; without one the process alone ends.
        """
        for group, part in self.parts(node_id).items():
            self.watches[group].note_crash(part.driver.core)
        if self.rests is not None:
            self.rests.note_crash(node_id)
        node = self.nodes.pop(node_id)
        self.chronicle.begin(node_id, "down", "power cut" if is_power_cut else "killed")
        note(node_id)
        self._forget_life(node_id)
        self.resume(node_id)
        starting = self._starting.pop(node_id, None)
        if starting is not None:
            starting.cancel()
        # Its end is begun before its disk fails, so that it is not taken for a failed disk.
        ending = asyncio.get_running_loop().create_task(node.stop())
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)
        self.network.crash(node_id)
        disk = self.disks[node_id]
        if is_power_cut:
            disk.crash()
        else:
            disk.kill()

    async def shut_down(self, node_id: NodeId) -> bool:
        """Stop a node that runs as its process is stopped: what it leads others lead first.

        Returns whether it was this that stopped it.
        """
        node = self.nodes.get(node_id)
        if node is None or not node.is_running:
            return False
        led = [part for part in self.parts(node_id).values() if part.status().role == "leader"]
        context = self.machines[node_id].context
        await asyncio.get_running_loop().create_task(node.hand_over(), context=context)
        if self.nodes.get(node_id) is not node or not node.is_running:
            return False
        if any(part.status().role != "leader" for part in led):
            self._hit("a node that is stopped has handed over")
        await self.stop_cleanly(node_id)
        return True

    async def stop_cleanly(self, node_id: NodeId) -> None:
        """Stop a node, whatever it does; until it has ended nobody can start it."""
        node = self.nodes.pop(node_id)
        why = "stopped" if node.failure is None else f"it ended: {node.failure}"
        self.chronicle.begin(node_id, "down", why)
        note(node_id)
        self._stopping.append(node_id)
        self._forget_life(node_id)
        self.resume(node_id)
        try:
            await node.stop()
        finally:
            self._stopping.remove(node_id)

    def pause(self, node_id: NodeId) -> None:
        """Let a node's machine stand still until `resume`; its clock goes on."""
        self.chronicle.begin(node_id, "paused", "paused")
        note(node_id)
        running_loop().pause(self.machines[node_id])

    def resume(self, node_id: NodeId) -> None:
        """Let a node's machine go on, if it stands still."""
        self.chronicle.end(node_id, "paused")
        running_loop().resume(self.machines[node_id])

    async def stop(self) -> None:
        """Stop every node that runs."""
        while self.nodes:
            await self.stop_cleanly(next(iter(self.nodes)))
        await asyncio.gather(*self._endings)

    def _forget_life(self, node_id: NodeId) -> None:
        self.triggers.forget(node_id)
        supervisor = self._supervisors.pop(node_id, None)
        if supervisor is not None:
            supervisor.cancel()

    async def _supervise(self, node_id: NodeId, node: Life) -> None:
        """Start a node again that has ended by itself, if there was a reason."""
        failure = await node.wait_failed()
        del self._supervisors[node_id]
        self._explain(node_id, failure)
        await self.stop_cleanly(node_id)
        if isinstance(failure, Removed):
            self.retire(node_id)
        elif isinstance(failure, StorageError):
            await asyncio.sleep(0.3)
            if node_id not in self.nodes and not self.atlas.is_damaged(node_id):
                await self.start(node_id)

    def _explain(self, node_id: NodeId, failure: LiferaftError) -> None:
        """Count a failure that was to be expected; any other one is a violation."""
        if self.atlas.is_damaged(node_id) and isinstance(failure, StorageError):
            self.marks.hit("a node refuses a damaged disk")
        elif self.disks[node_id].failures and isinstance(failure, DiskFailed):
            self.marks.hit("a node ends because its disk failed")
        elif isinstance(failure, Removed) and node_id in self.members.committed.retired:
            self.marks.hit("a removed node is told, and ends")
        elif isinstance(failure, ReplicaDiverged):
            self.violate(InvariantViolated(f"equal replicas: {failure}"))
        else:
            self.violate(failure)

    # Nodes that go for good.

    def retire(self, node_id: NodeId) -> None:
        """Let a node that does not run be gone for good: nobody starts it any more."""
        assert node_id not in self.nodes
        self.atlas.mend(node_id)
        self._dead.pop(node_id, None)
        self.node_ids = tuple(each for each in self.node_ids if each != node_id)

    def bury(self, node_id: NodeId, *, comes_back: bool) -> None:
        """Let nobody start a node until `return_dead`; then, perhaps, nobody ever.

        It does come back in any case when it is a member still.
        """
        self._dead[node_id] = comes_back

    async def send_away(self, node_id: NodeId) -> None:
        """Stop a node for good, as an operator does with one that belongs to nobody."""
        await self.stop_cleanly(node_id)
        self.retire(node_id)

    @property
    def strangers(self) -> tuple[NodeId, ...]:
        """The nodes that belong to nobody: not yet, or not any more without knowing it."""
        known = {*self.members.names, *self.members.committed.retired}
        return tuple(node_id for node_id in self.node_ids if node_id not in known)

    @property
    def dead(self) -> tuple[NodeId, ...]:
        """The nodes that were buried."""
        return tuple(self._dead)

    def return_dead(self) -> None:
        """Let those that were buried be started again; those that stay away are gone."""
        for node_id, comes_back in list(self._dead.items()):
            del self._dead[node_id]
            if node_id in self.members.committed.retired:
                if comes_back:
                    self.marks.hit("a removed node comes back, and is told")
                else:
                    self.marks.hit("a removed node never comes back")
                    self.retire(node_id)

    def violate(self, violation: Exception) -> None:
        """Remember that a promise was broken: the run ends, and the first violation is told."""
        self.chronicle.violated()
        self.violations.append(violation)

    # What goes wrong at a moment that is not known before.

    async def strike_when(
        self,
        node_id: NodeId,
        kind: str,
        is_due: Callable[[Sequence[Event], Sequence[Effect]], bool],
    ) -> None:
        """Let the power fail right behind the first turn of a node that is due; count it."""

        def strike(node_id: NodeId) -> None:
            self.counts[kind] += 1
            self.strike(node_id)

        trigger = Trigger(is_due, strike)
        self.triggers.pull(node_id, trigger)
        await self.triggers.wait_pulled(node_id, trigger)

    def calm_disk(self, node_id: NodeId) -> None:
        """Let a node's disk be as quick as at the beginning."""
        self.disk_latency_max[node_id] = DISK_LATENCY_MAX

    def make_well(self, node_id: NodeId) -> None:
        """End all that is wrong with a machine: its disk, its clock, and that it stands still."""
        disk, machine = self.disks[node_id], self.machines[node_id]
        self.atlas.mend(node_id)
        disk.heal()
        disk.capacity_bytes = None
        disk.has_short_reads = False
        self.calm_disk(node_id)
        machine.clock.run_at(1.0, true=running_loop().true_time)
        machine.clock.wall_error = 0.0
        self.resume(node_id)

    # The clients' side.

    def connection(
        self,
        name: str,
        creator: CallerStubCreator,
        *,
        object_name: str = "",
        timeout: float,
        nodes: Sequence[NodeId] = (),
        metadata: dict[str, str] | None = None,
    ) -> CallerConnection:
        """Return a client's connection to the cluster, from a host of its own.

        It knows the addresses of `nodes`, of who the members are now if none is given: when others
        come it learns of them from those. `metadata` goes with every call.
        """
        self.client_hosts.append(name)
        members = [node_id for node_id in self.node_ids if node_id in self.members.names]
        return CallerConnection(
            [Address("memory", node_id) for node_id in nodes or members],
            interface=creator.interface,
            object=object_name,
            network=self.network.host(name),
            random=self.random(name),
            timeout=timeout,
            metadata=metadata,
        )

    def _hit(self, mark: str) -> None:
        self.marks.hit(mark)

    def _make_disk(self, node_id: NodeId) -> FaultyDisk:
        draw = self.random(f"latency of {node_id}")
        return FaultyDisk(
            self.random(f"disk {node_id}"),
            latency=lambda: draw.uniform(DISK_LATENCY_MIN, self.disk_latency_max[node_id]),
        )

    def _observe(
        self,
        part: _Part,
        driver: Driver,
        events: Sequence[Event],
        effects: Sequence[Effect],
    ) -> None:
        node_id, life, group = part
        if self._lives[node_id] != life or node_id not in self.nodes:
            return  # a dead node's last twitch
        core = driver.core
        try:
            self.checkers[group].observe(node_id, core, events, effects)
            self.watches[group].observe(node_id, core, effects)
            self.programs.check(core.state.configurations.latest)
            if self.rests is not None:
                self.rests.turn(node_id, group, core, self._made[node_id].rests(), events)
            now, name = running_loop().true_time, in_group(group, node_id)
            for observer in self._observers:
                observer.turn(name, now, core, events, effects)
        except InvariantViolated as violation:
            self.violate(of_group(violation, group))
            raise
        self.triggers.turn(node_id, events, effects)
