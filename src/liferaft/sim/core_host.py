"""One machine of the core fidelity: disk and clock, which outlive the crashes of the node on it."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final, Protocol

from liferaft.cluster.reads import ReadKind
from liferaft.raft.config import RaftConfig
from liferaft.raft.effects import ConfigurationChanged, Effect
from liferaft.raft.events import Event, Received
from liferaft.raft.types import Configuration, NodeId, Snapshot
from liferaft.sim.chronicle import Chronicle
from liferaft.sim.core_disk import CoreDisk
from liferaft.sim.core_marks import Marks
from liferaft.sim.core_network import CoreNetwork
from liferaft.sim.core_node import Process
from liferaft.sim.core_shelf import SnapshotPace
from liferaft.sim.scheduler import Scheduler

Trigger = Callable[[Sequence[Event], Sequence[Effect]], bool]
"""Says of a turn whether its node crashes in it."""


class Watcher(Protocol):
    """Who sees what happens on the machines."""

    def started(self, machine: "Machine") -> None:
        """Learn that a node begins a life."""

    def before_turn(self, machine: "Machine") -> None:
        """Look at a node before it takes a turn."""

    def after_turn(
        self, machine: "Machine", events: Sequence[Event], effects: Sequence[Effect]
    ) -> None:
        """Look at a node that has taken a turn."""

    def crashed(self, machine: "Machine", why: str) -> None:
        """Learn that a node ended by itself, or at a moment that was chosen."""

    def members_committed(self, machine: "Machine", effect: ConfigurationChanged) -> None:
        """Learn that a node knows some members as committed."""

    def saw_snapshot(self, machine: "Machine", snapshot: Snapshot, state: bytes) -> None:
        """Look at the state that a node took a snapshot of, or restored from one."""


class Surroundings:
    """What all machines of a cluster share; `reads` says who may answer them, and by what.

    Where the nodes' settings have leases, no clock runs further off than they say, nor jumps.
    """

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        network: CoreNetwork,
        configuration: Configuration,
        config: RaftConfig,
        watcher: Watcher,
        marks: Marks,
        chronicle: Chronicle,
        pace: SnapshotPace,
        reads: ReadKind,
    ) -> None:
        self.scheduler: Final = scheduler
        self.network: Final = network
        self.configuration: Final = configuration
        self.config: Final = config
        self.watcher: Final = watcher
        self.marks: Final = marks
        self.chronicle: Final = chronicle
        self.pace: Final = pace
        self.reads: Final = reads
        self.machines: Final[list[Machine]] = []
        self.number_of: Final[dict[NodeId, int]] = {}

    def add(self, machine: "Machine") -> None:
        """Let a machine be reached by its name, which is used up from now on."""
        assert machine.node_id not in self.number_of
        assert machine.number == len(self.machines)
        self.number_of[machine.node_id] = machine.number
        self.machines.append(machine)

    def first_configuration(self, node_id: NodeId) -> Configuration:
        """Return what a node is made with: one of a later machine waits to be added."""
        is_first = node_id in self.configuration.voters
        return self.configuration if is_first else Configuration(voters=())


class Machine:
    """A host: its disk and its clock outlive the node's crashes.

    The clock shows `offset + rate * virtual time`, in seconds.
    """

    def __init__(
        self,
        number: int,
        node_id: NodeId,
        around: Surroundings,
        disk: CoreDisk,
        *,
        random: Random,
        snapshot_random: Random,
    ) -> None:
        self.number: Final = number
        self.node_id: Final = node_id
        self.disk: Final = disk
        self.process: Process | None = None
        self.lives = 0
        self.is_retired = False
        self.trigger: Trigger | None = None
        self.is_paused = False
        self.deferred: list[tuple[Callable[[Any], None], Any]] = []
        self.slowness = 0.0
        self.offset = random.uniform(0.0, 1e5)
        self.rate = 1.0
        self.disk.snapshots.pace = around.pace
        self._around = around
        self._random = random
        self.snapshot_random: Final = snapshot_random
        self.snapshot_every: Final = around.pace.every * snapshot_random.choice((1, 1, 20))
        self._pauses = 0
        self._next_turn = 0.0

    # Life and death.

    def start(self) -> None:
        """Begin a life with what the disk holds."""
        assert self.process is None, f"{self.node_id} runs already"
        assert not self.is_retired, f"{self.node_id} was removed"
        self.lives += 1
        self._around.chronicle.end(self.node_id, "down")
        self.process = Process(self, self._around, self._random)
        self._around.watcher.started(self)

    def crash(self, why: str, *, is_silent: bool = False) -> None:
        """End the life. With `is_silent`, what its last turn wanted to send does not leave."""
        process, self.process = self.process, None
        assert process is not None, f"{self.node_id} is down already"
        process.end(is_silent=is_silent)
        self.trigger = None
        self.deferred.clear()
        self._pauses, self.is_paused = 0, False
        self._around.chronicle.end(self.node_id, "paused")
        self._around.chronicle.begin(self.node_id, "down", why)
        self.disk.crash()

    # What the scheduler calls.

    def receive(self, frame: list[Received]) -> None:
        """Take a frame of messages, if a node is there to take it."""
        if self.process is None:
            self._around.marks["message to a node that is down"] += len(frame)
        else:
            self.process.events += frame

    def turn(self) -> None:
        """Let the node work on what reached it, if there is anything and the machine is free."""
        process = self.process
        if process is None or not (process.events or process.is_asked):
            return
        if self.slowness and not self._is_free():
            return
        process.turn()

    def _is_free(self) -> bool:
        scheduler = self._around.scheduler
        if scheduler.now >= self._next_turn:
            self._next_turn = scheduler.now + self.slowness
            return True
        scheduler.at(self._next_turn, self.number, _nothing, None)
        return False

    # Clock and pauses.

    def local_time(self) -> float:
        """Return what the machine's clock shows."""
        return self.offset + self.rate * self._around.scheduler.now

    def virtual_time(self, local_time: float) -> float:
        """Return when the clock shows `local_time`, or a nanosecond later."""
        return (local_time - self.offset) / self.rate + 1e-9

    def set_clock(self, *, rate: float, jump: float = 0.0) -> None:
        """Let the clock run at another rate from now on, and jump forward by so many seconds.

        With leases neither by more than their settings allow.
        """
        assert jump >= 0, "a monotonic clock does not go back"
        error = self._around.config.lease_clock_error
        if error is not None:
            rate, jump = min(max(rate, 1 - error / 2), 1 + error / 2), 0.0
        now = self._around.scheduler.now
        self.offset, self.rate = self.local_time() + jump - rate * now, rate
        if self.process is not None:
            self.process.look_at_clock()

    def pause(self) -> int:
        """Stop the node as SIGSTOP does; what reaches it gathers. Returns its life."""
        self._pauses += 1
        self.is_paused = True
        self._around.chronicle.begin(self.node_id, "paused", "paused")
        return self.lives

    def resume(self, life: int) -> None:
        """Undo one `pause` of that life; once all are undone, the node goes on."""
        if life != self.lives or not self._pauses:
            return
        self._pauses -= 1
        if not self._pauses:
            self.resume_all()

    def resume_all(self) -> None:
        """Undo every pause."""
        self._pauses, self.is_paused = 0, False
        self._around.chronicle.end(self.node_id, "paused")
        calls, self.deferred = self.deferred, []
        scheduler = self._around.scheduler
        for function, argument in calls:
            scheduler.at(scheduler.now, self.number, function, argument)


def _nothing(_: object) -> None:
    """Be called, so that a machine that was busy takes its turn."""
