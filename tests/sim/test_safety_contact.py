"""A leader on whom no quorum answers leads no longer, or the checker says so."""

import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.core import RaftCore
from liferaft.raft.events import Event, PeerAlive, Received, TimePassed
from liferaft.raft.leading import begin_term
from liferaft.raft.messages import AppendEntriesReply
from liferaft.raft.types import Configuration, HardState
from liferaft.sim.safety import SafetyChecker
from tests.raft.harness import core_of
from tests.sim.test_safety import voted

FIVE = ("a", "b", "c", "d", "e")


class Leader:
    """A core that leads term 2 of five since 0 s, and never steps down; and who looks at it."""

    def __init__(self) -> None:
        self.core: RaftCore = core_of(voters=FIVE, hard_state=HardState(2, "a"))
        self.core.state.role = begin_term(self.core.state)
        self.timeout = self.core.state.config.election_timeout
        self.checker = SafetyChecker()
        self.checker.observe("a", self.core, voted(self.core), [])

    def turn(self, timeouts: float, *events: Event) -> None:
        """Let it take a turn so many election timeouts after its beginning."""
        self.core.state.now = timeouts * self.timeout
        self.checker.observe("a", self.core, events, [])


def answer(source: str, *, term: int = 2) -> Received:
    """Return what a follower says to a heartbeat."""
    return Received(AppendEntriesReply(term, source, "a", True, 0, 0, 0, 0, 1))


def test_who_hears_of_a_quorum_again_and_again_leads_on() -> None:
    leader = Leader()
    for number in range(1, 20):
        one, other = ("bc", "cd", "de")[number % 3]
        leader.turn(number * 0.6, answer(one), answer(other))


def test_an_election_timeout_after_the_last_answer_of_a_quorum_it_must_have_stepped_down() -> None:
    leader = Leader()
    leader.turn(0.5, answer("b"), answer("c"))
    leader.turn(1.4, answer("b"), TimePassed())

    with pytest.raises(InvariantViolated, match=r"check-quorum: a leads term 2 at 0\.\d+ s of its"):
        leader.turn(1.6, answer("b"), TimePassed())


def test_who_is_elected_again_has_an_election_timeout_once_more() -> None:
    leader = Leader()
    leader.core.state.now = 9.0 * leader.timeout
    leader.core.state.hard_state = HardState(3, "a")
    leader.core.state.role = begin_term(leader.core.state)
    leader.checker.observe("a", leader.core, voted(leader.core), [])
    leader.turn(9.9, TimePassed())

    with pytest.raises(InvariantViolated, match="check-quorum"):
        leader.turn(10.0, TimePassed())


def test_answers_of_an_earlier_term_are_none() -> None:
    leader = Leader()
    leader.turn(0.5, answer("b", term=1), answer("c", term=1))

    with pytest.raises(InvariantViolated, match="check-quorum"):
        leader.turn(1.0, TimePassed())


def test_signs_of_life_are_contact_and_nothing_that_a_leader_is_judged_by() -> None:
    """A group at rest has no answers, and what ends the rest may be the sign that is missing."""
    leader = Leader()
    leader.turn(5.0)
    leader.turn(5.0, PeerAlive("b", 2, 0.0))
    leader.turn(5.0, PeerAlive("c", 2, 0.0), TimePassed())

    with pytest.raises(InvariantViolated, match="check-quorum"):
        leader.turn(7.0, PeerAlive("b", 2, 0.0), TimePassed())


def test_new_members_have_an_election_timeout_to_answer() -> None:
    leader = Leader()
    leader.turn(0.9, answer("b"), answer("c"))
    leader.core.state.configurations.latest = Configuration(voters=("a", "x", "y"))
    leader.turn(1.0, TimePassed())
    leader.turn(1.9, TimePassed())

    with pytest.raises(InvariantViolated, match="check-quorum"):
        leader.turn(2.0, TimePassed())
