"""Guards of members taken out of the whole stack, one at a time; see breakers.py.

Some are taken out of the cores as well: core_change_breakers.py.
"""

from collections.abc import Callable, Mapping

import pytest
from msgspec.structs import replace

from liferaft.cluster.links import Links
from liferaft.cluster.member import Member
from liferaft.raft import campaigning, membership, rules
from liferaft.raft.effects import ConfigurationChanged
from liferaft.raft.messages import RequestVote
from liferaft.raft.quorum import VoteResult, vote_result
from liferaft.raft.rules import Rules
from liferaft.raft.state import Leader, RaftState
from liferaft.raft.types import Configuration, NodeId
from tests.sim.core_change_breakers import (
    commit_by_the_new_majority_alone,
    count_learners_in_commits,
    elect_by_the_new_majority_alone,
    end_the_joint_phase_before_it_is_committed,
    go_by_members_that_were_taken_back,
    keep_the_members_of_before_the_snapshot,
)


def do_not_tell_who_was_removed(patch: pytest.MonkeyPatch) -> None:
    """It asks and asks, for nobody sends it the log any more."""
    patch.setattr(rules, "tell_removed", lambda *_: None)
    patch.setattr(rules, "forget_departed", _forget_at_once)


def _forget_at_once(_state: RaftState, leader: Leader) -> None:
    for node_id in list(leader.departing):
        del leader.departing[node_id], leader.progress[node_id]


def let_followers_keep_a_removed_node_s_question(patch: pytest.MonkeyPatch) -> None:
    """Who leads may be unknown to it."""
    hear = Rules._hear_removed

    def broken(self: Rules, request: RequestVote) -> None:
        if isinstance(self._state.role, Leader):
            hear(self, request)

    patch.setattr(Rules, "_hear_removed", broken)


def go_on_after_the_own_removal(patch: pytest.MonkeyPatch) -> None:
    """A removed node ends by itself."""
    changed = Member._configuration_changed

    def broken(self: Member, effect: ConfigurationChanged) -> None:
        if self.config.node_id not in effect.configuration.retired:
            changed(self, effect)

    patch.setattr(Member, "_configuration_changed", broken)


def keep_to_oneself_where_one_is(patch: pytest.MonkeyPatch) -> None:
    """Who is far behind has no address of a leader that came meanwhile."""
    patch.setattr(Links, "meet", lambda *_: False)


def leave_a_joint_phase_to_who_began_it(patch: pytest.MonkeyPatch) -> None:
    """Section 6: whoever leads when it is committed ends it."""
    pursue = membership.pursue_change

    def broken(state: RaftState, leader: Leader) -> None:
        is_found = state.configurations.latest_index < leader.term_start
        if not (state.configuration.voters_outgoing and is_found):
            pursue(state, leader)

    patch.setattr(rules, "pursue_change", broken)


def let_learners_elect(patch: pytest.MonkeyPatch) -> None:
    """A learner has no vote that counts."""

    def broken(votes: Mapping[NodeId, bool], configuration: Configuration) -> VoteResult:
        granted = sum(votes.values())
        if not configuration.voters_outgoing and 2 * granted > len(configuration.voters):
            return VoteResult.WON
        return vote_result(votes, configuration)

    ask = campaigning.vote_requests

    def broken_requests(state: RaftState, *, is_prevote: bool) -> list[RequestVote]:
        requests = ask(state, is_prevote=is_prevote)
        learners = state.configuration.learners if requests else ()
        return requests + [replace(requests[0], target=each) for each in learners]

    patch.setattr(rules, "vote_requests", broken_requests)
    patch.setattr(campaigning, "vote_result", broken)


MEMBER_BREAKERS: tuple[Callable[[pytest.MonkeyPatch], None], ...] = (
    commit_by_the_new_majority_alone,
    elect_by_the_new_majority_alone,
    count_learners_in_commits,
    let_learners_elect,
    go_by_members_that_were_taken_back,
    end_the_joint_phase_before_it_is_committed,
    leave_a_joint_phase_to_who_began_it,
    keep_the_members_of_before_the_snapshot,
    do_not_tell_who_was_removed,
    let_followers_keep_a_removed_node_s_question,
    go_on_after_the_own_removal,
    keep_to_oneself_where_one_is,
)
