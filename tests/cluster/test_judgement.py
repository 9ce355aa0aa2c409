"""A majority of the voters is right, part by part of the state; nobody is where there is none."""

import pytest

from liferaft.cluster.judgement import (
    Judgement,
    ReplicaDigest,
    Verdict,
    differences,
    judgement,
    verdict,
)
from liferaft.raft.types import Configuration, NodeId

THREE = Configuration(voters=("n1", "n2", "n3"))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"n1": "a"}, Verdict.UNDECIDED),
        ({"n1": "a", "n2": "a"}, Verdict.EQUAL),
        ({"n1": "a", "n2": "b"}, Verdict.UNDECIDED),
        ({"n1": "a", "n2": "b", "n3": "b"}, Verdict.DIFFERS),
        ({"n1": "a", "n2": "b", "n3": "c"}, Verdict.SPLIT),
        ({"n1": "a", "n8": "b", "n9": "b"}, Verdict.UNDECIDED),
    ],
)
def test_a_majority_of_the_voters_is_right(told: dict[NodeId, str], expected: Verdict) -> None:
    assert expected == verdict("a", told, THREE)


def test_two_that_differ_are_both_wrong() -> None:
    assert Verdict.SPLIT == verdict("a", {"n1": "a", "n2": "b"}, Configuration(voters=("n1", "n2")))


def test_a_learner_is_judged_and_does_not_judge() -> None:
    configuration = Configuration(voters=("n1", "n2", "n3"), learners=("n4",))

    assert Verdict.DIFFERS == verdict("b", {"n1": "a", "n2": "a", "n4": "b"}, configuration)
    assert Verdict.UNDECIDED == verdict("a", {"n1": "a", "n4": "a"}, configuration)


def test_in_the_joint_phase_both_majorities_must_agree() -> None:
    joint = Configuration(voters=("n1", "n4", "n5"), voters_outgoing=("n1", "n2", "n3"))
    told = {"n1": "a", "n2": "a", "n4": "b"}

    assert Verdict.UNDECIDED == verdict("a", told, joint)
    assert Verdict.EQUAL == verdict("a", {**told, "n5": "a"}, joint)


def test_who_knows_of_no_voter_judges_nobody() -> None:
    assert Verdict.UNDECIDED == verdict("a", {"n1": "a"}, Configuration(voters=()))


def _digest(index: int, lines: str, **others: str) -> ReplicaDigest:
    named = {f"Book.{name}": digest for name, digest in others.items()}
    return ReplicaDigest(index, {"Book.lines": lines, **named}, None)


def test_every_part_counts_and_is_named() -> None:
    told = {
        "n1": _digest(1, "a", title="x"),
        "n2": _digest(1, "a", title="y"),
        "n3": _digest(1, "a", title="y"),
    }

    assert Judgement(Verdict.DIFFERS, ("Book.title",)) == judgement(told["n1"], told, THREE)
    assert Judgement(Verdict.EQUAL) == judgement(told["n2"], told, THREE)
    assert "Book.title (n1 x, n2 y, n3 y)" == differences(told)


def test_what_only_some_nodes_have_is_judged_among_them() -> None:
    """A new version of a class adds an attribute, and the nodes get it one after the other."""
    old, new = _digest(1, "a"), _digest(1, "a", flag="off")
    for told in ({"n1": old, "n2": old, "n3": new}, {"n1": old, "n2": new, "n3": new}):
        for each in told.values():
            assert Judgement(Verdict.EQUAL) == judgement(each, told, THREE)

    wrong = _digest(1, "b", flag="off")
    told = {"n1": old, "n2": old, "n3": wrong}
    assert Judgement(Verdict.DIFFERS, ("Book.lines",)) == judgement(wrong, told, THREE)
    assert Verdict.UNDECIDED is judgement(new, {"n3": new}, THREE).verdict
