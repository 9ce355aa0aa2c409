"""Who takes part."""

import pytest

from liferaft.errors import ConfigurationError, InvariantViolated
from liferaft.raft.configuration import (
    ConfigurationLog,
    checked,
    decoded,
    encoded,
    is_voter,
    members,
)
from liferaft.raft.types import Configuration, Entry, EntryKind

JOINT = Configuration(voters=("b", "c"), voters_outgoing=("a", "b"), learners=("l",))


def test_everyone_of_both_halves_and_the_learners_receives_the_log() -> None:
    assert ("a", "b", "c", "l") == members(JOINT)


@pytest.mark.parametrize(("node_id", "expected"), [("a", True), ("c", True), ("l", False)])
def test_who_votes_in_either_half_is_a_voter(node_id: str, expected: bool) -> None:
    assert expected == is_voter(JOINT, node_id)


@pytest.mark.parametrize(
    ("configuration", "complaint"),
    [
        (Configuration(voters=()), "without voters"),
        (Configuration(voters=("b", "a")), "voters must be sorted"),
        (Configuration(voters=("a",), learners=("l", "l")), "learners must be sorted"),
        (Configuration(voters=("a",), learners=("a",)), "a cannot both vote and learn"),
        (Configuration(voters=("a",), voters_outgoing=("b",), learners=("b",)), "b cannot both"),
    ],
)
def test_what_nobody_could_go_by_is_refused(configuration: Configuration, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        checked(configuration)


def test_a_joint_configuration_with_learners_is_accepted() -> None:
    assert checked(JOINT) == JOINT


def entry(index: int, *voters: str) -> Entry:
    configuration = Configuration(voters=voters)
    return Entry(1, index, int(EntryKind.CONFIGURATION), encoded(configuration))


def test_what_no_longer_counted_long_ago_is_forgotten() -> None:
    held = ConfigurationLog(Configuration(voters=("a",)), 0, [entry(3, "a", "b"), entry(7, "b")])
    at_5 = held.at(5)
    held.forget_before(7)

    assert ("a", "b") == at_5.voters
    assert ("b",) == held.at(7).voters
    with pytest.raises(InvariantViolated, match="the configuration at 5 is forgotten"):
        held.at(5)


def test_what_is_no_configuration_is_told() -> None:
    with pytest.raises(ConfigurationError, match="carries no configuration"):
        decoded(b"\xff")
