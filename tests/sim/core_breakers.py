"""Guards taken out of the cores, one at a time: what the core fidelity has to notice.

Those of tests/sim/breakers.py that touch nothing but raft serve here too. Each breaker patches the
product from here; the product has no hook for any of them. `SEARCH` says under which options a
breaker is looked for, where three nodes and the mixed faults would need many seeds.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from liferaft.raft import core, rules
from liferaft.raft import leading as leading_module
from liferaft.raft.effects import Outbox, ReadReady, Send
from liferaft.raft.log import RaftLog
from liferaft.raft.messages import AppendEntriesReply, RequestVoteReply
from liferaft.raft.quorum import quorum_reached
from liferaft.raft.state import Candidate, Leader, PreCandidate, RaftState, ReadBatch
from liferaft.raft.types import EntryId, HardState
from liferaft.sim.core_disk import CoreDisk
from liferaft.sim.core_machine import Command, RegisterMachine, _Session
from liferaft.sim.core_node import Process
from liferaft.sim.options import SimulationOptions
from tests.sim import breakers
from tests.sim.breakers import Breaker

DEFAULT: Final = SimulationOptions(fidelity="core", nodes=3, seconds=4.0, changes="no")
SEARCH: Final[dict[str, SimulationOptions]] = {
    name: msgspec.structs.replace(DEFAULT, profile=profile)
    for name, profile in breakers.PROFILE.items()
}

# With the cores alone another profile shows them sooner.
SEARCH["count_the_leaders_unwritten_entries"] = msgspec.structs.replace(DEFAULT, profile="disk")
SEARCH["commit_up_to_the_own_last_entry"] = msgspec.structs.replace(DEFAULT, profile="network")


def under(
    profile: str = "mixed", *, nodes: int = 3, seconds: float = 4.0
) -> Callable[[Breaker], Breaker]:
    """Say under which options a breaker is found soonest."""

    def note(breaker: Breaker) -> Breaker:
        SEARCH[breaker.__name__] = SimulationOptions(
            fidelity="core", profile=profile, nodes=nodes, seconds=seconds, changes="no"
        )
        return breaker

    return note


# Persist before you answer.


@under("process")
def send_before_the_mark(patch: pytest.MonkeyPatch) -> None:
    """Trap 1, for votes and for entries."""
    send = Process._send

    def broken(self: Process, effect: Send) -> None:
        send(self, msgspec.structs.replace(effect, after=0))

    patch.setattr(Process, "_send", broken)
    patch.setattr(
        Process, "__init__", _with_handler(Process.__init__, Send, lambda self: self._send)
    )


def _with_handler(
    init: Callable[..., None], kind: type, handler: Callable[[Process], Callable[..., None]]
) -> Callable[..., None]:
    def broken(self: Process, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        self._carry_out[kind] = handler(self)

    return broken


@under("process")
def forget_the_vote(patch: pytest.MonkeyPatch) -> None:
    """A voter that forgot its vote elects two leaders in one term."""
    disk_open = CoreDisk.open

    def broken(self: CoreDisk, user: Any) -> Any:
        held = disk_open(self, user)
        forgetful = HardState(held.hard_state.current_term, None)
        return msgspec.structs.replace(held, hard_state=forgetful)

    patch.setattr(CoreDisk, "open", broken)


# Elections.


@under("process")
def compare_logs_by_length_only(patch: pytest.MonkeyPatch) -> None:
    """Section 5.4.1: the later last term wins, and only of equal terms the longer log."""

    def broken(self: RaftLog, last_log: EntryId) -> bool:
        return self.last_index <= last_log.index

    patch.setattr(RaftLog, "is_behind", broken)


@under("network")
def count_pre_votes_as_votes(patch: pytest.MonkeyPatch) -> None:
    """Dissertation, section 9.6: a pre-vote promises nothing, and two may have a majority."""

    def broken(state: RaftState, reply: RequestVoteReply) -> bool:
        return isinstance(state.role, PreCandidate | Candidate)

    patch.setattr(rules, "is_of_campaign", broken)


# Terms.


# Committing.


@under("process")
def begin_a_term_without_a_no_op(patch: pytest.MonkeyPatch) -> None:
    """Without it what earlier terms left is committed only when somebody writes."""
    begin = leading_module.begin_term

    def broken(state: RaftState) -> Leader:
        leader = begin(state)
        state.log.truncate_from(leader.term_start, commit_index=state.commit_index)
        leader.term_start = 0
        return leader

    patch.setattr(rules, "begin_term", broken)


# What a leader knows of its followers.


@under("network")
def take_a_hint_for_a_match(patch: pytest.MonkeyPatch) -> None:
    """Where a follower's log may meet the leader's is not where it does, and is not stored."""
    take = leading_module.take_reply

    def broken(state: RaftState, leader: Leader, reply: AppendEntriesReply) -> None:
        take(state, leader, reply)
        progress = leader.progress[reply.source]
        if not reply.is_success:
            hint = min(reply.conflict_index, state.log.last_index)
            progress.match_index = max(progress.match_index, hint)
            progress.next_index = max(progress.next_index, hint + 1)

    patch.setattr(rules, "take_reply", broken)


# Reads.


@under("clock")
def read_by_a_round_that_began_before(patch: pytest.MonkeyPatch) -> None:
    """Dissertation, section 6.4: answers to an earlier round say nothing of this moment."""

    def broken(state: RaftState, leader: Leader) -> None:
        if not leader.reads_asked or state.commit_index < leader.term_start:
            return
        rounds = {peer: progress.round_acked for peer, progress in leader.progress.items()}
        rounds[state.node_id] = leader.round
        earlier = quorum_reached(rounds, state.configuration)
        batch = ReadBatch(earlier, state.commit_index, tuple(leader.reads_asked))
        leader.reads.append(batch)
        leader.reads_asked.clear()

    patch.setattr(core, "begin_reads", broken)


@under("clock")
def read_without_asking_anybody(patch: pytest.MonkeyPatch) -> None:
    """A leader answers at once from what it has applied, as if nobody else could lead."""

    def broken(state: RaftState, leader: Leader, outbox: Outbox) -> None:
        if leader.reads_asked:
            outbox.answer(ReadReady(tuple(leader.reads_asked), state.last_applied))
        leader.reads_asked.clear()

    patch.setattr(core, "begin_reads", lambda *_: None)
    patch.setattr(core, "answer_confirmed", broken)


# Leases, in runs whose clocks are as good as the nodes are told.


@under("clock")
def trust_a_lease_to_its_last_moment(patch: pytest.MonkeyPatch) -> None:
    """Trap 45: clocks run apart, and a lease must be shorter by that."""

    def broken(state: RaftState, leader: Leader) -> bool:
        is_open = state.config.lease_clock_error is not None and not leader.is_lease_void
        return is_open and state.commit_index >= leader.term_start and _is_leased(state, leader, 1)

    patch.setattr(rules, "has_lease", broken)


@under("clock")
def keep_the_lease_after_a_transfer(patch: pytest.MonkeyPatch) -> None:
    """Trap 45: who was told to campaign waits for no silence."""

    def broken(state: RaftState, leader: Leader) -> bool:
        error = state.config.lease_clock_error
        is_open = error is not None and state.commit_index >= leader.term_start
        return is_open and _is_leased(state, leader, 1 - (error or 0.0))

    patch.setattr(rules, "has_lease", broken)


def _is_leased(state: RaftState, leader: Leader, part: float) -> bool:
    acked = {peer: progress.acked_at for peer, progress in leader.progress.items()}
    acked[state.node_id] = state.now
    since = quorum_reached(acked, state.configuration)
    return state.now < since + state.config.election_timeout * part


# Clients.


@under("network")
def run_a_repeated_command_again(patch: pytest.MonkeyPatch) -> None:
    """Trap 41: the session forgets what it has answered."""
    execute = RegisterMachine._execute

    def broken(self: RegisterMachine, command: Command, session: _Session) -> int:
        version = execute(self, command, session)
        session.replies.clear()
        session.acked_below = 1
        return version

    patch.setattr(RegisterMachine, "_execute", broken)


OF_RAFT: Final[tuple[Breaker, ...]] = (
    breakers.vote_for_whoever_asks,
    breakers.vote_twice_in_a_term,
    breakers.win_with_a_minority,
    breakers.lead_on_without_a_quorum,
    breakers.follow_without_comparing,
    breakers.truncate_on_every_append,
    breakers.commit_up_to_the_own_last_entry,
    breakers.count_the_leaders_unwritten_entries,
    breakers.count_votes_of_an_earlier_campaign,
    breakers.take_entries_of_an_earlier_term,
    breakers.go_on_leading_after_a_later_term,
    breakers.commit_an_older_term_by_counting,
    breakers.take_a_late_write_for_what_replaced_it,
    breakers.commit_with_one_follower_short,
    breakers.take_what_was_sent_for_what_arrived,
    breakers.read_without_asking_the_others,
    breakers.read_before_the_no_op,
)
"""Of the full fidelity's breakers, those that touch nothing but raft."""

OWN: Final[tuple[Breaker, ...]] = (
    send_before_the_mark,
    forget_the_vote,
    compare_logs_by_length_only,
    count_pre_votes_as_votes,
    begin_a_term_without_a_no_op,
    take_a_hint_for_a_match,
    read_by_a_round_that_began_before,
    read_without_asking_anybody,
    trust_a_lease_to_its_last_moment,
    keep_the_lease_after_a_transfer,
    run_a_repeated_command_again,
)

BREAKERS: Final = (*OF_RAFT, *OWN)
