"""One machine of the core fidelity, and each life of the node on it.

`Process` is what cluster/driver.py is, on the simulator's scheduler instead of an event loop: it
steps every event that waits, takes the effects once and carries them out in their order, holds
back what must not leave before its mark is stored, applies, answers, and arms one timer. Who waits
for commands and reads is kept by the very classes that the driver uses.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from random import Random
from typing import Any, Final, Protocol

from liferaft.cluster.proposals import Proposal, Proposals
from liferaft.cluster.reads import Read, Reads
from liferaft.raft.config import RaftConfig
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import (
    Accepted,
    Apply,
    Effect,
    Persist,
    ReadEntries,
    ReadReady,
    ReadRejected,
    Rejected,
    RoleChanged,
    Send,
)
from liferaft.raft.events import (
    EntriesRead,
    Event,
    Proposed,
    ReadAsked,
    Received,
    Stored,
    TimePassed,
)
from liferaft.raft.messages import AppendEntriesReply, Message, RequestVoteReply
from liferaft.raft.types import Configuration, Entry, EntryKind, NodeId
from liferaft.sim.core_disk import CoreDisk
from liferaft.sim.core_machine import OLD_COPY, RegisterMachine
from liferaft.sim.core_marks import Marks
from liferaft.sim.core_network import CoreNetwork
from liferaft.sim.scheduler import Scheduler

_COMMAND: Final = int(EntryKind.COMMAND)

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

    def crashed(self, machine: "Machine") -> None:
        """Learn that a node ended by itself, or at a moment that was chosen."""


class Surroundings:
    """What all machines of a cluster share."""

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        network: CoreNetwork,
        configuration: Configuration,
        config: RaftConfig,
        watcher: Watcher,
        marks: Marks,
    ) -> None:
        self.scheduler: Final = scheduler
        self.network: Final = network
        self.configuration: Final = configuration
        self.config: Final = config
        self.watcher: Final = watcher
        self.marks: Final = marks
        self.number_of: Final = {name: i for i, name in enumerate(configuration.voters)}


class Machine:
    """A host: its disk and its clock outlive the node's crashes.

    The clock shows `offset + rate * virtual time`, in seconds.
    """

    def __init__(
        self, number: int, node_id: NodeId, around: Surroundings, disk: CoreDisk, random: Random
    ) -> None:
        self.number: Final = number
        self.node_id: Final = node_id
        self.disk: Final = disk
        self.process: Process | None = None
        self.lives = 0
        self.trigger: Trigger | None = None
        self.is_paused = False
        self.deferred: list[tuple[Callable[[Any], None], Any]] = []
        self.slowness = 0.0
        self.offset = random.uniform(0.0, 1e5)
        self.rate = 1.0
        self._around = around
        self._random = random
        self._pauses = 0
        self._next_turn = 0.0

    # Life and death.

    def start(self) -> None:
        """Begin a life with what the disk holds."""
        assert self.process is None, f"{self.node_id} runs already"
        self.lives += 1
        self.process = Process(self, self._around, self._random)
        self._around.watcher.started(self)

    def crash(self, *, is_silent: bool = False) -> None:
        """End the life. With `is_silent`, what its last turn wanted to send does not leave."""
        process, self.process = self.process, None
        assert process is not None, f"{self.node_id} is down already"
        process.end(is_silent=is_silent)
        self.trigger = None
        self.deferred.clear()
        self._pauses, self.is_paused = 0, False
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
        """Let the clock run at another rate from now on, and jump forward by so many seconds."""
        assert jump >= 0, "a monotonic clock does not go back"
        now = self._around.scheduler.now
        self.offset, self.rate = self.local_time() + jump - rate * now, rate
        if self.process is not None:
            self.process.look_at_clock()

    def pause(self) -> int:
        """Stop the node as SIGSTOP does; what reaches it gathers. Returns its life."""
        self._pauses += 1
        self.is_paused = True
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
        calls, self.deferred = self.deferred, []
        scheduler = self._around.scheduler
        for function, argument in calls:
            scheduler.at(scheduler.now, self.number, function, argument)


class Process:
    """One life of a node."""

    def __init__(self, machine: Machine, around: Surroundings, random: Random) -> None:
        self.events: list[Event] = []
        self.is_asked = False
        self.applied_index = 0
        self._has_proposed = False
        self.registers: Final = RegisterMachine()
        self._machine = machine
        self._around = around
        self._marks = around.marks
        hard_state, log = machine.disk.open(self)
        self.core: Final = RaftCore(
            machine.node_id,
            around.config,
            around.configuration,
            hard_state,
            log,
            now=machine.local_time(),
            random=Random(random.getrandbits(64)),
        )
        self._proposals = Proposals()
        self._reads = Reads()
        self._stored_mark = 0
        self._held: deque[Send] = deque()
        self._outbox: dict[NodeId, list[Message]] = {}
        self._is_over = False
        self._timer_at = inf
        self._timer = 0
        self._role = RoleChanged("follower", hard_state.current_term, None)
        self._last_persisted = log.last
        self._carry_out: Final[dict[type, Callable[..., None]]] = {
            Persist: self._persist,
            Send: self._send,
            Apply: self._apply,
            ReadEntries: self._read_entries,
            Accepted: self._proposals.accepted,
            Rejected: self._rejected,
            ReadReady: self._read_ready,
            ReadRejected: self._read_rejected,
            RoleChanged: self._role_changed,
        }
        self._arm_timer()

    def propose(self, command: bytes, proposal: Proposal) -> None:
        """Queue a command for the next turn."""
        self._proposals.add(command, proposal)
        self.is_asked = self._has_proposed = True

    def read(self, read: Read) -> None:
        """Queue a linearizable read for the next turn."""
        self._reads.add(read)
        self.is_asked = True

    def turn(self) -> None:
        """Step what waits, take the effects once, carry them out."""
        machine = self._machine
        events, self.events = self.events, []
        if self.is_asked:
            self._take_requests(events)
        core, now, watcher = self.core, machine.local_time(), self._around.watcher
        watcher.before_turn(machine)
        for event in events:
            core.step(event, now)
        effects = core.take_effects()
        if effects:
            carry_out = self._carry_out
            for effect in effects:
                carry_out[type(effect)](effect)
            self._reads.answer(self.applied_index)
        is_last = machine.trigger is not None and machine.trigger(events, effects)
        if self._outbox and not is_last:
            self._flush()
        if core.deadline < self._timer_at:
            self._arm_timer()
        watcher.after_turn(machine, events, effects)
        if is_last:
            watcher.crashed(machine)

    def end(self, *, is_silent: bool) -> None:
        """End this life. Clients learn nothing; unless `is_silent`, the last messages leave."""
        self._is_over = True
        if not is_silent:
            self._flush()

    def look_at_clock(self) -> None:
        """Arm the timer anew, for the clock has changed."""
        self._timer_at = inf
        self._arm_timer()

    # What the disk and the timer report.

    def stored(self, mark: int) -> None:
        """Let leave what waited for this mark."""
        self._stored_mark = mark
        held = self._held
        while held and held[0].after <= mark:
            self._put(held.popleft().message)
        self.events.append(Stored(mark))

    def entries_read(self, first: int, entries: tuple[Entry, ...]) -> None:
        """Give the core what it asked the disk for."""
        self.events.append(EntriesRead(first, entries))

    def disk_failed(self) -> None:
        """End the node: a sync that failed is never tried again."""
        self._around.watcher.crashed(self._machine)

    def _arm_timer(self) -> None:
        """Look at the deadline when it is reached; messages will have moved it by then."""
        deadline = self._timer_at = self.core.deadline
        self._timer += 1
        machine, scheduler = self._machine, self._around.scheduler
        at = max(machine.virtual_time(deadline), scheduler.now)
        scheduler.at(at, machine.number, self._time_passed, self._timer)

    def _time_passed(self, timer: int) -> None:
        if timer != self._timer or self._is_over:
            return
        self._timer_at = inf
        if self._machine.local_time() >= self.core.deadline:
            self.events.append(TimePassed())
        else:
            self._arm_timer()

    # What the core wants done.

    def _take_requests(self, events: list[Event]) -> None:
        self.is_asked = False
        commands = self._proposals.take()
        if commands:
            events.append(Proposed(commands))
        read_id = self._reads.take()
        if read_id is not None:
            events.append(ReadAsked(read_id))

    def _persist(self, effect: Persist) -> None:
        if effect.entries:
            if effect.entries[0].index <= self._last_persisted:
                self._marks["log truncated"] += 1
                if self._machine.disk.is_writing(effect.entries[0].index):
                    self._marks["log truncated while it was written"] += 1
            self._last_persisted = effect.entries[-1].index
        self._machine.disk.append(effect)

    def _send(self, effect: Send) -> None:
        message = effect.message
        if effect.after > self._stored_mark:
            self._held.append(effect)
        else:
            self._put(message)
        if type(message) is AppendEntriesReply:
            if not message.is_success:
                self._marks["entries refused"] += 1
        elif type(message) is RequestVoteReply and not message.is_granted:
            self._marks["pre-vote refused" if message.is_prevote else "vote refused"] += 1

    def _put(self, message: Message) -> None:
        outbox = self._outbox.get(message.target)
        if outbox is None:
            self._outbox[message.target] = [message]
        else:
            outbox.append(message)

    def _flush(self) -> None:
        outbox, self._outbox = self._outbox, {}
        around, source = self._around, self._machine.number
        for target, messages in outbox.items():
            around.network.send(source, around.number_of[target], messages)

    def _apply(self, effect: Apply) -> None:
        claim, execute = self._proposals.claim, self.registers.apply
        has_proposed = self._has_proposed
        for entry in effect.entries:
            version = execute(entry.data) if entry.kind == _COMMAND else OLD_COPY
            proposal = claim(entry) if has_proposed else None
            if proposal is not None:
                proposal.applied(b"%d %d %d" % (version, entry.index, entry.term))
        self.applied_index = effect.entries[-1].index

    def _read_entries(self, effect: ReadEntries) -> None:
        self._machine.disk.read(effect)

    def _rejected(self, effect: Rejected) -> None:
        reason = "its queue is full" if effect.is_overloaded else "it does not lead"
        self._marks[f"proposal refused: {reason}"] += 1
        self._proposals.rejected(effect)

    def _read_ready(self, effect: ReadReady) -> None:
        if effect.index > self.applied_index:
            self._marks["read waited for the apply"] += 1
        self._reads.confirmed(effect.read_ids, effect.index)

    def _read_rejected(self, effect: ReadRejected) -> None:
        self._marks["read refused"] += 1
        self._reads.rejected(effect.read_ids, effect.leader)

    def _role_changed(self, effect: RoleChanged) -> None:
        if effect.role != "leader":
            if self._role.role == "leader" and len(self._proposals):
                self._marks["leader deposed with commands under way"] += 1
            self._proposals.lose_all(effect.leader)
        mark = _mark_of_change(self._role, effect)
        if mark is not None:
            self._marks[mark] += 1
        self._role = effect


def _mark_of_change(before: RoleChanged, after: RoleChanged) -> str | None:
    """Return the name of a change of role that should happen sometimes."""
    is_same_term = before.term == after.term
    return {
        ("leader", "follower", True): "leader stepped down without a quorum",
        ("leader", "follower", False): "leader deposed by a higher term",
        ("candidate", "pre-candidate", True): "campaign without a winner",
        ("candidate", "follower", True): "candidate yielded",
        ("candidate", "follower", False): "candidate yielded to a higher term",
        ("pre-candidate", "follower", True): "pre-candidate yielded",
        ("candidate", "leader", True): "election won",
    }.get((before.role, after.role, is_same_term))


def _nothing(_: object) -> None:
    """Be called, so that a machine that was busy takes its turn."""
