"""The commit rule."""

import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.commitment import advance_commit_index, next_commit_index
from liferaft.raft.state import Leader
from tests.raft.harness import Cluster


def test_leader_does_not_commit_an_older_term_by_counting() -> None:
    """An entry of term 2 on a majority stays uncommitted under a leader of term 4 (Figure 8)."""
    committed = next_commit_index(commit_index=1, stored_index=2, stored_term=2, current_term=4)

    assert 1 == committed


def test_an_entry_of_the_own_term_commits_all_before_it() -> None:
    assert 3 == next_commit_index(commit_index=1, stored_index=3, stored_term=4, current_term=4)


def test_the_commit_index_never_falls() -> None:
    assert 5 == next_commit_index(commit_index=5, stored_index=3, stored_term=4, current_term=4)


def test_what_no_leader_wrote_is_never_committed() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    state = cluster["a"].state
    assert isinstance(state.role, Leader)
    for progress in state.role.progress.values():
        progress.match_index = 9

    with pytest.raises(InvariantViolated, match="a quorum stores 9"):
        advance_commit_index(state, state.role)


def test_committed_batches_leave_the_leaders_queue() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.propose("a", b"one", b"two")
    queued_bytes = cluster["a"].statistics().uncommitted_bytes
    cluster.settle()

    assert queued_bytes > 0 == cluster["a"].statistics().uncommitted_bytes
