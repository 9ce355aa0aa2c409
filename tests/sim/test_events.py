"""What a tool from outside reads: no message is taken for another, and effects follow causes."""

import pytest

from liferaft.raft.messages import (
    AppendEntries,
    InstallSnapshot,
    InstallSnapshotReply,
    Message,
    ReadIndex,
    ReadIndexReply,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
)
from liferaft.raft.types import Configuration, Snapshot
from liferaft.sim.events import Transition, TransitionRecorder, traced_message
from liferaft.sim.options import SimulationOptions
from liferaft.sim.run import simulate


@pytest.mark.parametrize(
    ("message", "name", "vote"),
    [
        (RequestVote(2, "a", "b", 5, 1), "RequestVote", "a"),
        (RequestVote(2, "a", "b", 5, 1, is_prevote=True), "PreVote", None),
        (RequestVoteReply(2, "b", "a", True), "RequestVoteReply", "a"),
        (RequestVoteReply(2, "b", "a", True, is_prevote=True), "PreVoteReply", None),
        (RequestVoteReply(2, "b", "a", False), "RequestVoteReply", None),
    ],
    ids=["request", "pre-vote", "vote", "granted pre-vote", "refusal"],
)
def test_a_pre_vote_is_never_taken_for_a_vote(
    message: Message, name: str, vote: str | None
) -> None:
    """A voter may grant pre-votes to two candidates of one term; that is no double vote."""
    traced = traced_message(message)

    assert (name, vote) == (traced.type, traced.vote)


@pytest.mark.parametrize(
    "message",
    [
        TimeoutNow(3, "a", "b"),
        InstallSnapshot(3, "a", "b", Snapshot(7, 2, Configuration(voters=("a", "b"))), 4),
        InstallSnapshotReply(3, "a", "b", 7, 0, is_failed=True, round=4),
        ReadIndex(3, "a", "b", 4),
        ReadIndexReply(3, "a", "b", 4, 7),
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_message_has_a_line(message: Message) -> None:
    traced = traced_message(message)

    assert (type(message).__name__, 3, "a", "b") == (
        traced.type,
        traced.term,
        traced.source,
        traced.target,
    )


def test_two_heartbeats_of_two_rounds_are_told_apart() -> None:
    one, next_one = (
        traced_message(AppendEntries(1, "a", "b", 1, 1, (), 1, number)) for number in (7, 8)
    )

    assert (7, 8) == (one.round, next_one.round)


@pytest.mark.parametrize(
    "message",
    [
        TimeoutNow(2, "a", "b"),
        InstallSnapshot(2, "a", "b", Snapshot(7, 1, Configuration(voters=("a",))), 3),
        InstallSnapshotReply(2, "b", "a", 7, 7, False, 3),
        ReadIndex(2, "b", "a", 4),
        ReadIndexReply(2, "a", "b", 4, 9),
    ],
    ids=lambda message: type(message).__name__,
)
def test_every_other_message_can_be_told_too(message: Message) -> None:
    traced = traced_message(message)

    assert type(message).__name__ == traced.type
    assert (2, message.source, message.target) == (traced.term, traced.source, traced.target)


def test_every_message_that_arrives_was_sent_before() -> None:
    transitions: list[Transition] = []
    recorder = TransitionRecorder(transitions.append)
    simulate(2, SimulationOptions(profile="calm", seconds=1.0), observers=(recorder,))
    sent = set()
    unexplained = []
    for transition in transitions:
        if transition.name.startswith("Send"):
            sent.add(transition.msg)
        elif transition.name.startswith("Receive") and transition.msg not in sent:
            unexplained.append(transition)

    assert sent
    assert [] == unexplained
