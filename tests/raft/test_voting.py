"""Figure 2, RequestVote RPC, receiver implementation."""

import msgspec
import pytest

from liferaft.raft.core import RaftCore
from liferaft.raft.events import Received
from liferaft.raft.messages import AppendEntries, RequestVote, RequestVoteReply
from liferaft.raft.types import HardState
from tests.raft.harness import core_of, sent

REQUEST = RequestVote(term=5, source="b", target="a", last_log_index=9, last_log_term=4)
PREVOTE = msgspec.structs.replace(REQUEST, is_prevote=True)
HEARTBEAT = AppendEntries(
    term=4,
    source="c",
    target="a",
    prev_log_index=0,
    prev_log_term=0,
    entries=(),
    leader_commit=0,
    round=1,
)


def answer(core: RaftCore, request: RequestVote, *, now: float = 0.0) -> RequestVoteReply:
    core.step(Received(request), now)
    (reply,) = sent(core.take_effects())
    assert isinstance(reply, RequestVoteReply)
    return reply


def test_a_voter_grants_adopts_the_term_and_restarts_its_timer() -> None:
    core = core_of(hard_state=HardState(4))
    reply = answer(core, REQUEST, now=0.2)

    assert RequestVoteReply(term=5, source="a", target="b", is_granted=True) == reply
    assert HardState(5, "b") == core.state.hard_state
    assert core.deadline >= 0.2 + core.state.config.election_timeout


def test_one_vote_a_term_first_come_first_served() -> None:
    """Section 5.2: the same candidate again, yes; another one, no."""
    core = core_of(hard_state=HardState(4))
    answer(core, REQUEST)

    assert answer(core, REQUEST).is_granted
    assert not answer(core, msgspec.structs.replace(REQUEST, source="c")).is_granted


def test_a_vote_survives_a_restart() -> None:
    core = core_of(hard_state=HardState(5, "c"))

    assert not answer(core, REQUEST).is_granted
    assert answer(core, msgspec.structs.replace(REQUEST, source="c")).is_granted


@pytest.mark.parametrize(
    ("terms", "is_granted"),
    [([4] * 9, True), ([4] * 10, False), ([1] * 20, True), ([4] * 8 + [5], False), ([], True)],
)
@pytest.mark.parametrize("request_", [REQUEST, PREVOTE])
def test_only_an_up_to_date_log_gets_a_vote(
    request_: RequestVote, terms: list[int], is_granted: bool
) -> None:
    """Section 5.4.1: last term first, length second (trap 4)."""
    core = core_of(terms=terms)
    request = msgspec.structs.replace(request_, term=6)

    assert is_granted == answer(core, request).is_granted


def test_a_stale_request_is_refused_with_the_newer_term() -> None:
    reply = answer(core_of(hard_state=HardState(8)), REQUEST)

    assert (8, False) == (reply.term, reply.is_granted)


def test_a_prevote_changes_nothing() -> None:
    """Trap 5: neither term nor vote, nor the timer."""
    core = core_of(hard_state=HardState(4))
    deadline = core.deadline
    reply = answer(core, PREVOTE, now=0.2)

    assert (5, True, True) == (reply.term, reply.is_granted, reply.is_prevote)
    assert (HardState(4), deadline) == (core.state.hard_state, core.deadline)


def test_a_prevote_for_a_term_that_is_not_new_is_refused_with_the_own_term() -> None:
    reply = answer(core_of(hard_state=HardState(5)), PREVOTE)

    assert (5, False) == (reply.term, reply.is_granted)


@pytest.mark.parametrize("request_", [REQUEST, PREVOTE])
def test_who_hears_a_live_leader_refuses_and_keeps_its_term(request_: RequestVote) -> None:
    """Stickiness, D§4.2.3 (trap 5)."""
    core = core_of(hard_state=HardState(4))
    core.step(Received(HEARTBEAT), 1.0)
    core.take_effects()

    assert not answer(core, request_, now=1.29).is_granted
    assert (4, "c") == (core.current_term, core.leader)
    assert answer(core, request_, now=1.31).is_granted


def test_a_transfer_is_not_held_up_by_loyalty() -> None:
    """D§3.10: the leader itself asked for this campaign."""
    core = core_of(hard_state=HardState(4))
    core.step(Received(HEARTBEAT), 1.0)
    core.take_effects()

    assert answer(core, msgspec.structs.replace(REQUEST, is_transfer=True), now=1.0).is_granted


def test_who_has_seen_the_leader_of_a_term_votes_for_nobody_else_in_it() -> None:
    core = core_of(hard_state=HardState(4))
    core.step(Received(msgspec.structs.replace(HEARTBEAT, term=5)), 0.0)
    core.take_effects()

    assert not answer(core, REQUEST, now=0.31).is_granted


def test_a_learner_that_is_asked_answers() -> None:
    """It may be a voter by a configuration that it has not seen."""
    core = core_of(node_id="l", learners=("l",), hard_state=HardState(4))

    assert answer(core, msgspec.structs.replace(REQUEST, target="l")).is_granted
