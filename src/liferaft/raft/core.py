"""Figure 2, Rules for Servers, All Servers: the term gate, the dispatch, and the role changes.

The core is a function of (state, event, now, random). It has no clock, does no I/O and never
waits. `step` takes one event; `take_effects` then says what is to be done for all events stepped
since the last time, together. The same events at the same times give the same effects, always.

Nothing else changes the role of a node. What the roles do is in the modules named after it:
voting, campaigning, following, leading, reading; the rules they share are in commitment, quorum,
log and effects.
"""

import random as random_module
from collections.abc import Callable

from liferaft.errors import InvariantViolated
from liferaft.raft import config as raft_config
from liferaft.raft import configuration as raft_configuration
from liferaft.raft.campaigning import campaign_result, count_vote, is_of_campaign, vote_requests
from liferaft.raft.commitment import advance_commit_index
from liferaft.raft.config import RaftConfig
from liferaft.raft.effects import (
    Apply,
    Effect,
    Outbox,
    ReadEntries,
    ReadRejected,
    Rejected,
    RoleChanged,
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
from liferaft.raft.following import receive_entries, refuse_entries
from liferaft.raft.inflation import TermLimit
from liferaft.raft.leading import (
    begin_term,
    has_quorum_contact,
    pass_time,
    propose,
    replicate,
    take_reply,
)
from liferaft.raft.log import LogSummary, RaftLog
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Message,
    RequestVote,
    RequestVoteReply,
    is_sound,
)
from liferaft.raft.quorum import VoteResult
from liferaft.raft.reading import begin_reads, take_confirmed, take_unconfirmed
from liferaft.raft.state import Candidate, Follower, Leader, PreCandidate, RaftState
from liferaft.raft.statistics import CoreStatistics, FollowerStatistics
from liferaft.raft.types import Configuration, HardState, NodeId
from liferaft.raft.voting import answer_vote_request, is_loyal


class RaftCore:
    """One server of a Raft cluster, without its disk, its network and its clock.

    `hard_state` and `log` are what the disk held at the start. `now` is in seconds of a monotonic
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
    ) -> None:
        raft_log = RaftLog(log)
        if raft_log.last_term > hard_state.current_term:
            raise InvariantViolated(
                f"the log is of term {raft_log.last_term}, the node of {hard_state.current_term}"
            )
        self._state = RaftState(
            node_id=node_id,
            config=raft_config.checked(config),
            configuration=raft_configuration.checked(configuration),
            random=random,
            now=now,
            hard_state=hard_state,
            log=raft_log,
            commit_index=raft_log.base_index,
            last_applied=raft_log.base_index,
            election_deadline=now,
        )
        self._state.restart_election_timer()
        self._outbox = Outbox(hard_state)
        self._told = RoleChanged(self.role, self.current_term, self.leader)
        self._told_hard_state = hard_state
        self._is_reading = False
        self._campaigns = 0
        self._unsound_messages = 0
        self._term_limit = TermLimit(config.election_timeout)
        self._handle_event: dict[type, Callable[..., None]] = {
            Received: self._received,
            TimePassed: self._time_passed,
            Proposed: self._proposed,
            ReadAsked: self._read_asked,
            Stored: self._stored,
            EntriesRead: self._entries_read,
        }
        self._handle_message: dict[type, Callable[..., None]] = {
            RequestVote: self._request_vote,
            RequestVoteReply: self._request_vote_reply,
            AppendEntries: self._append_entries,
            AppendEntriesReply: self._append_entries_reply,
        }

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
    def deadline(self) -> float:
        """When `TimePassed` should be stepped next; moves with every event."""
        role = self._state.role
        return role.heartbeat_due if isinstance(role, Leader) else self._state.election_deadline

    def term_at(self, index: int) -> int:
        """Return the term of the entry at `index`, from the base of the log up to the last."""
        return self._state.log.term_at(index)

    def step(self, event: Event, now: float) -> None:
        """Take one event. Raises `InvariantViolated` when the node must stop."""
        state = self._state
        if now > state.now:  # noqa: PLR1730 - max() costs three times as much, at every event
            state.now = now
        role = state.role
        if isinstance(role, Leader) and not has_quorum_contact(state, role):
            self._become_follower(None)
        self._handle_event[type(event)](event)
        if state.role is not role or state.hard_state is not self._told_hard_state:
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
            for ready in take_confirmed(state, state.role):
                outbox.answer(ready)
        effects = outbox.take(state.hard_state, state.log)
        if state.last_applied < state.commit_index and not self._apply(effects):
            missing = state.last_applied + 1
        if missing is not None:
            self._read_missing(missing, effects)
        state.log.trim(state.last_applied, state.config.tail_bytes_max)
        return effects

    def statistics(self) -> CoreStatistics:
        """Return how the core is doing."""
        state = self._state
        leader = state.role if isinstance(state.role, Leader) else None
        progress = leader.progress if leader is not None else {}
        return CoreStatistics(
            node_id=state.node_id,
            role=self.role,
            current_term=state.current_term,
            leader=state.leader,
            commit_index=state.commit_index,
            last_applied=state.last_applied,
            last_index=state.log.last_index,
            stable_index=state.log.stable_index,
            tail_bytes=state.log.tail_bytes,
            uncommitted_bytes=leader.uncommitted_bytes if leader is not None else 0,
            campaigns=self._campaigns,
            unsound_messages=self._unsound_messages,
            followers=tuple(
                FollowerStatistics(
                    node_id=peer,
                    state=follower.state.value,
                    match_index=follower.match_index,
                    next_index=follower.next_index,
                    inflight_messages=len(follower.inflight),
                    inflight_bytes=follower.inflight_bytes,
                    contact=follower.contact,
                )
                for peer, follower in progress.items()
            ),
        )

    # Effects beside messages.

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
        if self._is_reading:
            return
        self._is_reading = True
        last = self._state.log.first_held - 1
        effects.append(ReadEntries(first, last, self._state.config.read_bytes_max))

    def _tell_role(self) -> None:
        state, told = self._state, self._told
        self._told_hard_state = state.hard_state
        role, term, leader = state.role.name, state.current_term, state.leader
        if role != told.role or term != told.term or leader != told.leader:
            self._told = RoleChanged(role, term, leader)
            self._outbox.answer(self._told)

    # Events.

    def _time_passed(self, _: TimePassed) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            pass_time(state, state.role)
        elif state.now >= state.election_deadline:
            # "If election timeout elapses without receiving AppendEntries RPC from current leader
            # or granting vote to candidate: convert to candidate", and likewise for a candidate.
            if raft_configuration.is_voter(state.configuration, state.node_id):
                self._become_pre_candidate()
            else:
                state.restart_election_timer()

    def _proposed(self, event: Proposed) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            self._outbox.answer(propose(state, state.role, event.commands))
        else:
            self._outbox.answer(Rejected(leader=state.leader))

    def _read_asked(self, event: ReadAsked) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            state.role.reads_asked.append(event.read_id)
        else:
            self._outbox.answer(ReadRejected((event.read_id,), state.leader))

    def _stored(self, event: Stored) -> None:
        state = self._state
        self._outbox.stored(event.mark)
        state.log.stored(event.mark)
        if isinstance(state.role, Leader):
            advance_commit_index(state, state.role)
        elif isinstance(state.role, Candidate) and self._outbox.is_stored(state.hard_state):
            state.role.votes[state.node_id] = True
            self._judge_campaign(state.role)

    def _entries_read(self, event: EntriesRead) -> None:
        self._is_reading = False
        self._state.log.fill_window(event.entries)

    # Messages.

    def _received(self, event: Received) -> None:
        message = event.message
        if not self._is_for_us(message):
            self._unsound_messages += 1
        elif self._pass_term_gate(message):
            self._handle_message[type(message)](message)

    def _is_for_us(self, message: Message) -> bool:
        node_id = self._state.node_id
        return message.target == node_id and message.source != node_id and is_sound(message)

    def _pass_term_gate(self, message: Message) -> bool:
        """Compare terms; returns whether the message is still to be handled.

        "If RPC request or response contains term T > currentTerm: set currentTerm = T, convert to
        follower". Not so what a pre-vote carries: nobody has adopted that term. Nor a vote request
        to one who hears a live leader (D§4.2.3): it is refused, and changes nothing.
        """
        state = self._state
        if message.term > state.current_term:
            return self._is_without_term(message) or self._adopt_term(message)
        if message.term < state.current_term and isinstance(message, AppendEntries):
            # The answer tells a deposed leader its place, and a leader of a lower term than a
            # node that campaigned in vain that it must go higher.
            self._outbox.send(refuse_entries(state, message))
            return False
        return message.term == state.current_term or isinstance(message, RequestVote)

    def _is_without_term(self, message: Message) -> bool:
        if isinstance(message, RequestVote):
            return message.is_prevote or (is_loyal(self._state) and not message.is_transfer)
        return isinstance(message, RequestVoteReply) and message.is_prevote and message.is_granted

    def _request_vote(self, request: RequestVote) -> None:
        self._outbox.send(answer_vote_request(self._state, request))

    def _request_vote_reply(self, reply: RequestVoteReply) -> None:
        state = self._state
        if is_of_campaign(state, reply) and isinstance(state.role, PreCandidate | Candidate):
            count_vote(state.role, reply)
            self._judge_campaign(state.role)

    def _append_entries(self, message: AppendEntries) -> None:
        state = self._state
        role = state.role
        if isinstance(role, Leader):
            raise InvariantViolated(f"{message.source} leads in term {message.term} as well")
        if not isinstance(role, Follower) or role.leader is None:
            # Candidates, "AppendEntries RPC received from new leader": convert to follower.
            self._become_follower(message.source)
        elif role.leader != message.source:
            raise InvariantViolated(
                f"{role.leader} and {message.source} both lead in term {message.term}"
            )
        assert isinstance(state.role, Follower)
        state.role.contact = state.now
        state.restart_election_timer()
        reply = receive_entries(state, message)
        self._outbox.send(reply, speaks_for_log=reply.match_index > state.log.stable_index)

    def _append_entries_reply(self, reply: AppendEntriesReply) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            take_reply(state, state.role, reply)
            if reply.is_success and reply.match_index > state.commit_index:
                advance_commit_index(state, state.role)

    # Role changes (Figure 4).

    def _adopt_term(self, message: Message) -> bool:
        """Adopt the message's term, or as much of it as may be; returns whether that was all."""
        state = self._state
        term = self._term_limit.allowed(
            message.term, current_term=state.current_term, now=state.now
        )
        is_reached = term == message.term
        if not is_reached:
            self._unsound_messages += 1
            if is_loyal(state):
                return False  # who is that far ahead is waited for when there is no leader
        if term > state.current_term:
            state.hard_state = HardState(current_term=term, voted_for=None)
            is_leader = is_reached and isinstance(message, AppendEntries)
            self._become_follower(message.source if is_leader else None)
        return is_reached

    def _become_follower(self, leader: NodeId | None) -> None:
        state, before = self._state, self._state.role
        state.role = Follower(leader)
        if not isinstance(before, Leader):
            return  # the timer runs on: only a vote granted or the leader itself restarts it
        state.restart_election_timer()
        read_ids = take_unconfirmed(before)
        if read_ids:
            self._outbox.answer(ReadRejected(read_ids, leader))

    def _become_pre_candidate(self) -> None:
        state = self._state
        state.role = PreCandidate(votes={state.node_id: True})
        state.restart_election_timer()
        self._campaigns += 1
        for request in vote_requests(state, is_prevote=True):
            self._outbox.send(request)
        self._judge_campaign(state.role)

    def _become_candidate(self) -> None:
        # "On conversion to candidate, start election: increment currentTerm, vote for self, reset
        # election timer, send RequestVote RPCs to all other servers"
        state = self._state
        state.hard_state = HardState(current_term=state.current_term + 1, voted_for=state.node_id)
        state.role = Candidate()
        state.restart_election_timer()
        for request in vote_requests(state, is_prevote=False):
            self._outbox.send(request)

    def _judge_campaign(self, role: PreCandidate | Candidate) -> None:
        result = campaign_result(self._state, role)
        if result is VoteResult.LOST:
            self._become_follower(None)
        elif result is VoteResult.WON and isinstance(role, PreCandidate):
            self._become_candidate()
        elif result is VoteResult.WON:
            # Candidates, "votes received from majority of servers": become leader.
            self._state.role = begin_term(self._state)
