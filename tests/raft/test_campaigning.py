"""Figure 2, Candidates, and the pre-vote before it."""

import pytest

from liferaft.raft.core import RaftCore
from liferaft.raft.events import Received, Stored, TimePassed
from liferaft.raft.messages import RequestVote, RequestVoteReply
from liferaft.raft.types import HardState
from tests.raft.harness import NODES, core_of, sent


def reply(
    source: str, *, term: int, is_granted: bool = True, is_prevote: bool = False
) -> RequestVoteReply:
    return RequestVoteReply(
        term=term, source=source, target="a", is_granted=is_granted, is_prevote=is_prevote
    )


def pre_candidate(size: int = 3) -> RaftCore:
    """Return a node of term 1 that asks for pre-votes in term 2."""
    core = core_of(voters=NODES[:size], terms=[1, 1])
    core.step(TimePassed(), core.deadline)
    return core


def candidate(size: int = 3) -> RaftCore:
    """Return a node that asks for votes in term 2, its own stored."""
    core = pre_candidate(size)
    for source in NODES[1:size]:
        core.step(Received(reply(source, term=2, is_prevote=True)), core.state.now)
    core.take_effects()
    core.step(Stored(1), core.state.now)
    core.take_effects()
    return core


def test_a_timeout_asks_for_prevotes_and_changes_no_term() -> None:
    core = pre_candidate()
    requests = sent(core.take_effects())
    expected = [
        RequestVote(
            term=2, source="a", target=peer, last_log_index=2, last_log_term=1, is_prevote=True
        )
        for peer in ("b", "c")
    ]

    assert expected == requests
    assert ("pre-candidate", HardState(1)) == (core.role, core.state.hard_state)


def test_prevotes_of_a_majority_begin_the_election() -> None:
    """Figure 2: increment currentTerm, vote for self, reset election timer, send RequestVote."""
    core = pre_candidate()
    core.step(Received(reply("b", term=2, is_prevote=True)), 1.0)

    assert ("candidate", HardState(2, "a")) == (core.role, core.state.hard_state)
    assert core.deadline >= 1.3


def test_a_prevote_is_no_vote() -> None:
    """Trap 3."""
    core = candidate(5)
    for source in ("b", "c", "d", "e"):
        core.step(Received(reply(source, term=2, is_prevote=True)), 1.0)

    assert core.role == "candidate"


def test_a_vote_counts_once() -> None:
    """Trap 3: a repeated answer is one answer."""
    core = candidate(5)
    for _ in range(3):
        core.step(Received(reply("b", term=2)), 1.0)

    assert core.role == "candidate"


def test_a_vote_of_an_older_campaign_does_not_count() -> None:
    """Trap 3."""
    core = candidate(3)
    core.step(TimePassed(), core.deadline)
    core.step(Received(reply("b", term=3, is_prevote=True)), core.state.now)
    assert ("candidate", 3) == (core.role, core.current_term)
    core.step(Received(reply("b", term=2)), core.state.now)
    core.step(Received(reply("c", term=2)), core.state.now)

    assert core.role == "candidate"


def test_the_own_vote_counts_from_when_it_is_stored() -> None:
    core = pre_candidate()
    core.step(Received(reply("b", term=2, is_prevote=True)), 1.0)
    core.take_effects()
    core.step(Received(reply("b", term=2)), 1.0)
    assert core.role == "candidate"
    core.step(Stored(1), 1.0)

    assert core.role == "leader"


@pytest.mark.parametrize(
    ("size", "grants", "refusals", "role"),
    [
        (1, 0, 0, "leader"),
        (2, 0, 0, "candidate"),
        (2, 1, 0, "leader"),
        (2, 0, 1, "follower"),
        (3, 1, 0, "leader"),
        (3, 0, 1, "candidate"),
        (3, 0, 2, "follower"),
        (4, 1, 1, "candidate"),
        (4, 2, 0, "leader"),
        (4, 1, 2, "follower"),
        (5, 2, 0, "leader"),
        (5, 2, 2, "leader"),
        (5, 1, 2, "candidate"),
        (5, 1, 3, "follower"),
        (5, 0, 3, "follower"),
    ],
)
def test_an_election_is_won_lost_or_undecided(
    size: int, grants: int, refusals: int, role: str
) -> None:
    """Section 5.2; with an even number a tie is no majority (trap 11)."""
    core = candidate(size)
    for position, source in enumerate(NODES[1 : 1 + grants + refusals]):
        core.step(Received(reply(source, term=2, is_granted=position < grants)), 1.0)

    assert role == core.role


def test_a_refusal_with_a_higher_term_is_adopted() -> None:
    """Trap 5: or a node with a higher term and a shorter log would hang for ever."""
    for is_prevote, core in ((True, pre_candidate()), (False, candidate())):
        core.step(
            Received(reply("b", term=7, is_granted=False, is_prevote=is_prevote)), core.state.now
        )

        assert ("follower", 7) == (core.role, core.current_term)


def test_a_candidate_that_times_out_asks_anew() -> None:
    core = candidate()
    core.step(TimePassed(), core.deadline)

    assert ("pre-candidate", 2) == (core.role, core.current_term)


def test_a_learner_never_campaigns() -> None:
    """It asks, for it may have been removed, and votes for itself not even when all are for it."""
    core = core_of(node_id="l", learners=("l",))
    before = core.deadline
    core.step(TimePassed(), before)
    asked = sent(core.take_effects())
    for voter in "abc":
        granted = RequestVoteReply(1, voter, "l", is_granted=True, is_prevote=True)
        core.step(Received(granted), before)

    assert ("follower", 0) == (core.role, core.current_term)
    assert core.deadline > before
    assert ["a", "b", "c"] == [message.target for message in asked]
    assert all(isinstance(message, RequestVote) and message.is_prevote for message in asked)
    assert [] == core.take_effects()


def test_an_earlier_write_does_not_store_the_own_vote() -> None:
    """A single voter must not lead on the strength of somebody else's write."""
    core = core_of(voters=("a",))
    core.step(Received(RequestVote(4, "x", "a", 0, 0, is_transfer=True)), 0.0)
    core.take_effects()
    core.step(TimePassed(), core.deadline)
    core.take_effects()
    core.step(Stored(1), core.state.now)
    assert ("candidate", 5) == (core.role, core.current_term)
    core.step(Stored(2), core.state.now)

    assert core.role == "leader"


def test_a_late_prevote_of_an_earlier_term_does_not_count() -> None:
    """Trap 3: it was granted for the term that this node has reached since."""
    core = candidate()
    core.step(TimePassed(), core.deadline)
    core.step(Received(reply("b", term=2, is_prevote=True)), core.state.now)

    assert ("pre-candidate", 2) == (core.role, core.current_term)
