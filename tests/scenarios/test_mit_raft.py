"""MIT 6.5840, lab 3 parts A and B: elections and agreement, with the lab's own limits.

The scenarios are the course's, told anew; names are kept so that they can be looked up.
"""

import pytest

from liferaft.raft.types import NodeId
from tests.scenarios.lab import ELECTION_SECONDS, Lab

# Part 3A: elections.


def test_initial_election() -> None:
    """One leader, one term; and while nothing happens, none of the two changes."""
    lab = Lab(3)
    leader = lab.leader()
    lab.run(0.05)
    terms = lab.terms()
    assert 1 == len(terms)
    assert min(terms) >= 1
    lab.run(2 * ELECTION_SECONDS)

    assert (terms, leader) == (lab.terms(), lab.leader())


def test_re_election() -> None:
    """A leader is replaced, returns and disturbs nobody; a minority elects nobody."""
    lab = Lab(3)
    first = lab.leader()
    lab.disconnect(first)
    second = lab.leader()
    assert first != second
    lab.connect(first)
    assert second == lab.leader()

    lab.disconnect(second, other := lab.others(second)[0])
    lab.run(2 * ELECTION_SECONDS)
    lab.assert_no_leader()

    lab.connect(other)
    third = lab.leader()
    lab.connect(second)

    assert third == lab.leader()


@pytest.mark.slow
def test_many_elections() -> None:
    """Seven servers; nine times three of them at random cannot talk."""
    lab = Lab(7)
    lab.leader()
    for _ in range(9):
        silent = lab.random.sample(lab.servers, 3)
        lab.disconnect(*silent)
        assert lab.leader() not in silent
        lab.connect(*silent)

    assert lab.leader()


# Part 3B: the log.


def test_basic_agree() -> None:
    """Nothing is committed before it is proposed, and then in the order of the proposals."""
    lab = Lab(3)
    lab.leader()
    indexes = []
    for _ in range(3):
        command = lab.command()
        assert [] == lab.holders(command)
        indexes.append(lab.one(command, on=3))

    assert [indexes[0], indexes[0] + 1, indexes[0] + 2] == indexes


def test_rpc_bytes() -> None:
    """Each command goes to each peer once: at most 3 x the payload and 50,000 bytes more."""
    lab = Lab(3)
    lab.one(on=3)
    before = lab.sent_bytes
    for _ in range(10):
        lab.one(lab.command(5000), on=3)

    assert lab.sent_bytes - before <= 3 * 10 * 5000 + 50_000


def test_follower_failure() -> None:
    """Agreement goes on without one follower, and stops without two."""
    lab = Lab(3)
    lab.one(on=3)
    first, second = lab.others(lab.leader())
    lab.disconnect(first)
    lab.one(on=2)
    lab.run(ELECTION_SECONDS)
    lab.one(on=2)

    leader = lab.leader()
    lab.disconnect(second)
    lost = lab.command()
    assert lab.propose(leader, lost)
    lab.run(2 * ELECTION_SECONDS)

    assert [] == lab.holders(lost)


def test_leader_failure() -> None:
    """The next leader goes on; when it is lost too, nothing is agreed on."""
    lab = Lab(3)
    lab.one(on=3)
    first = lab.leader()
    lab.disconnect(first)
    lab.one(on=2)
    lab.run(ELECTION_SECONDS)
    lab.one(on=2)

    second = lab.leader()
    lab.disconnect(second)
    lost = [lab.command() for _ in lab.servers]
    for server, command in zip(lab.servers, lost, strict=True):
        lab.propose(server, command)
    lab.run(2 * ELECTION_SECONDS)

    assert [[], [], []] == [lab.holders(command) for command in lost]


def test_fail_agree() -> None:
    """A follower that was away gets all that it missed."""
    lab = Lab(3)
    lab.one(on=3)
    away = lab.others(lab.leader())[0]
    lab.disconnect(away)
    for _ in range(2):
        lab.one(on=2)
    lab.run(ELECTION_SECONDS)
    for _ in range(2):
        lab.one(on=2)
    lab.connect(away)
    lab.one(on=3)
    lab.run(ELECTION_SECONDS)
    lab.one(on=3)

    lab.assert_applied_alike()


def test_fail_no_agree() -> None:
    """With three of five away nothing is committed; what comes later is, there or a place further.

    The lab says index 2 or 3; here each term begins with an entry of its own.
    """
    lab = Lab(5)
    before = lab.one(on=5)
    leader = lab.leader()
    away = lab.others(leader)[:3]
    lab.disconnect(*away)
    lost = lab.command()
    assert lab.propose(leader, lost)
    lab.run(2 * ELECTION_SECONDS)
    assert [] == lab.holders(lost)

    lab.connect(*away)
    again = lab.command()
    while not lab.propose(lab.leader(), again):
        pass
    lab.run(2 * ELECTION_SECONDS)
    terms = lab.cluster[leader].current_term

    assert lab.index_of(again) in range(before + 1, before + 2 + terms)
    lab.one(on=5)


def test_concurrent_starts() -> None:
    """Five commands at once end at five indexes that follow each other."""
    lab = Lab(3)
    leader = lab.leader()
    commands = [lab.command() for _ in range(5)]
    assert all(lab.propose(leader, command) for command in commands)
    lab.run(ELECTION_SECONDS)
    indexes = [lab.index_of(command) for command in commands]

    assert list(range(indexes[0], indexes[0] + 5)) == indexes
    assert all(3 == len(lab.holders(command)) for command in commands)


def test_rejoin() -> None:
    """Two leaders in turn are cut off with entries of their own, come back, and give them up."""
    lab = Lab(3)
    lab.one(on=3)
    first = lab.leader()
    lab.disconnect(first)
    given_up = [lab.command() for _ in range(3)]
    for command in given_up:
        lab.propose(first, command)
    lab.one(on=2)

    second = lab.leader()
    lab.disconnect(second)
    lab.connect(first)
    lab.one(on=2)
    lab.connect(second)
    lab.one(on=3)

    assert [[], [], []] == [lab.holders(command) for command in given_up]


def fill(lab: Lab, server: NodeId, count: int = 50) -> None:
    """Give a leader commands that nobody can commit."""
    for _ in range(count):
        assert lab.propose(server, lab.command())


@pytest.mark.slow
def test_backup() -> None:
    """Five servers, two stale leaders with 50 uncommitted entries each: reconciled in no time."""
    lab = Lab(5)
    lab.one(on=5)
    first = lab.leader()
    ally = lab.others(first)[0]
    majority = lab.others(first, ally)
    lab.disconnect(*majority)
    fill(lab, first)
    lab.run(0.2)
    lab.disconnect(first, ally)

    lab.connect(*majority)
    for _ in range(50):
        lab.one(on=3)
    second = lab.leader()
    other = next(server for server in majority if server != second)
    lab.disconnect(other)
    fill(lab, second)
    lab.run(0.2)

    lab.disconnect(*lab.servers)
    lab.connect(first, ally, other)
    for _ in range(50):
        lab.one(on=3)
    lab.connect(*lab.servers)
    began = lab.now
    lab.one(on=5)

    assert lab.now - began < ELECTION_SECONDS
    lab.assert_applied_alike()


def test_count() -> None:
    """Few calls: 1 to 30 to elect, (10 + 1 + 3) x 3 for ten commands, 60 in an idle second."""
    lab = Lab(3)
    leader = lab.leader()
    assert 1 <= lab.calls <= 30

    lab.run(ELECTION_SECONDS)
    before = lab.calls
    commands = [lab.command() for _ in range(10)]
    for command in commands:
        assert lab.propose(leader, command)
    assert lab.run_until(lambda: len(lab.holders(commands[-1])) == 3, ELECTION_SECONDS)
    assert lab.calls - before <= (10 + 1 + 3) * 3

    before = lab.calls
    lab.run(1.0)

    assert lab.calls - before <= 60
