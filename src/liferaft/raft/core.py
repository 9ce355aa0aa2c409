"""The core's surface: events in, effects out.

The core is a function of (state, event, now, random). It has no clock, does no I/O and never
waits. `step` takes one event; `take_effects` then says what is to be done for all events stepped
since the last time, together. The same events at the same times give the same effects, always.

What the events do is in rules.py, and in what it calls: voting, campaigning, following, leading,
reading, installing, membership, transferring, resting; the rules they share are in commitment,
quorum, configuration, log and effects.
"""

import random as random_module
from collections.abc import Set as AbstractSet

from liferaft.errors import InvariantViolated
from liferaft.raft import config as raft_config
from liferaft.raft.config import RaftConfig
from liferaft.raft.configuration import ConfigurationLog, checked
from liferaft.raft.effects import (
    Apply,
    ConfigurationChanged,
    Effect,
    Outbox,
    ReadEntries,
    RoleChanged,
)
from liferaft.raft.events import Event, PeerAlive
from liferaft.raft.leading import has_quorum_contact, replicate
from liferaft.raft.log import LogSummary, RaftLog
from liferaft.raft.reading import answer_confirmed, begin_reads, forward_reads
from liferaft.raft.resting import may_rest
from liferaft.raft.rules import Rules
from liferaft.raft.state import Follower, Leader, RaftState
from liferaft.raft.statistics import CoreStatistics, statistics_of
from liferaft.raft.transferring import pursue_transfer
from liferaft.raft.types import Configuration, HardState, NodeId, Snapshot


class RaftCore:
    """One server of a Raft cluster, without its disk, its network and its clock.

    `hard_state`, `log` and `snapshot` are what the disk held at the start; `configuration` is the
    one that the node was made with, which counts until the log or the snapshot has another. One
    without anybody is that of a node which waits to be added. `now` is in seconds of a monotonic
    clock, the one that every `step` goes by. Raises `ConfigurationError` for settings that
    contradict each other, `InvariantViolated` for a log that is none.
    """

    def __init__(
        self,
        node_id: NodeId,
        config: RaftConfig,
        configuration: Configuration,
        hard_state: HardState,
        log: LogSummary,
        *,
        now: float,
        random: random_module.Random,
        snapshot: Snapshot | None = None,
    ) -> None:
        self._state = _first_state(
            node_id,
            config=config,
            configuration=configuration,
            hard_state=hard_state,
            log=log,
            now=now,
            random=random,
            snapshot=snapshot,
        )
        self._outbox = Outbox(hard_state)
        self._rules = Rules(self._state, self._outbox)
        self._handle_event = self._rules.handle
        self._told = RoleChanged(self.role, self.current_term, self.leader)
        self._told_hard_state = hard_state
        # Of the first configuration the driver knows, and that nobody will take it back.
        self._told_configuration = self._state.configurations.latest_index
        self._is_commit_untold = self._told_configuration > self._state.commit_index

    @property
    def state(self) -> RaftState:
        """The whole state; to be looked at (invariants, tests), never to be changed."""
        return self._state

    @property
    def role(self) -> str:
        """One of "follower", "pre-candidate", "candidate" and "leader"."""
        return self._state.role.name

    @property
    def current_term(self) -> int:
        """The latest term this node has seen."""
        return self._state.current_term

    @property
    def leader(self) -> NodeId | None:
        """Who leads the current term, as far as this node knows."""
        return self._state.leader

    @property
    def commit_index(self) -> int:
        """Up to here the log is known to be committed."""
        return self._state.commit_index

    @property
    def last_index(self) -> int:
        """The index of the last entry, stored or not."""
        return self._state.log.last_index

    @property
    def configuration(self) -> Configuration:
        """The configuration that counts: the latest in the log, committed or not."""
        return self._state.configuration

    @property
    def deadline(self) -> float:
        """When `TimePassed` should be stepped next; moves with every event."""
        state = self._state
        if isinstance(state.role, Leader):
            return state.role.heartbeat_due
        if state.forwarded:
            again_at = min(read.again_at for read in state.forwarded)
            return min(again_at, state.election_deadline)
        return state.election_deadline

    def may_rest(self, absent: AbstractSet[NodeId] = frozenset()) -> bool:
        """Return whether this node leads, and has nothing to say to anybody but those in `absent`.

        Its driver may then let the deadlines pass until there is an event, as long as others vouch
        for its node at its followers (`PeerAlive`), and none of `absent` is back.
        """
        state = self._state
        return isinstance(state.role, Leader) and may_rest(state, state.role, absent)

    def term_at(self, index: int) -> int:
        """Return the term of the entry at `index`, from the base of the log up to the last."""
        return self._state.log.term_at(index)

    def configuration_at(self, index: int) -> Configuration:
        """Return the configuration in force at `index`, of what is applied and not compacted.

        One without voters where this node, added to a cluster, has not come to the entry that tells
        them.
        """
        return self._state.configurations.at(index)

    def step(self, event: Event, now: float) -> None:
        """Take one event. Raises `InvariantViolated` when the node must stop."""
        state = self._state
        if now > state.now:  # noqa: PLR1730 - max() costs three times as much, at every event
            state.now = now
        role = state.role
        is_deposed = isinstance(role, Leader) and not has_quorum_contact(state, role)
        if is_deposed and type(event) is not PeerAlive:  # that may be the contact that is missing
            self._rules.become_follower(None)
        self._handle_event[type(event)](event)
        if state.role is not role or state.hard_state is not self._told_hard_state:
            self._tell_configuration()  # a leader that removed itself has done so by now
            self._tell_role()

    def take_effects(self) -> list[Effect]:
        """Return what is to be done for all events since the last time, in this order.

        Answers and role changes in the order of their events; one `Persist`; messages; what is
        to be applied; at most one `ReadEntries`.
        """
        state, outbox = self._state, self._outbox
        missing: int | None = None
        if isinstance(state.role, Leader):
            begin_reads(state, state.role)
            missing = replicate(state, state.role, outbox)
            answer_confirmed(state, state.role, outbox)
            pursue_transfer(state, state.role, outbox)
        elif state.reads_to_forward or state.forwarded:
            assert isinstance(state.role, Follower), "reads are refused when a campaign begins"
            forward_reads(state, state.role, outbox)
        self._tell_configuration()
        effects = outbox.take(state.hard_state, state.log, state.now)
        if state.last_applied < state.commit_index and not self._apply(effects):
            missing = state.last_applied + 1
        if missing is not None:
            self._read_missing(missing, effects)
        state.log.trim(state.last_applied, state.config.tail_bytes_max)
        return effects

    def statistics(self) -> CoreStatistics:
        """Return how the core is doing."""
        rules = self._rules
        return statistics_of(
            self._state, campaigns=rules.campaigns, unsound_messages=rules.unsound_messages
        )

    def _apply(self, effects: list[Effect]) -> bool:
        """Give out what is committed; returns False when memory does not hold the next entry.

        "If commitIndex > lastApplied: increment lastApplied, apply log[lastApplied]".
        """
        state = self._state
        while state.last_applied < state.commit_index:
            piece = state.log.piece(
                state.last_applied + 1, state.commit_index, state.config.apply_bytes_max
            )
            if piece is None:
                return False
            effects.append(Apply(piece.entries))
            state.last_applied = piece.entries[-1].index
        return True

    def _read_missing(self, first: int, effects: list[Effect]) -> None:
        """Ask for entries that memory does not hold, one request at a time."""
        if self._rules.is_reading:
            return
        self._rules.is_reading = True
        last = self._state.log.first_held - 1
        effects.append(ReadEntries(first, last, self._state.config.read_bytes_max))

    def _tell_role(self) -> None:
        state, told = self._state, self._told
        self._told_hard_state = state.hard_state
        role, term, leader = state.role.name, state.current_term, state.leader
        if role != told.role or term != told.term or leader != told.leader:
            self._told = RoleChanged(role, term, leader)
            self._outbox.answer(self._told)

    def _tell_configuration(self) -> None:
        """Tell of another configuration that counts, or that the one that counts is committed."""
        state = self._state
        index = state.configurations.latest_index
        is_committed = index <= state.commit_index
        if index == self._told_configuration and not (is_committed and self._is_commit_untold):
            return
        configurations = state.configurations
        if is_committed:
            configurations.forget_before(min(index, state.last_applied))
        self._told_configuration, self._is_commit_untold = index, not is_committed
        self._outbox.answer(ConfigurationChanged(index, configurations.latest, is_committed))


def _not_below(stored: HardState, snapshot: Snapshot | None) -> HardState:
    """Return the term and vote to start with: the stored ones, or those of the snapshot's term.

    A fetched snapshot is written beside the log, so a crash can leave it without the term that it
    was offered in. What was not stored was promised to nobody: there can be no vote in that term.
    """
    if snapshot is None or snapshot.term <= stored.current_term:
        return stored
    return HardState(snapshot.term)


def _first_state(
    node_id: NodeId,
    *,
    config: RaftConfig,
    configuration: Configuration,
    hard_state: HardState,
    log: LogSummary,
    now: float,
    random: random_module.Random,
    snapshot: Snapshot | None,
) -> RaftState:
    """Return the state of a server that starts with what its disk held."""
    raft_log = RaftLog(log)
    hard_state = _not_below(hard_state, snapshot)
    if raft_log.last_term > hard_state.current_term:
        raise InvariantViolated(
            f"the log is of term {raft_log.last_term}, the node of {hard_state.current_term}"
        )
    covered = 0 if snapshot is None else snapshot.index
    if not raft_log.base_index <= covered <= raft_log.last_index:
        raise InvariantViolated(
            f"the snapshot ends at {covered}, the log holds what is behind {raft_log.base_index}"
            f" up to {raft_log.last_index}"
        )
    if configuration != Configuration(voters=()):
        checked(configuration)
    base = configuration if snapshot is None else snapshot.configuration
    later = [entry for entry in log.configurations if entry.index > covered]
    state = RaftState(
        node_id=node_id,
        config=raft_config.checked(config),
        configurations=ConfigurationLog(base, covered, later),
        random=random,
        now=now,
        hard_state=hard_state,
        log=raft_log,
        commit_index=covered,
        last_applied=covered,
        election_deadline=now,
        snapshot=snapshot,
    )
    if config.lease_clock_error is not None and hard_state.current_term > 0:
        state.loyal_from_start_until = now + config.election_timeout
    state.restart_election_timer()
    return state
