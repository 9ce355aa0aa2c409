"""One life of a node in the core fidelity.

`Process` is what cluster/driver.py is, on the simulator's scheduler instead of an event loop: it
steps every event that waits, takes the effects once and carries them out in their order, holds
back what must not leave before its mark is stored, applies, answers, and arms one timer. Who waits
for commands and reads is kept by the very classes that the driver uses.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from random import Random
from typing import TYPE_CHECKING, Final

from liferaft.cluster.proposals import Proposal, Proposals
from liferaft.cluster.reads import Read, Reads
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import (
    Accepted,
    Apply,
    ChangeAccepted,
    ChangeRejected,
    Compact,
    ConfigurationChanged,
    FetchSnapshot,
    Persist,
    ReadEntries,
    ReadReady,
    ReadRejected,
    Rejected,
    RestoreSnapshot,
    RoleChanged,
    Send,
    TransferEnded,
)
from liferaft.raft.events import (
    ChangeAsked,
    EntriesRead,
    Event,
    Proposed,
    Stored,
    TimePassed,
    TransferAsked,
)
from liferaft.raft.messages import AppendEntriesReply, Message, RequestVoteReply
from liferaft.raft.types import COMMAND, Configuration, Entry, NodeId
from liferaft.sim.core_machine import OLD_COPY, RegisterMachine
from liferaft.sim.core_snapshots import Snapshots

if TYPE_CHECKING:
    from liferaft.sim.core_host import Machine, Surroundings


ChangeAnswer = Callable[[ChangeAccepted | ChangeRejected], None]


class Process:
    """One life of a node."""

    def __init__(self, machine: "Machine", around: "Surroundings", random: Random) -> None:
        self.events: list[Event] = []
        self.is_asked = False
        self.applied_index = 0
        self._has_proposed = False
        self.registers = RegisterMachine()
        self._machine = machine
        self._around = around
        self._marks = around.marks
        held = machine.disk.open(self)
        self.core: Final = RaftCore(
            machine.node_id,
            around.config,
            around.first_configuration(machine.node_id),
            held.hard_state,
            held.log,
            now=machine.local_time(),
            random=Random(random.getrandbits(64)),
            snapshot=None if held.stored is None else held.stored.snapshot,
        )
        self._snapshots: Final = Snapshots(machine, around, self)
        if held.stored is not None:
            self._snapshots.recover(held.stored)
        self._changes: deque[ChangeAnswer] = deque()
        self._configuration_index = 0
        self._proposals = Proposals()
        self._reads = Reads()
        self._stored_mark = 0
        self._held: deque[Send] = deque()
        self._outbox: dict[NodeId, list[Message]] = {}
        self._is_over = False
        self._timer_at = inf
        self._timer = 0
        self.role = RoleChanged("follower", self.core.current_term, None)
        self._last_persisted = held.log.last
        self._carry_out: Final = self._handlers()
        self._arm_timer()

    def _handlers(self) -> dict[type, Callable[..., None]]:
        """Return who carries out each effect."""
        return {
            Persist: self._persist,
            Send: self._send,
            Apply: self._apply,
            ReadEntries: self._read_entries,
            Accepted: self._proposals.accepted,
            Rejected: self._rejected,
            ReadReady: self._read_ready,
            ReadRejected: self._read_rejected,
            RoleChanged: self._role_changed,
            ChangeAccepted: self._change_answered,
            ChangeRejected: self._change_answered,
            ConfigurationChanged: self._configuration_changed,
            TransferEnded: self._transfer_ended,
            FetchSnapshot: self._snapshots.fetch,
            RestoreSnapshot: self._restore,
            Compact: self._compact,
        }

    def propose(self, command: bytes, proposal: Proposal) -> None:
        """Queue a command for the next turn."""
        self._proposals.add(command, proposal)
        self.is_asked = self._has_proposed = True

    def read(self, read: Read) -> None:
        """Queue a read for the next turn."""
        self._reads.add(read, self._around.reads)
        self.is_asked = True

    def change(self, target: Configuration, answer: ChangeAnswer) -> None:
        """Ask for other members in the next turn."""
        self._changes.append(answer)
        self.events.append(ChangeAsked(target))

    def transfer(self, target: NodeId | None) -> None:
        """Ask in the next turn that somebody else leads."""
        self.events.append(TransferAsked(target))

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
            watcher.crashed(machine, "crashed")

    def end(self, *, is_silent: bool) -> None:
        """End this life. Clients learn nothing; unless `is_silent`, the last messages leave."""
        self._is_over = True
        self._snapshots.end()
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
        self._around.watcher.crashed(self._machine, "its disk failed")

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
        events.extend(self._reads.take(self._machine.local_time()))

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
            version = execute(entry.data) if entry.kind == COMMAND else OLD_COPY
            proposal = claim(entry) if has_proposed else None
            if proposal is not None:
                proposal.applied(b"%d %d %d" % (version, entry.index, entry.term))
        self.applied_index = effect.entries[-1].index
        if self.applied_index >= self._snapshots.due_at:
            self._snapshots.take()

    def _restore(self, effect: RestoreSnapshot) -> None:
        self._snapshots.restore(effect.snapshot)
        if effect.keeps_log:
            self._marks["snapshot installed under a log"] += 1
        else:
            self._last_persisted = effect.snapshot.index
            self._machine.disk.reset(effect.snapshot)

    def _compact(self, effect: Compact) -> None:
        self._machine.disk.compact(effect.index)

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

    def _change_answered(self, effect: ChangeAccepted | ChangeRejected) -> None:
        is_accepted = isinstance(effect, ChangeAccepted)
        self._marks["change accepted" if is_accepted else "change refused"] += 1
        self._changes.popleft()(effect)

    def _configuration_changed(self, effect: ConfigurationChanged) -> None:
        if effect.index < self._configuration_index:
            self._marks["change taken back"] += 1
        self._configuration_index = effect.index
        if effect.is_committed:
            self._around.watcher.members_committed(self._machine, effect)

    def _transfer_ended(self, effect: TransferEnded) -> None:
        self._marks["transfer done" if effect.problem is None else "transfer given up"] += 1

    def _role_changed(self, effect: RoleChanged) -> None:
        if effect.role != "leader":
            if self.role.role == "leader" and len(self._proposals):
                self._marks["leader deposed with commands under way"] += 1
            self._proposals.lose_all(effect.leader)
        mark = _mark_of_change(self.role, effect)
        if mark is not None:
            self._marks[mark] += 1
        self.role = effect


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
