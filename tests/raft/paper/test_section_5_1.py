"""Section 5.1, Raft basics: terms."""

import pytest

from liferaft.raft.events import Received
from liferaft.raft.messages import AppendEntries, AppendEntriesReply, Message, RequestVote
from liferaft.raft.types import HardState
from tests.raft.harness import Cluster, core_of, sent

NEWER: list[Message] = [
    AppendEntries(9, "b", "a", 0, 0, (), 0, 1),
    AppendEntriesReply(9, "b", "a", False, 0, 0, 0, 0, 1),
    RequestVote(9, "b", "a", 0, 0, is_transfer=True),
]


@pytest.mark.parametrize("role", ["follower", "pre-candidate", "candidate", "leader"])
@pytest.mark.parametrize("message", NEWER)
def test_a_server_that_sees_a_higher_term_adopts_it_and_follows(
    role: str, message: Message
) -> None:
    cluster = Cluster(3)
    if role != "follower":
        cluster.time_out("a")
    if role == "candidate":
        cluster.settle_prevotes("a")
    if role == "leader":
        cluster.settle()
    assert role == cluster["a"].role
    cluster.step("a", Received(message))

    assert ("follower", 9) == (cluster["a"].role, cluster["a"].current_term)


@pytest.mark.parametrize(
    "message",
    [AppendEntries(2, "b", "a", 0, 0, (), 0, 1), RequestVote(2, "b", "a", 9, 1)],
)
def test_a_request_with_a_stale_term_is_refused_and_changes_nothing(message: Message) -> None:
    core = core_of(hard_state=HardState(3))
    deadline = core.deadline
    core.step(Received(message), 0.1)
    (reply,) = sent(core.take_effects())

    assert 3 == reply.term
    assert (HardState(3), deadline, None) == (core.state.hard_state, core.deadline, core.leader)


def test_an_answer_with_a_stale_term_is_ignored() -> None:
    cluster = Cluster(3, hard_states={name: HardState(5) for name in "abc"})
    cluster.elect("a")
    before = cluster["a"].statistics()
    cluster.step("a", Received(AppendEntriesReply(5, "b", "a", True, 99, 0, 0, 0, 1)))

    assert before == cluster["a"].statistics()
