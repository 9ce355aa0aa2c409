"""Guards taken out of protocol and storage, one at a time: what the simulator has to notice.

Each breaker patches the product from here; the product has no hook for any of them. `PROFILE` says
under which faults a breaker is looked for, where the mixed ones would need many seeds.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from liferaft.cluster.driver import Driver
from liferaft.cluster.proposals import Proposal, Proposals
from liferaft.raft import campaigning, commitment, core, following, reading, rules, voting
from liferaft.raft.effects import Outbox, Persist, ReadReady, Send
from liferaft.raft.log import RaftLog
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Message,
    RequestVote,
    RequestVoteReply,
)
from liferaft.raft.progress import Progress
from liferaft.raft.quorum import VoteResult
from liferaft.raft.rules import Rules
from liferaft.raft.state import Leader, RaftState
from liferaft.raft.types import Entry, HardState
from liferaft.replicated import machine as machine_module
from liferaft.replicated.command import Command
from liferaft.replicated.determinism import CommandContext
from liferaft.replicated.machine import ReplicatedMachine
from liferaft.replicated.sessions import Session
from liferaft.rpc.codec import encode
from liferaft.rpc.wire import Call, Reply
from liferaft.storage import recovery, segment, stored_log
from liferaft.storage.disk import Disk, File
from liferaft.storage.records import SEGMENT_HEADER_BYTES, Body
from tests.sim.snapshot_breakers import SNAPSHOT_BREAKERS

Breaker = Callable[[pytest.MonkeyPatch], None]

PROFILE: dict[str, str] = {}
LOAD: dict[str, float] = {}


def under(profile: str, *, load: float | None = None) -> Callable[[Breaker], Breaker]:
    """Say under which profile a breaker is found soonest, and with how many commands a second."""

    def note(breaker: Breaker) -> Breaker:
        PROFILE[breaker.__name__] = profile
        if load is not None:
            LOAD[breaker.__name__] = load
        return breaker

    return note


# Persist before you answer.


def answer_before_the_disk_has_it(patch: pytest.MonkeyPatch) -> None:
    """Figure 2: updated on stable storage before responding to RPCs."""
    persist = Driver._persist

    def broken(self: Driver, effect: Persist) -> None:
        persist(self, effect)
        self._stored(effect.mark)

    patch.setattr(Driver, "_persist", broken)


@under("process")
def send_before_the_mark(patch: pytest.MonkeyPatch) -> None:
    """Trap 1, for votes and for entries."""

    def broken(self: Driver, effect: Send) -> None:
        self._put(effect.message)

    patch.setattr(Driver, "_send", broken)


def forget_the_vote(patch: pytest.MonkeyPatch) -> None:
    """A voter that forgot its vote elects two leaders in one term."""
    persist = Driver._persist

    def broken(self: Driver, effect: Persist) -> None:
        hard_state = effect.hard_state
        if hard_state is not None:
            hard_state = HardState(hard_state.current_term, None)
        persist(self, msgspec.structs.replace(effect, hard_state=hard_state))

    patch.setattr(Driver, "_persist", broken)


# The disk.


def write_without_a_sync(patch: pytest.MonkeyPatch) -> None:
    """What was acknowledged is on stable storage."""

    def broken(file: File, path: str, offset: int, data: bytes) -> None:
        del path
        file.write(offset, data)

    patch.setattr(stored_log, "write_record", broken)


def leave_the_directory_unsynced(patch: pytest.MonkeyPatch) -> None:
    """Trap 36: a new segment's name may be gone after a crash, and all that is in it."""

    def broken(disk: Disk, directory: str) -> None:
        """Trust the system."""

    patch.setattr(segment, "sync_directory", broken)


@under("disk")
def try_a_failed_sync_again(patch: pytest.MonkeyPatch) -> None:
    """Trap 35: the second sync succeeds, and what the first one lost stays lost."""
    sync = segment.sync

    def broken(file: File, path: str) -> None:
        try:
            file.sync()
        except OSError:
            sync(file, path)

    patch.setattr(segment, "sync", broken)


class _Whatever:
    """Equal to every checksum."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment] # it is nobody's key


@under("process")
def take_a_torn_tail_for_whole(patch: pytest.MonkeyPatch) -> None:
    """Believe what lies on the disk without its checksum."""
    patch.setattr(recovery, "checksum", lambda *_args, **_kwargs: _Whatever())


@under("disk")
def take_damage_for_a_torn_tail(patch: pytest.MonkeyPatch) -> None:
    """Trap 37: cut at the first record that is not whole, and start with what is before it."""

    def broken(self: Any, header: Any, following: Any) -> None:
        data = self._read_file(header.number)
        self._newest = (0, data[:SEGMENT_HEADER_BYTES])
        self._position = segment.Position(header.number, SEGMENT_HEADER_BYTES, header.previous_crc)
        while self._position.offset < len(data) and self._read_record(data):
            pass
        del following

    patch.setattr(recovery._Reader, "_read_segment", broken)


@under("process")
def forget_the_hard_state_at_a_start(patch: pytest.MonkeyPatch) -> None:
    """Recover entries, and of term and vote only what the entries tell."""
    take = recovery._Reader._take

    def broken(self: recovery._Reader, body: Body, length: int) -> None:
        before = self._hard_state
        take(self, body, length)
        term = body.runs[-1].term if body.runs else before.current_term
        self._hard_state = HardState(max(term, before.current_term), None)

    patch.setattr(recovery._Reader, "_take", broken)


# Elections.


def vote_for_whoever_asks(patch: pytest.MonkeyPatch) -> None:
    """Trap 4: section 5.4.1."""
    patch.setattr(RaftLog, "is_behind", lambda *_: True)


@under("network")
def vote_twice_in_a_term(patch: pytest.MonkeyPatch) -> None:
    """Figure 2, RequestVote, step 2."""
    is_grantable = voting._is_grantable

    def broken(state: RaftState, request: RequestVote) -> bool:
        if request.is_prevote or request.term < state.current_term:
            return is_grantable(state, request)
        kept, state.hard_state = state.hard_state, HardState(state.current_term, None)
        try:
            return is_grantable(state, request)
        finally:
            state.hard_state = kept

    patch.setattr(voting, "_is_grantable", broken)


@under("network")
def win_with_a_minority(patch: pytest.MonkeyPatch) -> None:
    """A candidate needs a majority, not one voice beside its own."""
    result = campaigning.campaign_result

    def broken(state: RaftState, role: Any) -> VoteResult:
        granted = sum(role.votes.values())
        return VoteResult.WON if granted >= 1 else result(state, role)

    patch.setattr(rules, "campaign_result", broken)


def lead_on_without_a_quorum(patch: pytest.MonkeyPatch) -> None:
    """Check-quorum: clients would wait for a leader that nobody hears, and nobody be elected."""
    patch.setattr(core, "has_quorum_contact", lambda *_: True)


# Replication.


def follow_without_comparing(patch: pytest.MonkeyPatch) -> None:
    """Figure 2, AppendEntries, step 2."""
    receive = following.receive_entries

    def broken(state: RaftState, message: AppendEntries) -> AppendEntriesReply:
        log = state.log
        prev = message.prev_log_index
        if log.base_index <= prev <= log.last_index:
            term = log.term_at(prev)
            message = msgspec.structs.replace(message, prev_log_term=term)
        return receive(state, message)

    patch.setattr(rules, "receive_entries", broken)


@under("network")
def truncate_on_every_append(patch: pytest.MonkeyPatch) -> None:
    """Trap 14: a late AppendEntries takes back what was acknowledged since."""

    def broken(state: RaftState, entries: tuple[Entry, ...]) -> None:
        if not entries:
            return
        if entries[0].index <= state.log.last_index:
            state.log.truncate_from(entries[0].index, commit_index=0)
        state.log.append(entries)

    patch.setattr(following, "_append_new", broken)


@under("process")
def commit_up_to_the_own_last_entry(patch: pytest.MonkeyPatch) -> None:
    """Trap 13: what lies behind the last new entry may be another leader's."""
    receive = following.receive_entries

    def broken(state: RaftState, message: AppendEntries) -> AppendEntriesReply:
        reply = receive(state, message)
        if reply.is_success:
            known = min(message.leader_commit, state.log.last_index)
            state.commit_index = max(state.commit_index, known)
        return reply

    patch.setattr(rules, "receive_entries", broken)


@under("process")
def count_votes_of_an_earlier_campaign(patch: pytest.MonkeyPatch) -> None:
    """Two candidates of one term may have had the same vote, in different terms.

    It takes an answer that outlives a campaign and decides the next one: once in some 200 runs of
    the whole stack, so it is for the cores alone.
    """
    gate = Rules._pass_term_gate

    def broken(self: Rules, message: Message) -> bool:
        is_late = message.term < self._state.current_term and isinstance(message, RequestVoteReply)
        return is_late or gate(self, message)

    patch.setattr(Rules, "_pass_term_gate", broken)


@under("network")
def take_entries_of_an_earlier_term(patch: pytest.MonkeyPatch) -> None:
    """Figure 2: reply false if term < currentTerm."""
    gate = Rules._pass_term_gate

    def broken(self: Rules, message: Message) -> bool:
        is_late = message.term < self._state.current_term and isinstance(message, AppendEntries)
        return is_late or gate(self, message)

    patch.setattr(Rules, "_pass_term_gate", broken)


def go_on_leading_after_a_later_term(patch: pytest.MonkeyPatch) -> None:
    """Figure 2: if RPC request or response contains term T > currentTerm, convert to follower."""
    adopt = Rules._adopt_term

    def broken(self: Rules, message: Message) -> bool:
        if not isinstance(self._state.role, Leader):
            return adopt(self, message)
        self._state.hard_state = HardState(message.term, self._state.node_id)
        return True

    patch.setattr(Rules, "_adopt_term", broken)


def commit_an_older_term_by_counting(patch: pytest.MonkeyPatch) -> None:
    """Figure 8: such an entry can be on a majority and be overwritten still."""

    def broken(*, commit_index: int, stored_index: int, stored_term: int, current_term: int) -> int:
        del stored_term, current_term
        return max(commit_index, stored_index)

    patch.setattr(commitment, "next_commit_index", broken)


@under("disk", load=200.0)
def take_a_late_write_for_what_replaced_it(patch: pytest.MonkeyPatch) -> None:
    """Trap 17: the write of what was overwritten since ends, and says nothing of what is there."""
    truncate = RaftLog.truncate_from

    def broken(self: RaftLog, index: int, *, commit_index: int) -> None:
        in_flight = list(self._in_flight)
        truncate(self, index, commit_index=commit_index)
        self._in_flight.clear()
        self._in_flight.extend(in_flight)

    patch.setattr(RaftLog, "truncate_from", broken)


@under("network")
def count_the_leaders_unwritten_entries(patch: pytest.MonkeyPatch) -> None:
    """Trap 16: with its own copy in memory only, one crash of two loses a committed entry."""
    advance = commitment.advance_commit_index

    def broken(state: RaftState, leader: Leader) -> None:
        stable, state.log.stable_index = state.log.stable_index, state.log.last_index
        try:
            advance(state, leader)
        finally:
            state.log.stable_index = stable

    patch.setattr(rules, "advance_commit_index", broken)


def commit_with_one_follower_short(patch: pytest.MonkeyPatch) -> None:
    """Commit what any follower has, whether or not it makes a majority."""

    def broken(state: RaftState, leader: Leader) -> None:
        reached = max(progress.match_index for progress in leader.progress.values())
        reached = max(reached, state.log.stable_index)
        if state.log.term_at(reached) == state.current_term:
            state.commit_index = max(state.commit_index, reached)

    patch.setattr(rules, "advance_commit_index", broken)


@under("network")
def take_what_was_sent_for_what_arrived(patch: pytest.MonkeyPatch) -> None:
    """Let match_index be what was sent: a lost message then loses a committed entry."""
    sent = Progress.sent

    def broken(self: Progress, last: int, size_bytes: int) -> None:
        sent(self, last, size_bytes)
        self.match_index = last
        self.next_index = max(self.next_index, last + 1)
        self.inflight.clear()
        self.inflight_bytes = 0

    patch.setattr(Progress, "sent", broken)


# Reads.


@under("clock")
def read_without_asking_the_others(patch: pytest.MonkeyPatch) -> None:
    """Trap 44: a leader that was deposed does not know it."""

    def broken(state: RaftState, leader: Leader, outbox: Outbox) -> None:
        del state
        for batch in leader.reads:
            outbox.answer(ReadReady(batch.read_ids, batch.index))
        leader.reads.clear()

    patch.setattr(core, "answer_confirmed", broken)


@under("process")
def read_before_the_no_op(patch: pytest.MonkeyPatch) -> None:
    """Dissertation, section 6.4, step 1: a new leader does not know what is committed."""
    begin = reading.begin_reads

    def broken(state: RaftState, leader: Leader) -> None:
        kept, leader.term_start = leader.term_start, 0
        try:
            begin(state, leader)
        finally:
            leader.term_start = kept

    patch.setattr(core, "begin_reads", broken)


# Clients.


def run_a_repeated_command_again(patch: pytest.MonkeyPatch) -> None:
    """Trap 41."""
    execute = ReplicatedMachine._execute_once

    def broken(self: ReplicatedMachine, command: Command, call: Call, session: Session) -> bytes:
        reply = execute(self, command, call, session)
        session.replies.clear()
        return reply

    patch.setattr(ReplicatedMachine, "_execute_once", broken)
    patch.setattr(ReplicatedMachine, "answered", lambda *_: None)


def answer_when_it_is_appended(patch: pytest.MonkeyPatch) -> None:
    """Trap 40: what is not committed is not done."""
    accepted = Proposals.accepted

    def broken(self: Proposals, effect: Any) -> None:
        waiting: Sequence[Proposal] = list(self._asked[0])
        accepted(self, effect)
        for proposal in waiting:
            request = getattr(proposal, "request", None)
            if request is not None:
                request.answer(encode(_nothing_reply(request.call.number)))

    patch.setattr(Proposals, "accepted", broken)


def _nothing_reply(number: int) -> Any:
    return Reply(number, msgspec.Raw(encode(None)))


def tell_each_replica_its_own_time(patch: pytest.MonkeyPatch) -> None:
    """Trap 46: a command that looks at a clock of its own makes the replicas differ."""

    class OwnTime(CommandContext):
        def __init__(self, wall_now: float, seed: int) -> None:
            del wall_now
            super().__init__(asyncio.get_running_loop().time(), seed)

    patch.setattr(machine_module, "CommandContext", OwnTime)


BREAKERS: tuple[Breaker, ...] = (
    answer_before_the_disk_has_it,
    send_before_the_mark,
    forget_the_vote,
    write_without_a_sync,
    leave_the_directory_unsynced,
    try_a_failed_sync_again,
    take_a_torn_tail_for_whole,
    take_damage_for_a_torn_tail,
    forget_the_hard_state_at_a_start,
    vote_for_whoever_asks,
    vote_twice_in_a_term,
    win_with_a_minority,
    lead_on_without_a_quorum,
    follow_without_comparing,
    truncate_on_every_append,
    commit_up_to_the_own_last_entry,
    count_the_leaders_unwritten_entries,
    take_entries_of_an_earlier_term,
    go_on_leading_after_a_later_term,
    commit_an_older_term_by_counting,
    take_a_late_write_for_what_replaced_it,
    commit_with_one_follower_short,
    take_what_was_sent_for_what_arrived,
    read_without_asking_the_others,
    run_a_repeated_command_again,
    answer_when_it_is_appended,
    tell_each_replica_its_own_time,
    *SNAPSHOT_BREAKERS,
)
