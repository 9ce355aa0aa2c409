"""A cluster of cores in memory: a bag of messages, disks that finish when told, time by hand.

A test decides what is delivered, lost, repeated or reordered, when writes complete, who crashes.
After every step each server's own invariants are checked, and the promises across servers; and of
every message that leaves, that the disk of its sender holds what it promises.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from liferaft.errors import InvariantViolated
from liferaft.raft.config import RaftConfig
from liferaft.raft.configuration import members
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
    Rejected,
    RestoreSnapshot,
    Send,
    TransferEnded,
)
from liferaft.raft.events import (
    ChangeAsked,
    EntriesRead,
    Event,
    Proposed,
    ReadAsked,
    Received,
    SnapshotFetched,
    SnapshotLost,
    SnapshotStored,
    Stored,
    TimePassed,
    TransferAsked,
)
from liferaft.raft.invariants import check_state, check_transition, observe
from liferaft.raft.log import LogSummary
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshotReply,
    Message,
    RequestVote,
    RequestVoteReply,
)
from liferaft.raft.types import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    NodeId,
    Snapshot,
    TermRun,
)

NODES = ("a", "b", "c", "d", "e")
MANY_NODES = (*NODES, "f", "g")


def entries_of(terms: Sequence[int], *, first: int = 1) -> tuple[Entry, ...]:
    """Return entries of these terms, one after the other."""
    return tuple(
        Entry(term, index, int(EntryKind.COMMAND), f"{term}.{index}".encode())
        for index, term in enumerate(terms, first)
    )


def summary_of(
    entries: Sequence[Entry], *, tail_length: int | None = None, base: int = 0
) -> LogSummary:
    """Return what a disk with these entries is read as; up to `base` they were compacted."""
    held = entries[base:]
    runs: list[TermRun] = []
    for entry in held:
        if not runs or runs[-1].term != entry.term:
            runs.append(TermRun(entry.term, entry.index))
    kept = len(held) if tail_length is None else min(tail_length, len(held))
    return LogSummary(
        first=base + 1,
        last=len(entries),
        runs=tuple(runs),
        tail=tuple(held[len(held) - kept :]),
        prior_term=entries[base - 1].term if base else 0,
        configurations=tuple(e for e in held if e.kind == EntryKind.CONFIGURATION),
    )


def core_of(
    *,
    node_id: NodeId = "a",
    voters: Sequence[NodeId] = ("a", "b", "c"),
    learners: Sequence[NodeId] = (),
    terms: Sequence[int] = (),
    hard_state: HardState | None = None,
    config: RaftConfig | None = None,
    seed: int = 1,
    tail_length: int | None = None,
) -> RaftCore:
    """Return a core alone, with a log of these terms on its disk."""
    return RaftCore(
        node_id,
        config or RaftConfig(),
        Configuration(voters=tuple(voters), learners=tuple(learners)),
        hard_state or HardState(current_term=max(terms, default=0)),
        summary_of(entries_of(terms), tail_length=tail_length),
        now=0.0,
        random=Random(seed),
    )


@dataclass
class Node:
    """One server: its core, and what is outside of it."""

    core: RaftCore
    hard_state: HardState
    log: list[Entry]
    base: int = 0
    snapshots: list[Snapshot] = field(default_factory=list)
    fetch: FetchSnapshot | None = None
    is_removed: bool = False
    changes: list[ChangeAccepted | ChangeRejected] = field(default_factory=list)
    transfers: list[TransferEnded] = field(default_factory=list)
    configuration: ConfigurationChanged | None = None
    writes: list[Persist | RestoreSnapshot] = field(default_factory=list)
    held: list[Send] = field(default_factory=list)
    stored_mark: int = 0
    is_up: bool = True
    applied: list[Entry] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    answers: list[Accepted | Rejected] = field(default_factory=list)
    ready: dict[int, int] = field(default_factory=dict)

    @property
    def commands(self) -> list[bytes]:
        """What the state machine was given."""
        return [entry.data for entry in self.applied if entry.kind == EntryKind.COMMAND]


class Cluster:
    """Some nodes and the messages between them."""

    def __init__(
        self,
        size: int = 3,
        *,
        logs: Mapping[NodeId, Sequence[int]] | None = None,
        hard_states: Mapping[NodeId, HardState] | None = None,
        config: RaftConfig | None = None,
        learners: Sequence[NodeId] = (),
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.bag: list[Message] = []
        self.is_disk_fast = True
        self.random = Random(seed)
        self.config = config or RaftConfig()
        assert size <= len(MANY_NODES)
        self.configuration = Configuration(voters=MANY_NODES[:size], learners=tuple(learners))
        self.nodes: dict[NodeId, Node] = {}
        self.tail_length: int | None = None
        self._leaders: dict[int, NodeId] = {}
        self._seen: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._committed: list[Entry] = []
        self._commit_at_read: dict[tuple[NodeId, int], int] = {}
        for node_id in members(self.configuration):
            entries = list(entries_of((logs or {}).get(node_id, ())))
            term = max((entry.term for entry in entries), default=0)
            hard_state = (hard_states or {}).get(node_id, HardState(current_term=term))
            core = self._core(
                node_id, hard_state, summary_of(entries, tail_length=self.tail_length)
            )
            self.nodes[node_id] = Node(core, hard_state, entries)

    def _core(
        self,
        node_id: NodeId,
        hard_state: HardState,
        log: LogSummary,
        snapshot: Snapshot | None = None,
    ) -> RaftCore:
        is_new = node_id not in members(self.configuration)
        return RaftCore(
            node_id,
            self.config,
            Configuration(voters=()) if is_new else self.configuration,
            hard_state,
            log,
            now=self.now,
            random=self.random,
            snapshot=snapshot,
        )

    def __getitem__(self, node_id: NodeId) -> RaftCore:
        return self.nodes[node_id].core

    @property
    def leaders(self) -> list[NodeId]:
        """Who leads at present, in any term."""
        return [name for name, node in self.nodes.items() if node.core.role == "leader"]

    @property
    def committed(self) -> list[Entry]:
        """Everything that was ever committed anywhere, from index 1."""
        return self._committed

    # What a test does.

    def step(self, node_id: NodeId, *events: Event) -> list[Effect]:
        """Step the events, take the effects once, carry them out; return them."""
        node = self.nodes[node_id]
        for event in events:
            before = observe(node.core)
            was_leader = node.core.role == "leader"
            node.core.step(event, self.now)
            check_state(node.core)
            check_transition(before, observe(node.core))
            if not was_leader and node.core.role == "leader":
                self._check_new_leader(node_id, node)
        before = observe(node.core)
        effects = node.core.take_effects()
        check_state(node.core)
        check_transition(before, observe(node.core))
        node.effects.extend(effects)
        for effect in effects:
            self._carry_out(node_id, node, effect)
        if self.is_disk_fast:
            self.store(node_id)
        return effects

    def pass_time(self, seconds: float) -> None:
        """Let time pass, waking every node at each of its deadlines; nothing is delivered."""
        until = self.now + seconds
        while True:
            due = [
                (n.core.deadline, name)
                for name, n in self.nodes.items()
                if n.is_up and not n.is_removed
            ]
            deadline, name = min(due, default=(until + 1, ""))
            if deadline > until:
                self.now = until
                return
            self.now = max(self.now, deadline)
            self.step(name, TimePassed())

    def time_out(self, node_id: NodeId) -> list[Effect]:
        """Let time pass to this node's deadline, and wake it alone."""
        self.now = max(self.now, self[node_id].deadline)
        return self.step(node_id, TimePassed())

    def forget_leader(self, *node_ids: NodeId) -> None:
        """Let the election timeout pass, so that these nodes are loyal to nobody."""
        self.now += self.config.election_timeout

    def elect(self, node_id: NodeId) -> None:
        """Make the node leader, in a cluster where everyone hears everyone."""
        self.forget_leader()
        self.time_out(node_id)
        self.settle()
        assert self[node_id].role == "leader"

    def propose(self, node_id: NodeId, *commands: bytes) -> Accepted | Rejected:
        """Propose, and return the answer."""
        self.step(node_id, Proposed(commands))
        return self.nodes[node_id].answers[-1]

    def read(
        self,
        node_id: NodeId,
        read_id: int,
        *,
        may_use_lease: bool = False,
        may_follow: bool = False,
    ) -> list[Effect]:
        """Ask for a linearizable read."""
        self._commit_at_read[node_id, read_id] = len(self._committed)
        return self.step(node_id, ReadAsked(read_id, may_use_lease, may_follow))

    def add_node(self, node_id: NodeId) -> None:
        """Start a node that waits to be made a member."""
        self.nodes[node_id] = Node(self._core(node_id, HardState(), LogSummary()), HardState(), [])

    def change(self, node_id: NodeId, target: Configuration) -> ChangeAccepted | ChangeRejected:
        """Ask for other members, and return the answer."""
        self.step(node_id, ChangeAsked(target))
        return self.nodes[node_id].changes[-1]

    def transfer(self, node_id: NodeId, target: NodeId | None = None) -> list[Effect]:
        """Ask that somebody else leads."""
        return self.step(node_id, TransferAsked(target))

    def take_snapshot(self, node_id: NodeId) -> Snapshot:
        """Take a snapshot of what the node has applied."""
        node = self.nodes[node_id]
        index = len(node.applied)
        core = node.core
        snapshot = Snapshot(index, core.term_at(index), core.configuration_at(index))
        node.snapshots = [*node.snapshots[-1:], snapshot]
        self.step(node_id, SnapshotStored(snapshot))
        return snapshot

    def fetch(self, node_id: NodeId) -> None:
        """Let the node have the snapshot that it wants, if its source still has it."""
        node = self.nodes[node_id]
        assert node.fetch is not None
        source, snapshot = self.nodes[node.fetch.source], node.fetch.snapshot
        node.fetch = None
        if source.is_up and snapshot in source.snapshots:
            node.snapshots = [*node.snapshots[-1:], snapshot]
            self.step(node_id, SnapshotFetched(snapshot))
        else:
            self.step(node_id, SnapshotLost(snapshot))

    def heartbeat(self, node_id: NodeId) -> None:
        """Let the leader send its next heartbeats."""
        self.time_out(node_id)

    def store(self, node_id: NodeId) -> None:
        """Complete all writes under way, and let leave what waited for them."""
        while self.nodes[node_id].writes:
            self.store_one(node_id)

    def store_one(self, node_id: NodeId) -> None:
        """Complete the oldest write."""
        node = self.nodes[node_id]
        write = node.writes.pop(0)
        self._write(node, write)
        if isinstance(write, RestoreSnapshot):
            return
        node.stored_mark = write.mark
        leaving = [send for send in node.held if send.after <= write.mark]
        node.held = [send for send in node.held if send.after > write.mark]
        for send in leaving:
            self._leave(node, send.message)
        self.step(node_id, Stored(write.mark))

    def deliver(self, message: Message) -> None:
        """Deliver a message, which stays in the bag if it is there; it may be delivered again."""
        node = self.nodes[message.target]
        if node.is_up and not node.is_removed:
            self.step(message.target, Received(message))

    def take(self, choose: Callable[[Message], bool]) -> list[Message]:
        """Take these messages out of the bag, so lose them or deliver them later."""
        taken = [message for message in self.bag if choose(message)]
        self.bag = [message for message in self.bag if not choose(message)]
        return taken

    def settle(self, *, cut: Sequence[NodeId] = (), rounds: int = 1000) -> None:
        """Deliver everything until nothing is left; messages of and to `cut` nodes are lost."""
        for _ in range(rounds):
            if not self.bag:
                return
            message = self.bag.pop(0)
            if message.source not in cut and message.target not in cut:
                self.deliver(message)
        raise AssertionError("the cluster does not come to rest")

    def settle_prevotes(self, node_id: NodeId) -> None:
        """Deliver the node's requests for pre-votes, and the answers; nothing else."""
        while self[node_id].role == "pre-candidate":
            self.deliver(self.bag.pop(0))
        self.take(lambda message: getattr(message, "is_prevote", False))

    def crash(self, node_id: NodeId, *, kept_writes: int = 0) -> None:
        """Stop the node; writes under way are lost but for the first few."""
        node = self.nodes[node_id]
        for write in node.writes[:kept_writes]:
            self._write(node, write)
        node.writes, node.held, node.is_up = [], [], False

    def restart(self, node_id: NodeId) -> None:
        """Start the node from its disk."""
        old = self.nodes[node_id]
        snapshot = max(old.snapshots, key=lambda each: each.index, default=None)
        log, base = old.log, old.base
        if snapshot is not None and not _holds(log, snapshot):
            # The crash came between the snapshot and the log's reset.
            log, base = self._committed[: snapshot.index], snapshot.index
        summary = summary_of(log, tail_length=self.tail_length, base=base)
        core = self._core(node_id, old.hard_state, summary, snapshot)
        node = self.nodes[node_id] = Node(core, old.hard_state, list(log), base, old.snapshots)
        if snapshot is not None:
            node.applied = self._committed[: snapshot.index]

    # What a driver does, and what is checked meanwhile.

    def _carry_out(self, node_id: NodeId, node: Node, effect: Effect) -> None:
        match effect:
            case Persist():
                self._check_log_matching(node, effect.entries)
                node.writes.append(effect)
            case Send():
                if effect.after > node.stored_mark:
                    node.held.append(effect)
                else:
                    self._leave(node, effect.message)
            case Apply():
                self._check_applied(node, effect.entries)
            case ReadEntries():
                entries = _read(node, effect)
                self.step(node_id, EntriesRead(effect.first, entries))
            case ReadReady():
                self._check_reads(node_id, node, effect)
            case RestoreSnapshot():
                self._restore(node, effect)
            case _:
                _note(node_id, node, effect)

    def _restore(self, node: Node, effect: RestoreSnapshot) -> None:
        node.applied = self._committed[: effect.snapshot.index]
        if not effect.keeps_log:
            node.writes.append(effect)

    def _check_reads(self, node_id: NodeId, node: Node, effect: ReadReady) -> None:
        for read_id in effect.read_ids:
            node.ready[read_id] = effect.index
            if effect.index < self._commit_at_read.get((node_id, read_id), 0):
                raise InvariantViolated(f"read {read_id} at {effect.index} is stale")

    def _leave(self, node: Node, message: Message) -> None:
        """Check that the disk holds what the message promises: persist before you answer."""
        if _is_premature(node, message):
            raise InvariantViolated(f"it promises what is not stored: {message}")
        self.bag.append(message)

    def _check_log_matching(self, node: Node, entries: Sequence[Entry]) -> None:
        previous_term = node.core.term_at(entries[0].index - 1) if entries else 0
        for entry in entries:
            seen = (previous_term, entry.data)
            if self._seen.setdefault((entry.index, entry.term), seen) != seen:
                raise InvariantViolated(f"log matching: {entry} differs elsewhere")
            previous_term = entry.term

    def _write(self, node: Node, write: Persist | RestoreSnapshot) -> None:
        if isinstance(write, RestoreSnapshot):
            node.log = self._committed[: write.snapshot.index]
            node.base = write.snapshot.index
        else:
            _write(node, write)

    def _check_applied(self, node: Node, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.index != len(node.applied) + 1:
                raise InvariantViolated(f"{entry} is applied after {len(node.applied)}")
            node.applied.append(entry)
            if entry.index > len(self._committed):
                self._committed.append(entry)
            elif self._committed[entry.index - 1] != entry:
                raise InvariantViolated(f"state machine safety: {entry} differs elsewhere")

    def _check_new_leader(self, node_id: NodeId, node: Node) -> None:
        term = node.core.current_term
        if self._leaders.setdefault(term, node_id) != node_id:
            raise InvariantViolated(f"{node_id} and {self._leaders[term]} lead in term {term}")
        for entry in self._committed[node.core.state.log.base_index :]:
            if entry.index > node.core.last_index or node.core.term_at(entry.index) != entry.term:
                raise InvariantViolated(f"leader completeness: {node_id} leads without {entry}")


def _is_premature(node: Node, message: Message) -> bool:
    disk = node.hard_state
    is_prevote = isinstance(message, RequestVote | RequestVoteReply) and message.is_prevote
    if is_prevote:
        return False
    if disk.current_term != message.term:
        return disk.current_term < message.term
    if isinstance(message, RequestVoteReply) and message.is_granted:
        return disk.voted_for != message.target
    covered = max([len(node.log), *(snapshot.index for snapshot in node.snapshots)])
    if isinstance(message, AppendEntriesReply | InstallSnapshotReply):
        return covered < message.match_index
    return False


def _note(node_id: NodeId, node: Node, effect: Effect) -> None:
    """Remember what a test may ask for."""
    match effect:
        case Accepted() | Rejected():
            node.answers.append(effect)
        case ChangeAccepted() | ChangeRejected():
            node.changes.append(effect)
        case TransferEnded():
            node.transfers.append(effect)
        case FetchSnapshot():
            node.fetch = effect
        case Compact():
            node.base = effect.index
        case ConfigurationChanged():
            node.configuration = effect
            if effect.is_committed and node_id in effect.configuration.retired:
                node.is_removed = True


def _holds(log: Sequence[Entry], snapshot: Snapshot) -> bool:
    return len(log) >= snapshot.index and log[snapshot.index - 1].term == snapshot.term


def _write(node: Node, write: Persist) -> None:
    if write.hard_state is not None:
        node.hard_state = write.hard_state
    if write.entries:
        del node.log[write.entries[0].index - 1 :]
        node.log.extend(write.entries)


def _read(node: Node, effect: ReadEntries) -> tuple[Entry, ...]:
    read: list[Entry] = []
    size_bytes = 0
    assert effect.first > node.base, "what was compacted cannot be read"
    for entry in node.log[effect.first - 1 : effect.last]:
        size_bytes += len(entry.data)
        if read and size_bytes > effect.bytes_max:
            break
        read.append(entry)
    return tuple(read)


def sent(effects: Sequence[Effect]) -> list[Message]:
    """Return the messages among the effects."""
    return [effect.message for effect in effects if isinstance(effect, Send)]


def has_entries(message: Message) -> bool:
    """Return whether the message is an AppendEntries that is no heartbeat."""
    return isinstance(message, AppendEntries) and bool(message.entries)
