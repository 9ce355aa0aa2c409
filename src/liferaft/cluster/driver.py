"""Drives one Raft core: waiting events in, all at once; effects out, in their order.

One turn steps every event that waits, takes the effects once, and carries them out: so everything
that was proposed while a disk write was under way shares the next one, and every peer gets one
frame a turn, however many messages it holds. Batches are made by what is waiting, never by a timer.

The driver alone knows which marks are stored, and holds back what must not leave before (Figure 2:
"updated on stable storage before responding to RPCs"). It decides nothing about Raft.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from liferaft.cluster.applying import Applying
from liferaft.cluster.changes import Changes
from liferaft.cluster.proposals import Proposal, Proposals
from liferaft.cluster.reads import Read, ReadKind, Reads
from liferaft.cluster.snapshotting import Position, SnapshotMachine, Snapshots
from liferaft.errors import ChangeRefused, LiferaftError, StorageError
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import (
    Accepted,
    Apply,
    ChangeAccepted,
    ChangeRejected,
    Compact,
    ConfigurationChanged,
    Effect,
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
from liferaft.raft.messages import Message
from liferaft.raft.state import Follower
from liferaft.raft.types import COMMAND, Configuration, Entry, EntryId, HardState, NodeId, Snapshot

Deliver = Callable[[NodeId, tuple[Message, ...]], None]
"""Gives messages to a peer, or loses them; never blocks."""

SnapshotsMaker = Callable[[Callable[[Event], None], Callable[[], Position]], Snapshots]
"""Makes the driver's snapshots of what they post to, and what tells how far the machine is."""


class Log(Protocol):
    """Where the entries and the hard state are kept: see `storage.wal.WriteAheadLog`."""

    def start(
        self, *, on_stored: Callable[[int], None], on_failure: Callable[[StorageError], None]
    ) -> None:
        """Begin to write."""

    def append(self, mark: int, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Queue a write; never blocks."""

    async def read(self, first: int, last: int, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries from `first` up to `last`, as fit `bytes_max`, at least one."""

    def begin_anew(self, base: EntryId) -> None:
        """Make void what the log holds, and let it begin behind `base`."""

    def compact(self, covered: int) -> None:
        """Drop what a stored snapshot covers."""

    @property
    def written_bytes(self) -> int:
        """How much was written since the log was opened."""


class Rest(Protocol):
    """Lets a group fall silent: see group_rest.py. Without one, a group never does."""

    def vouchers(self) -> Sequence[Event]:
        """Return what stands for heartbeats and answers that are missing; mostly nothing.

        Asked for before every turn.
        """

    def is_resting(self, events: Sequence[Event], *, is_busy: bool) -> bool:
        """Return whether the core's deadline may pass, after a turn with these events.

        Never while the node `is_busy`: there are entries left to apply.
        """

    def overdue(self, again: Callable[[], None]) -> Event | None:
        """Return what the core learns when its deadline is over: that, or a sign of life.

        None when it has to wait; `again` is called when that is over.
        """

    def wake_at(self, deadline: float) -> float:
        """Return when to wake for the core's deadline: not before it, and not long after."""


Observer = Callable[["Driver", Sequence[Event], Sequence[Effect]], None]
"""Sees every turn after it was carried out: how the simulator checks Raft's promises."""


class StateMachine(SnapshotMachine, Protocol):
    """What the log's commands are for. Deterministic: the same entries give the same answers."""

    def apply(self, entry: Entry) -> bytes:
        """Carry out the command of an entry and return its answer.

        An exception that leaves `apply` ends the node: skipping an entry would be worse.
        """


def _ignore(_: ConfigurationChanged) -> None:
    """Stand in where nobody wants to know."""


class Driver:
    """Ties the core to the disk, the peers, the state machine and the clock of the loop."""

    def __init__(
        self,
        *,
        core: RaftCore,
        log: Log,
        machine: StateMachine,
        deliver: Deliver,
        snapshots: SnapshotsMaker,
        on_failure: Callable[[LiferaftError], None],
        on_configuration: Callable[[ConfigurationChanged], None] = _ignore,
        observer: Observer | None = None,
        rest: Rest | None = None,
        work_clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`work_clock` tells how long the work of a turn takes: a loop's own stands still then."""
        self.core: Final = core
        self.applied_index = core.commit_index
        self._log = log
        self._machine = machine
        self._deliver = deliver
        self._on_failure = on_failure
        self._on_configuration = on_configuration
        self._observer = observer
        self._rest = rest
        self._is_resting = False
        self._applying = Applying(self._apply_one, work_clock)
        self.reads_answered: Final[Counter[str]] = Counter()
        """By their kinds; whoever answers a read counts it."""
        self._proposals = Proposals()
        self._reads = Reads()
        self._changes = Changes()
        self._snapshots = snapshots(self.post, self._position)
        self._events: list[Event] = []
        self._stored_mark = 0
        self._held: deque[Send] = deque()
        self._outbox: dict[NodeId, list[Message]] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._is_scheduled = False
        self._is_stopped = False
        self._leader_waiters: list[asyncio.Future[None]] = []
        self._disk_reads: set[asyncio.Task[None]] = set()
        self._carry_out: Final[dict[type, Callable[..., None]]] = {
            Persist: self._persist,
            Send: self._send,
            Apply: lambda effect: self._applying.take(effect.entries),
            ReadEntries: self._read_entries,
            Accepted: self._proposals.accepted,
            Rejected: self._proposals.rejected,
            ReadReady: self._read_ready,
            ReadRejected: self._read_rejected,
            RoleChanged: self._role_changed,
            ChangeAccepted: self._changes.accepted,
            ChangeRejected: self._changes.rejected,
            ConfigurationChanged: self._configuration_changed,
            TransferEnded: self._changes.transfer_ended,
            FetchSnapshot: self._snapshots.fetch,
            RestoreSnapshot: self._restore_snapshot,
            Compact: self._compact,
        }

    def start(self) -> None:
        """Begin to listen to the log and to the clock."""
        self._log.start(on_stored=self._stored, on_failure=self._fail)
        self._arm_timer()

    async def stop(self) -> None:
        """End: nothing is stepped, sent or applied any more; everyone who waits is sent away."""
        self._is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
        await self._snapshots.stop()
        for task in self._disk_reads:
            task.cancel()
        await asyncio.gather(*self._disk_reads, return_exceptions=True)
        self._tell_leader_waiters()
        self._proposals.take()
        while self._proposals.is_asked:
            self._proposals.rejected(Rejected(leader=None))
        self._proposals.lose_all(None)
        self._reads.reject_all()
        self._changes.lose_all()

    async def change(self, target: Configuration) -> None:
        """Make the members those of `target`; returns when that is committed.

        Raises `ChangeRefused` when nothing changes, and `OutcomeUnknown` when this node lost sight
        of the change.
        """
        self._check_running()
        changed = self._changes.ask_change()
        self.post(ChangeAsked(target))
        await changed

    async def transfer(self, target: NodeId | None) -> None:
        """Let `target`, or the best, lead; returns when this node does so no more.

        Raises `ChangeRefused` when it still leads.
        """
        self._check_running()
        transferred = self._changes.ask_transfer(target)
        self.post(TransferAsked(target))
        await transferred

    async def take_snapshot(self) -> Snapshot:
        """Store the state as it is now, or have it stored already, and return what is stored.

        Raises `OSError` where it cannot be stored.
        """
        self._check_running()
        return await self._snapshots.take()

    def _position(self) -> Position:
        index, core = self.applied_index, self.core
        return Position(index, core.term_at(index), core.configuration_at(index))

    def _check_running(self) -> None:
        if self._is_stopped:
            raise ChangeRefused("this node stops: ask another one")

    def post(self, event: Event) -> None:
        """Queue an event for the next turn."""
        self._events.append(event)
        self._schedule()

    def look_again(self) -> None:
        """Take a turn though nothing happened: whether the group may rest must be seen anew."""
        self._schedule()

    def hear_out(self) -> None:
        """Let the core know what others vouch for, before it is asked how its followers are."""
        if self._rest is not None and not self._is_stopped:
            for event in self._rest.vouchers():
                self.core.step(event, self._loop.time())

    def propose(self, command: bytes, proposal: Proposal) -> None:
        """Queue a command; `proposal` learns what became of it."""
        if self._is_stopped:
            proposal.rejected(None, is_overloaded=False)
            return
        self._proposals.add(command, proposal)
        self._schedule()

    def read(self, read: Read, kind: ReadKind = ReadKind.QUORUM) -> None:
        """Queue a linearizable read; `read` learns when it may look."""
        if self._is_stopped:
            read.rejected(None)
            return
        self._reads.add(read, kind)
        self._schedule()

    @property
    def is_stopped(self) -> bool:
        """Whether nothing is carried out any more: stopped, or failed in the midst of a turn."""
        return self._is_stopped

    @property
    def age(self) -> float:
        """How old the state can be at this moment, in seconds of this node's clock.

        What was acknowledged anywhere before that is in it. Infinite where nothing is known.
        """
        return self._loop.time() - self._reads.fresh_as_of

    async def wait_leader(self, seconds: float) -> None:
        """Wait until this node knows who leads, and has heard of it of late, at most so long.

        For who asks where to go: between the end of one leader and the beginning of the next there
        is nothing to say, and who is sent away would only come back.
        """
        if self._is_stopped or not self._is_leader_silent():
            return
        waiting = self._loop.create_future()
        self._leader_waiters.append(waiting)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await waiting

    def _is_leader_silent(self) -> bool:
        state = self.core.state
        if self._is_resting:
            return False  # others vouch for it
        if self.core.leader is None:
            return True
        if not isinstance(state.role, Follower):
            return False
        return self._loop.time() > state.role.contact + 3 * state.config.heartbeat_interval

    def _tell_leader_waiters(self) -> None:
        waiting, self._leader_waiters = self._leader_waiters, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_stopped:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        if self._is_stopped:
            return
        events, self._events = self._events, []
        commands = self._proposals.take()
        if commands:
            events.append(Proposed(commands))
        now = self._loop.time()
        events.extend(self._reads.take(now))
        if self._rest is not None:
            events[:0] = self._rest.vouchers()
        try:
            self._take_turn(events, now)
        except LiferaftError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - a bug must end the node, never skip an entry
            failure = LiferaftError(f"the node ends: {type(error).__name__}: {error}")
            failure.__cause__ = error
            self._fail(failure)

    def _take_turn(self, events: Sequence[Event], now: float) -> None:
        core = self.core
        self._applying.begin_slice()
        for event in events:
            core.step(event, now)
        effects = core.take_effects()
        for effect in effects:
            self._carry_out[type(effect)](effect)
        self._flush()
        self._reads.answer(self.applied_index)
        if self._leader_waiters and not self._is_leader_silent():
            self._tell_leader_waiters()
        self._snapshots.after_turn(self.applied_index, self._log.written_bytes)
        self._rest_or_go_on(events)
        if self._observer is not None:
            self._observer(self, events, effects)

    def _rest_or_go_on(self, events: Sequence[Event]) -> None:
        is_busy = bool(self._applying)
        if is_busy:
            self._schedule()
        self._is_resting = self._rest is not None and self._rest.is_resting(events, is_busy=is_busy)
        if not self._is_resting:
            self._arm_timer()

    def _arm_timer(self) -> None:
        at = self.core.deadline
        if self._rest is not None:
            at = self._rest.wake_at(at)
        if self._timer is not None:
            if self._timer_at <= at:
                return  # it looks again when it fires: messages move the deadline all the time
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(at, self._time_passed), at

    def _time_passed(self) -> None:
        self._timer = None
        if self._is_stopped or self._is_resting:
            return
        if self._loop.time() < self.core.deadline:
            self._arm_timer()
            return
        event = TimePassed() if self._rest is None else self._rest.overdue(self._time_passed)
        if event is not None:
            self.post(event)

    def _persist(self, effect: Persist) -> None:
        self._log.append(effect.mark, effect.hard_state, effect.entries)

    def _stored(self, mark: int) -> None:
        self._stored_mark = mark
        while self._held and self._held[0].after <= mark:
            self._put(self._held.popleft().message)
        self.post(Stored(mark))

    def _send(self, effect: Send) -> None:
        if effect.after > self._stored_mark:
            self._held.append(effect)
        else:
            self._put(effect.message)

    def _put(self, message: Message) -> None:
        self._outbox.setdefault(message.target, []).append(message)

    def _flush(self) -> None:
        if self._outbox:
            outbox, self._outbox = self._outbox, {}
            for target, messages in outbox.items():
                self._deliver(target, tuple(messages))

    def _apply_one(self, entry: Entry) -> None:
        if entry.kind == COMMAND:
            outcome = self._machine.apply(entry)
            proposal = self._proposals.claim(entry)
            if proposal is not None:
                proposal.applied(outcome)
        else:
            self._proposals.claim(entry)
        self.applied_index = entry.index

    def _read_entries(self, effect: ReadEntries) -> None:
        task = self._loop.create_task(self._read_from_log(effect))
        self._disk_reads.add(task)
        task.add_done_callback(self._disk_reads.discard)

    async def _read_from_log(self, effect: ReadEntries) -> None:
        try:
            entries = await self._log.read(effect.first, effect.last, effect.bytes_max)
        except StorageError as error:
            self._fail(error)
        else:
            self.post(EntriesRead(effect.first, entries))

    def _read_ready(self, effect: ReadReady) -> None:
        self._reads.confirmed(effect.read_ids, effect.index)

    def _read_rejected(self, effect: ReadRejected) -> None:
        self._reads.rejected(effect.read_ids, effect.leader)

    def _role_changed(self, effect: RoleChanged) -> None:
        if effect.role != "leader":
            self._proposals.lose_all(effect.leader)
            self._changes.lose_change()

    def _configuration_changed(self, effect: ConfigurationChanged) -> None:
        self._on_configuration(effect)
        self._changes.configuration_changed(effect)

    def _restore_snapshot(self, effect: RestoreSnapshot) -> None:
        snapshot = effect.snapshot
        self._applying.finish()
        self._snapshots.restore(snapshot)
        self.applied_index = snapshot.index
        if not effect.keeps_log:
            self._log.begin_anew(EntryId(snapshot.term, snapshot.index))

    def _compact(self, effect: Compact) -> None:
        # The older of the snapshots that are kept must be worth something without the newest.
        self._log.compact(min(effect.index, self._snapshots.store.covered))

    def fail(self, error: LiferaftError) -> None:
        """End for a reason that was found elsewhere: nothing is answered from now on."""
        self._fail(error)

    def _fail(self, error: LiferaftError) -> None:
        if not self._is_stopped:
            self._is_stopped = True
            self._on_failure(error)
