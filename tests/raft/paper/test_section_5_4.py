"""Section 5.4, safety: who may be elected, and what may be committed by counting."""

import pytest

from liferaft.raft.events import Received
from liferaft.raft.messages import AppendEntriesReply
from liferaft.raft.types import HardState
from tests.raft.harness import Cluster


@pytest.mark.parametrize(
    ("candidate", "voter", "is_elected"),
    [
        ([1], [1], True),
        ([1, 1], [1], True),
        ([1], [1, 1], False),
        ([2], [1, 1, 1], True),
        ([1, 1, 1], [2], False),
        ([], [1], False),
        ([], [], True),
    ],
)
def test_only_a_candidate_with_all_that_is_committed_is_elected(
    candidate: list[int], voter: list[int], is_elected: bool
) -> None:
    """Section 5.4.1, election restriction; both voters have the same log."""
    cluster = Cluster(
        3,
        logs={"a": candidate, "b": voter, "c": voter},
        hard_states={name: HardState(2) for name in "abc"},
    )
    cluster.forget_leader()
    cluster.time_out("a")
    cluster.settle()

    assert is_elected == (cluster["a"].role == "leader")


@pytest.mark.parametrize(("stored_by_follower", "expected"), [(1, 0), (2, 0), (3, 3)])
def test_only_entries_of_the_leaders_own_term_are_committed_by_counting(
    stored_by_follower: int, expected: int
) -> None:
    """Section 5.4.2: entries 1 and 2 are older, entry 3 is the no-op of the leader's own term."""
    cluster = Cluster(3, logs={"a": [1, 2], "b": [1, 2], "c": []})
    cluster.forget_leader()
    cluster.time_out("a")
    while cluster["a"].role != "leader":
        cluster.deliver(cluster.bag.pop(0))
    reply = AppendEntriesReply(3, "b", "a", True, stored_by_follower, 0, 0, 0, 1)
    cluster.step("a", Received(reply))

    assert expected == cluster["a"].commit_index
