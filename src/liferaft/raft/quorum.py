"""Majorities, and the pair of majorities of the joint phase (Figures 10 and 11). Pure functions.

Every decision that needs a quorum (votes, commit, reads, check-quorum) asks here, so that the
joint phase can be forgotten nowhere. Learners are never looked at.
"""

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from liferaft.raft.types import Configuration, NodeId

NumberT = TypeVar("NumberT", int, float)


class VoteResult(Enum):
    """What the votes counted so far amount to."""

    PENDING = "pending"
    WON = "won"
    LOST = "lost"


def majority_reached(values: Mapping[NodeId, NumberT], voters: tuple[NodeId, ...]) -> NumberT:
    """Return the highest value that a majority of `voters` has reached.

    A voter without a value counts as 0, the empty prefix.
    Source: Figure 2, Rules for Servers, Leaders, last rule.
    """
    assert voters, "an empty configuration has no majority"
    ascending = sorted([values.get(voter, 0) for voter in voters])
    return ascending[(len(ascending) - 1) // 2]


def quorum_reached(values: Mapping[NodeId, NumberT], configuration: Configuration) -> NumberT:
    """Return the highest value that a quorum has reached: in the joint phase, both majorities."""
    reached = majority_reached(values, configuration.voters)
    if configuration.voters_outgoing:
        return min(reached, majority_reached(values, configuration.voters_outgoing))
    return reached


def vote_result(votes: Mapping[NodeId, bool], configuration: Configuration) -> VoteResult:
    """Return whether the votes win, can no longer win, or neither yet (section 5.2, Figure 11)."""
    results = [_majority_vote(votes, configuration.voters)]
    if configuration.voters_outgoing:
        results.append(_majority_vote(votes, configuration.voters_outgoing))
    if VoteResult.LOST in results:
        return VoteResult.LOST
    if VoteResult.PENDING in results:
        return VoteResult.PENDING
    return VoteResult.WON


def _majority_vote(votes: Mapping[NodeId, bool], voters: tuple[NodeId, ...]) -> VoteResult:
    majority = len(voters) // 2 + 1
    granted = sum(votes.get(voter) is True for voter in voters)
    refused = sum(votes.get(voter) is False for voter in voters)
    if granted >= majority:
        return VoteResult.WON
    if granted + len(voters) - granted - refused < majority:
        return VoteResult.LOST
    return VoteResult.PENDING
