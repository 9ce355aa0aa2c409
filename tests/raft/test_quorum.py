"""Majorities, compared with definitions that anyone can check by eye."""

from hypothesis import given
from hypothesis import strategies as st

from liferaft.raft.quorum import VoteResult, majority_reached, quorum_reached, vote_result
from liferaft.raft.types import Configuration, NodeId

NODES = st.sampled_from("abcdefg")
VOTERS = st.sets(NODES, min_size=1).map(lambda nodes: tuple(sorted(nodes)))


def naive_majority_reached(values: dict[NodeId, int], voters: tuple[NodeId, ...]) -> int:
    """Try each value: the highest that more than half of the voters have."""
    candidates = [0, *values.values()]
    return max(
        value
        for value in candidates
        if 2 * sum(values.get(voter, 0) >= value for voter in voters) > len(voters)
    )


@given(values=st.dictionaries(NODES, st.integers(0, 9)), voters=VOTERS)
def test_majority_reached_is_what_more_than_half_have(
    values: dict[NodeId, int], voters: tuple[NodeId, ...]
) -> None:
    assert naive_majority_reached(values, voters) == majority_reached(values, voters)


@given(values=st.dictionaries(NODES, st.integers(0, 9)), voters=VOTERS, outgoing=VOTERS)
def test_the_joint_phase_needs_both_majorities(
    values: dict[NodeId, int], voters: tuple[NodeId, ...], outgoing: tuple[NodeId, ...]
) -> None:
    """Figure 11: agreement requires separate majorities of both configurations."""
    configuration = Configuration(voters=voters, voters_outgoing=outgoing)
    both = min(naive_majority_reached(values, voters), naive_majority_reached(values, outgoing))

    assert both == quorum_reached(values, configuration)


@given(votes=st.dictionaries(NODES, st.booleans()), voters=VOTERS, outgoing=st.none() | VOTERS)
def test_a_vote_is_decided_as_soon_as_nothing_can_change_it(
    votes: dict[NodeId, bool], voters: tuple[NodeId, ...], outgoing: tuple[NodeId, ...] | None
) -> None:
    """Won, if it is won though all others refuse; lost, if it is though all others grant."""
    configuration = Configuration(voters=voters, voters_outgoing=outgoing or ())
    halves = [voters, outgoing] if outgoing else [voters]

    def wins(default: bool) -> bool:
        return all(
            2 * sum(votes.get(voter, default) for voter in half) > len(half) for half in halves
        )

    expected = VoteResult.WON if wins(False) else VoteResult.PENDING
    if not wins(True):
        expected = VoteResult.LOST

    assert expected == vote_result(votes, configuration)


def test_a_learner_counts_nowhere() -> None:
    configuration = Configuration(voters=("a", "b", "c"), learners=("l", "m"))

    assert quorum_reached({"a": 1, "l": 9, "m": 9}, configuration) == 0
    assert VoteResult.PENDING == vote_result({"a": True, "l": True, "m": True}, configuration)
