"""Figure 2, Rules for Servers, All Servers: the term gate, the dispatch, and the role changes.

Nothing else changes the role of a node. What the roles do is in the modules named after it.
"""

from collections.abc import Callable

from msgspec.structs import replace

from liferaft.errors import InvariantViolated
from liferaft.raft.campaigning import campaign_result, count_vote, is_of_campaign, vote_requests
from liferaft.raft.commitment import advance_commit_index
from liferaft.raft.configuration import is_voter
from liferaft.raft.effects import (
    ChangeRejected,
    Outbox,
    ReadReady,
    ReadRejected,
    Rejected,
    TransferEnded,
)
from liferaft.raft.events import (
    ChangeAsked,
    EntriesRead,
    PeerAlive,
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
from liferaft.raft.following import receive_entries, refuse_entries
from liferaft.raft.inflation import TermLimit
from liferaft.raft.installing import (
    compact,
    failed_reply,
    install,
    installed_reply,
    receive_offer,
    refuse_offer,
)
from liferaft.raft.leading import begin_term, pass_time, propose, take_reply, take_snapshot_reply
from liferaft.raft.membership import (
    ask_change,
    forget_departed,
    is_left_out,
    pursue_change,
    tell_removed,
)
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    is_sound,
)
from liferaft.raft.quorum import VoteResult
from liferaft.raft.reading import (
    REMOTE_READS_MAX,
    has_lease,
    reject_forwarded,
    take_read_reply,
    take_unconfirmed,
)
from liferaft.raft.resting import hear_of
from liferaft.raft.state import Candidate, Follower, Leader, PreCandidate, RaftState
from liferaft.raft.transferring import (
    ask_transfer,
    best_target,
    end_transfer,
    prefer,
    refused_meanwhile,
)
from liferaft.raft.types import HardState, NodeId
from liferaft.raft.voting import answer_vote_request, is_loyal


class Rules:
    """What each event does to the state of one server, and what it answers into the outbox."""

    def __init__(self, state: RaftState, outbox: Outbox) -> None:
        self._state = state
        self._outbox = outbox
        self._term_limit = TermLimit(state.config.election_timeout)
        self.campaigns = 0
        self.unsound_messages = 0
        self.is_reading = False
        self.handle: dict[type, Callable[..., None]] = {
            Received: self._received,
            TimePassed: self._time_passed,
            PeerAlive: self._peer_alive,
            Proposed: self._proposed,
            ReadAsked: self._read_asked,
            ChangeAsked: self._change_asked,
            TransferAsked: self._transfer_asked,
            Stored: self._stored,
            EntriesRead: self._entries_read,
            SnapshotStored: self._snapshot_stored,
            SnapshotFetched: self._snapshot_fetched,
            SnapshotLost: self._snapshot_lost,
        }
        self._handle_message: dict[type, Callable[..., None]] = {
            RequestVote: self._request_vote,
            RequestVoteReply: self._request_vote_reply,
            AppendEntries: self._append_entries,
            AppendEntriesReply: self._append_entries_reply,
            TimeoutNow: self._timeout_now,
            InstallSnapshot: self._install_snapshot,
            InstallSnapshotReply: self._install_snapshot_reply,
            ReadIndex: self._read_index,
            ReadIndexReply: self._read_index_reply,
        }

    # Events.

    def _time_passed(self, _: TimePassed) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            self._lead(state.role)
        elif state.now >= state.election_deadline:
            # "If election timeout elapses without receiving AppendEntries RPC from current leader
            # or granting vote to candidate: convert to candidate", and likewise for a candidate.
            if self._may_campaign():
                self._become_pre_candidate()
            else:
                self._ask_as_learner()

    def _peer_alive(self, event: PeerAlive) -> None:
        hear_of(self._state, event)

    def _ask_as_learner(self) -> None:
        """Ask for pre-votes that count for nothing: one that was removed is told so then."""
        state = self._state
        state.restart_election_timer()
        # Whoever it asks has fallen silent, and it is not for this one to find another.
        if rejected := reject_forwarded(state, None):
            self._outbox.answer(rejected)
        for request in vote_requests(state, is_prevote=True):
            self._outbox.send(request)

    def _lead(self, leader: Leader) -> None:
        state = self._state
        if self._is_disk_stalled() and len(state.configuration.voters) > 1:
            self.become_follower(None)  # heartbeats alone must not keep the others quiet
            return
        pass_time(state, leader)
        prefer(state, leader, self._outbox)
        if leader.departing:
            forget_departed(state, leader)

    def _is_disk_stalled(self) -> bool:
        since, state = self._outbox.written_since(), self._state
        return since is not None and state.now - since > state.config.disk_stall_max

    def _may_campaign(self) -> bool:
        """Return whether this server may have to lead.

        One that is left out may, too (D§4.2.2): as long as that is not committed it can be the only
        one whose log is long enough. If it is committed, the leader tells who asks for a pre-vote.
        """
        state = self._state
        configuration = state.configuration
        return is_voter(configuration, state.node_id) or state.node_id in configuration.retired

    def _proposed(self, event: Proposed) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            refused = refused_meanwhile(state.role)
            self._outbox.answer(refused or propose(state, state.role, event.commands))
        else:
            self._outbox.answer(Rejected(leader=state.leader))

    def _read_asked(self, event: ReadAsked) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            if event.may_use_lease and has_lease(state, state.role):
                self._outbox.answer(ReadReady((event.read_id,), state.commit_index))
            else:
                state.role.reads_asked.append(event.read_id)
        elif event.may_follow and state.leader is not None:
            state.reads_to_forward.append(event.read_id)
        else:
            self._outbox.answer(ReadRejected((event.read_id,), state.leader))

    def _change_asked(self, event: ChangeAsked) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            self._outbox.answer(ask_change(state, state.role, event.target))
            self._advance(state.role)
        else:
            self._outbox.answer(ChangeRejected(state.leader, "this node does not lead"))

    def _transfer_asked(self, event: TransferAsked) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            ask_transfer(state, state.role, event.target, self._outbox)
        else:
            self._outbox.answer(TransferEnded(event.target, "this node does not lead"))

    def _stored(self, event: Stored) -> None:
        state = self._state
        self._outbox.stored(event.mark)
        state.log.stored(event.mark)
        if isinstance(state.role, Leader):
            self._advance(state.role)
        elif isinstance(state.role, Candidate) and self._outbox.is_stored(state.hard_state):
            state.role.votes[state.node_id] = True
            self._judge_campaign(state.role)

    def _entries_read(self, event: EntriesRead) -> None:
        self.is_reading = False
        self._state.log.fill_window(event.entries)

    def _snapshot_stored(self, event: SnapshotStored) -> None:
        state = self._state
        snapshot = event.snapshot
        if snapshot.index > state.last_applied:
            raise InvariantViolated(
                f"a snapshot up to {snapshot.index} was taken, {state.last_applied} is applied"
            )
        if not snapshot.configuration.voters:
            return  # it would tell nobody who the members are: it can neither be offered nor kept
        if state.snapshot is None or snapshot.index > state.snapshot.index:
            state.snapshot = snapshot
            compact(state, self._outbox)

    def _snapshot_fetched(self, event: SnapshotFetched) -> None:
        state = self._state
        if install(state, event.snapshot, self._outbox) and state.leader is not None:
            self._outbox.send(installed_reply(state, state.leader))

    def _snapshot_lost(self, event: SnapshotLost) -> None:
        state = self._state
        if state.fetching == event.snapshot:
            state.fetching = None
            if state.leader is not None:
                self._outbox.send(failed_reply(state, state.leader, event.snapshot))

    # Messages.

    def _received(self, event: Received) -> None:
        message = event.message
        if not self._is_for_us(message):
            self.unsound_messages += 1
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
        if message.term == state.current_term or isinstance(message, RequestVote):
            return True
        # The answer tells a deposed leader its place, and a leader of a lower term than a node that
        # campaigned in vain that it must go higher.
        if isinstance(message, AppendEntries):
            self._outbox.send(refuse_entries(state, message))
        elif isinstance(message, InstallSnapshot):
            self._outbox.send(refuse_offer(state, message))
        return False

    def _is_without_term(self, message: Message) -> bool:
        if isinstance(message, RequestVote):
            return message.is_prevote or (is_loyal(self._state) and not message.is_transfer)
        return isinstance(message, RequestVoteReply) and message.is_prevote and message.is_granted

    def _request_vote(self, request: RequestVote) -> None:
        state = self._state
        if request.source in state.configuration.retired:
            self._hear_removed(request)
        self._outbox.send(answer_vote_request(state, request))

    def _hear_removed(self, request: RequestVote) -> None:
        """See to it that one who was removed, and asks because it does not know, is told.

        Only the leader can, and may have come after the last leader that it knew. Its request goes
        in no circle: along the way terms do not fall, and in a term one leads.
        """
        state = self._state
        if isinstance(state.role, Leader):
            tell_removed(state, state.role, request.source)
        elif request.is_prevote and state.leader is not None:
            self._outbox.send(replace(request, target=state.leader))

    def _request_vote_reply(self, reply: RequestVoteReply) -> None:
        state = self._state
        if is_of_campaign(state, reply) and isinstance(state.role, PreCandidate | Candidate):
            count_vote(state.role, reply)
            self._judge_campaign(state.role)

    def _append_entries(self, message: AppendEntries) -> None:
        self._hear_leader(message)
        reply = receive_entries(self._state, message)
        is_promise = reply.match_index > self._state.log.stable_index
        self._outbox.send(reply, speaks_for_log=is_promise)

    def _hear_leader(self, message: AppendEntries | InstallSnapshot) -> None:
        """Follow who leads the current term, and wait for it anew."""
        state = self._state
        role = state.role
        if isinstance(role, Leader):
            raise InvariantViolated(f"{message.source} leads in term {message.term} as well")
        if not isinstance(role, Follower) or role.leader is None:
            # Candidates, "AppendEntries RPC received from new leader": convert to follower.
            self.become_follower(message.source)
        elif role.leader != message.source:
            raise InvariantViolated(
                f"{role.leader} and {message.source} both lead in term {message.term}"
            )
        assert isinstance(state.role, Follower)
        state.role.contact = state.now
        state.restart_election_timer()

    def _append_entries_reply(self, reply: AppendEntriesReply) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            take_reply(state, state.role, reply)
            if reply.is_success and reply.match_index > state.commit_index:
                self._advance(state.role)
            elif state.configuration.promotions:
                pursue_change(state, state.role)

    def _timeout_now(self, message: TimeoutNow) -> None:
        state = self._state
        del message  # the term gate has seen to it that it is of who leads this term
        if isinstance(state.role, Follower) and is_voter(state.configuration, state.node_id):
            self.campaigns += 1
            self._become_candidate(is_transfer=True)

    def _install_snapshot(self, message: InstallSnapshot) -> None:
        self._hear_leader(message)
        receive_offer(self._state, message, self._outbox)

    def _install_snapshot_reply(self, reply: InstallSnapshotReply) -> None:
        state = self._state
        if isinstance(state.role, Leader):
            take_snapshot_reply(state, state.role, reply)
            self._advance(state.role)

    def _read_index(self, message: ReadIndex) -> None:
        role = self._state.role
        if isinstance(role, Leader) and len(role.remote_reads_asked) < REMOTE_READS_MAX:
            role.remote_reads_asked[message.source, message.read] = None

    def _read_index_reply(self, message: ReadIndexReply) -> None:
        ready = take_read_reply(self._state, message)
        if ready is not None:
            self._outbox.answer(ready)

    def _advance(self, leader: Leader) -> None:
        """Commit what a quorum stores, and do what a committed configuration calls for."""
        state = self._state
        advance_commit_index(state, leader)
        if state.configurations.latest is leader.settled:
            return
        pursue_change(state, leader)
        if is_left_out(state):
            self._resign(leader)

    def _resign(self, leader: Leader) -> None:
        """Step down, for the cluster goes on without this node (D§4.2.2); ask the best to lead."""
        state = self._state
        successor = best_target(state, leader)
        if successor is not None:
            self._outbox.send(TimeoutNow(state.current_term, state.node_id, successor))
        self.become_follower(None)

    # Role changes (Figure 4).

    def _adopt_term(self, message: Message) -> bool:
        """Adopt the message's term, or as much of it as may be; returns whether that was all."""
        state = self._state
        term = self._term_limit.allowed(
            message.term, current_term=state.current_term, now=state.now
        )
        is_reached = term == message.term
        if not is_reached:
            self.unsound_messages += 1
            if is_loyal(state):
                return False  # who is that far ahead is waited for when there is no leader
        if term > state.current_term:
            state.hard_state = HardState(current_term=term, voted_for=None)
            is_leader = is_reached and isinstance(message, AppendEntries | InstallSnapshot)
            self.become_follower(message.source if is_leader else None)
        return is_reached

    def become_follower(self, leader: NodeId | None) -> None:
        """Follow `leader`, or wait for one."""
        state, before = self._state, self._state.role
        state.role = Follower(leader)
        if rejected := reject_forwarded(state, leader):
            self._outbox.answer(rejected)
        if not isinstance(before, Leader):
            return  # the timer runs on: only a vote granted or the leader itself restarts it
        state.restart_election_timer()
        end_transfer(before, self._outbox, None)
        read_ids = take_unconfirmed(before)
        if read_ids:
            self._outbox.answer(ReadRejected(read_ids, leader))

    def _become_pre_candidate(self) -> None:
        state = self._state
        if rejected := reject_forwarded(state, None):
            self._outbox.answer(rejected)
        state.role = PreCandidate(votes={state.node_id: True})
        state.restart_election_timer()
        self.campaigns += 1
        for request in vote_requests(state, is_prevote=True):
            self._outbox.send(request)
        self._judge_campaign(state.role)

    def _become_candidate(self, *, is_transfer: bool = False) -> None:
        # "On conversion to candidate, start election: increment currentTerm, vote for self, reset
        # election timer, send RequestVote RPCs to all other servers"
        state = self._state
        if rejected := reject_forwarded(state, None):
            self._outbox.answer(rejected)
        state.hard_state = HardState(current_term=state.current_term + 1, voted_for=state.node_id)
        state.role = Candidate(is_transfer=is_transfer)
        state.restart_election_timer()
        for request in vote_requests(state, is_prevote=False):
            self._outbox.send(request)

    def _judge_campaign(self, role: PreCandidate | Candidate) -> None:
        result = campaign_result(self._state, role)
        if result is VoteResult.LOST:
            self.become_follower(None)
        elif result is VoteResult.WON and isinstance(role, PreCandidate):
            self._become_candidate()
        elif result is VoteResult.WON:
            # Candidates, "votes received from majority of servers": become leader.
            self._state.role = begin_term(self._state)
