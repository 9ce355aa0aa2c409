"""Section 5.2, leader election."""

import pytest

from liferaft.raft.events import Received
from liferaft.raft.messages import AppendEntries, RequestVote
from tests.raft.harness import NODES, Cluster, core_of, sent


def test_a_server_starts_as_a_follower() -> None:
    assert "follower" == core_of().role


def test_a_leader_sends_heartbeats_to_all_each_interval() -> None:
    cluster = Cluster(5)
    cluster.elect("a")
    for _ in range(3):
        messages = sent(cluster.time_out("a"))
        cluster.settle()

        assert list(NODES[1:]) == [message.target for message in messages]
        assert all(isinstance(m, AppendEntries) and not m.entries for m in messages)


@pytest.mark.parametrize("was_candidate", [False, True])
def test_silence_begins_an_election(was_candidate: bool) -> None:
    """A term more, the own vote, and a request to everyone; the pre-vote came before."""
    cluster = Cluster(3)
    cluster.time_out("a")
    cluster.settle_prevotes("a")
    if was_candidate:
        cluster.bag.clear()
        cluster.time_out("a")
        cluster.settle_prevotes("a")
    term = 2 if was_candidate else 1

    assert ("candidate", term, "a") == (
        cluster["a"].role,
        cluster["a"].current_term,
        cluster.nodes["a"].hard_state.voted_for,
    )
    assert [(term, "b"), (term, "c")] == [(message.term, message.target) for message in cluster.bag]


@pytest.mark.parametrize("term", [1, 2])
def test_a_candidate_follows_a_leader_of_its_own_or_a_later_term(term: int) -> None:
    cluster = Cluster(3)
    cluster.time_out("a")
    cluster.settle_prevotes("a")
    cluster.step("a", Received(AppendEntries(term, "b", "a", 0, 0, (), 0, 1)))

    assert ("follower", term, "b") == (
        cluster["a"].role,
        cluster["a"].current_term,
        cluster["a"].leader,
    )


def test_two_of_five_rarely_time_out_together() -> None:
    """In at most 30 % of 1,000 rounds the two first are within a twentieth of the timeout."""
    states = [core_of(node_id=name, voters=NODES, seed=i).state for i, name in enumerate(NODES)]
    together = 0
    for _ in range(1000):
        for state in states:
            state.restart_election_timer()
        first, second = sorted(state.election_deadline for state in states)[:2]
        together += second - first < 0.05 * states[0].config.election_timeout

    assert together <= 300


def test_two_candidates_at_once_end_with_one_leader() -> None:
    cluster = Cluster(4)
    cluster.now = 0.6
    cluster.time_out("a")
    cluster.time_out("b")
    for _ in range(60):
        cluster.settle()
        cluster.pass_time(0.05)
    cluster.settle()

    assert 1 == len(cluster.leaders)


def test_requests_carry_the_end_of_the_log() -> None:
    """Section 5.4.1."""
    cluster = Cluster(3, logs={"a": [1, 1, 4]})
    requests = sent(cluster.time_out("a"))

    assert [(3, 4), (3, 4)] == [
        (request.last_log_index, request.last_log_term)
        for request in requests
        if isinstance(request, RequestVote)
    ]
