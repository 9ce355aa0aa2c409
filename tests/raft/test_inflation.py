"""A message with a huge term must not use up the terms of a cluster. faults.md, security, 14."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liferaft.raft.events import Received
from liferaft.raft.inflation import TERM_STEP_MAX, TermLimit
from liferaft.raft.messages import NUMBER_MAX, AppendEntries, Message, RequestVote
from tests.raft.harness import NODES, Cluster


def inflated(
    kind: type, *, target: str = "a", source: str = "c", term: int = NUMBER_MAX
) -> Message:
    """Return a message of a term that no election led to, from somebody who is not loyal."""
    if kind is RequestVote:
        return RequestVote(term, source, target, 9, 0, is_transfer=True)
    return AppendEntries(term, source, target, 0, 0, (), 0, 1)


def leaderless(size: int = 3) -> Cluster:
    """Return a cluster in term 1 whose servers have just lost their leader."""
    cluster = Cluster(size)
    cluster.elect("a")
    cluster.forget_leader()
    return cluster


def elect_anyone(cluster: Cluster) -> str:
    """Let time pass until a node leads that all others follow."""
    for _ in range(200):
        cluster.pass_time(0.1)
        cluster.settle()
        for leader in cluster.leaders:
            if all(node.core.leader == leader for node in cluster.nodes.values()):
                return leader
    raise AssertionError("nobody leads")


@pytest.mark.parametrize("kind", [RequestVote, AppendEntries])
def test_one_message_cannot_use_up_the_terms(kind: type) -> None:
    cluster = leaderless()
    cluster.step("a", *[Received(inflated(kind))] * 1000)
    after = cluster["a"].current_term
    leader = elect_anyone(cluster)
    cluster.propose(leader, b"still")
    cluster.settle()

    assert 1 + TERM_STEP_MAX == after
    assert [b"still"] == cluster.nodes["a"].commands
    assert 1000 == cluster["a"].statistics().unsound_messages


def test_a_term_within_a_step_is_adopted_as_ever() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.step("a", Received(inflated(AppendEntries, term=1 + TERM_STEP_MAX)))

    assert (1 + TERM_STEP_MAX, "c") == (cluster["a"].current_term, cluster["a"].leader)
    assert 0 == cluster["a"].statistics().unsound_messages


@pytest.mark.parametrize("target", ["a", "b"])
@pytest.mark.parametrize("kind", [RequestVote, AppendEntries])
def test_a_term_that_is_too_far_away_deposes_no_live_leader(kind: type, target: str) -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.heartbeat("a")
    cluster.settle()
    cluster.step(target, Received(inflated(kind, target=target)))

    assert (1, "a") == (cluster[target].current_term, cluster[target].leader)
    assert 1 == cluster[target].statistics().unsound_messages


def test_a_term_that_is_too_far_away_makes_nobody_the_leader() -> None:
    cluster = leaderless()
    cluster.step("a", Received(inflated(AppendEntries)))

    assert ("follower", None) == (cluster["a"].role, cluster["a"].leader)


def test_servers_that_were_pushed_ahead_by_different_steps_meet_again() -> None:
    """A bound that makes servers deaf to those ahead of it would let ten messages part them."""
    cluster = Cluster(3)
    cluster.elect("a")
    for pushes, target in enumerate(NODES[:3]):
        for _ in range(5 * pushes):
            cluster.step(target, Received(inflated(RequestVote, target=target, source="z")))
            cluster.now += cluster.config.election_timeout
    ahead = cluster["c"].current_term - cluster["a"].current_term
    leader = elect_anyone(cluster)
    cluster.propose(leader, b"together")
    cluster.settle()
    cluster.heartbeat(leader)
    cluster.settle()

    assert ahead >= 9 * TERM_STEP_MAX
    assert [[b"together"]] * 3 == [node.commands for node in cluster.nodes.values()]


@given(st.lists(st.tuples(st.integers(0, NUMBER_MAX), st.floats(0, 0.5)), min_size=1, max_size=50))
def test_the_term_rises_by_at_most_a_step_in_any_window(told: list[tuple[int, float]]) -> None:
    limit = TermLimit(window=0.3)
    now, term = 0.0, 1
    history = [(now, term)]
    for wanted, pause in told:
        now += pause
        allowed = limit.allowed(wanted, current_term=term, now=now)
        assert allowed <= wanted
        assert allowed == wanted or allowed >= term
        term = max(term, allowed)
        history.append((now, term))
    for start, before in history:
        # A window may begin anywhere, so any stretch of its length touches two of them.
        reached = max(after for at, after in history if at < start + 0.3)
        assert reached - before <= 2 * TERM_STEP_MAX
