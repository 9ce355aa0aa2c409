"""MIT 6.5840, lab 3 part C: crashes, restarts, and networks that lose, delay and reorder.

Disks take a few milliseconds here, and a crash loses what they have not finished. There are as many
rounds as in the course.
"""

import pytest

from liferaft.raft.types import NodeId
from tests.scenarios.lab import ELECTION_SECONDS, UNRELIABLE, Lab, Weather

DISK_SECONDS = 0.003
MAJORITY = 3


def test_persist_1() -> None:
    """All three restart, then the leader, then each in turn; nothing is forgotten."""
    lab = Lab(3, disk_seconds=DISK_SECONDS)
    lab.one(on=3)
    lab.crash(*lab.servers)
    lab.restart(*lab.servers)
    lab.one(on=3)

    leader = lab.leader()
    lab.crash(leader)
    lab.restart(leader)
    lab.one(on=3)

    leader = lab.leader()
    lab.crash(leader)
    lab.one(on=2)
    lab.restart(leader)
    lab.run(ELECTION_SECONDS)

    follower = lab.others(lab.leader())[0]
    lab.crash(follower)
    lab.one(on=2)
    lab.restart(follower)
    lab.one(on=3)

    lab.assert_applied_alike()


def test_persist_2() -> None:
    """Five rounds in which majorities of five restart, in turns, with commands in between."""
    lab = Lab(5, disk_seconds=DISK_SECONDS)
    for _ in range(5):
        lab.one(on=5)
        leader = lab.leader()
        one, two, three, four = lab.others(leader)
        lab.crash(one, two)
        lab.one(on=3)
        lab.crash(leader, three, four)

        lab.restart(one, two)
        lab.run(ELECTION_SECONDS)
        lab.restart(three)
        lab.one(on=3)
        lab.restart(four, leader)
    lab.one(on=5)

    lab.run(ELECTION_SECONDS)
    lab.assert_applied_alike()


def test_persist_3() -> None:
    """A leader and one follower are split off and crash; the follower returns with the third."""
    lab = Lab(3, disk_seconds=DISK_SECONDS)
    lab.one(on=3)
    leader = lab.leader()
    follower, third = lab.others(leader)
    lab.disconnect(third)
    lab.one(on=2)
    lab.crash(leader, follower)

    lab.connect(third)
    lab.restart(leader)
    lab.one(on=2)
    lab.restart(follower)
    lab.one(on=3)

    lab.run(ELECTION_SECONDS)
    lab.assert_applied_alike()


@pytest.mark.slow
def test_figure_8() -> None:
    """A thousand times a leader takes a command, and crashes, now and then before it commits it."""
    lab = Lab(5, disk_seconds=DISK_SECONDS)
    lab.one(on=1)
    down: list[NodeId] = []
    for _ in range(1000):
        leader = take_a_command(lab)
        lab.run(lab.random.uniform(0.0, 0.5 if lab.random.random() < 0.1 else 0.013))
        if leader is not None:
            lab.crash(leader)
            down.append(leader)
        if len(down) > len(lab.servers) - MAJORITY:
            lab.restart(down.pop(lab.random.randrange(len(down))))
    lab.restart(*down)
    lab.one(on=5)

    lab.assert_applied_alike()
    assert len(lab.cluster.committed) > 20


def take_a_command(lab: Lab) -> NodeId | None:
    """Propose a command to everyone; return the last who took it."""
    takers = [server for server in lab.servers if lab.propose(server, lab.command())]
    return takers[-1] if takers else None


@pytest.mark.slow
def test_unreliable_agree() -> None:
    """49 times five commands at once, over a network that loses a tenth each way."""
    lab = Lab(5, weather=UNRELIABLE, disk_seconds=DISK_SECONDS)
    lab.one(on=1)
    for _ in range(49):
        at_once = [lab.command() for _ in range(4)]
        for command in at_once:
            lab.propose(lab.leader(), command)
        lab.one(on=1)
    lab.weather = Weather()
    lab.one(on=5)

    lab.assert_applied_alike()


@pytest.mark.slow
def test_figure_8_unreliable() -> None:
    """The same over a bad network, which from round 200 on holds two thirds of the replies up."""
    lab = Lab(5, weather=UNRELIABLE, disk_seconds=DISK_SECONDS)
    lab.one(on=1)
    for round_number in range(1000):
        if round_number == 200:
            lab.weather = Weather(loss=0.1, delay=UNRELIABLE.delay, long_reordering=2 / 3)
        leader = take_a_command(lab)
        lab.run(lab.random.uniform(0.0, 0.5 if lab.random.random() < 0.1 else 0.013))
        if leader is not None and lab.random.random() < 0.5:
            lab.disconnect(leader)
        if len(lab.cut_off) > len(lab.servers) - MAJORITY:
            lab.connect(lab.random.choice(sorted(lab.cut_off)))
    lab.connect(*lab.servers)
    lab.one(on=5)

    lab.run(2 * ELECTION_SECONDS)
    lab.assert_applied_alike()


@pytest.mark.slow
@pytest.mark.parametrize("weather", [Weather(), UNRELIABLE], ids=["reliable", "unreliable"])
def test_churn(weather: Weather) -> None:
    """Three clients, and 20 rounds of servers that are cut off, crash and return at random.

    What a client saw committed stays: everyone has it at the end, in the order of the log.
    """
    lab = Lab(5, weather=weather, disk_seconds=DISK_SECONDS)
    seen: list[bytes] = []
    for _ in range(20):
        let_servers_come_and_go(lab)
        for _ in range(5):
            pending = [command for _ in range(3) if (command := propose_somewhere(lab))]
            lab.run(lab.random.uniform(0.01, 0.14))
            seen += [command for command in pending if lab.holders(command)]
    lab.run(ELECTION_SECONDS)
    lab.weather = Weather()
    lab.restart(*(server for server in lab.servers if not lab.cluster.nodes[server].is_up))
    lab.connect(*lab.servers)
    lab.one(on=5)

    lab.assert_applied_alike()
    commands = lab.cluster.nodes["a"].commands
    assert len(seen) > 50
    assert [] == [command for command in seen if command not in commands]


def let_servers_come_and_go(lab: Lab) -> None:
    """Cut off, connect or crash a server at random, each with the course's odds."""
    server = lab.random.choice(lab.servers)
    if lab.random.random() < 0.2:
        lab.disconnect(server)
    if lab.random.random() < 0.5:
        server = lab.random.choice(lab.servers)
        if not lab.cluster.nodes[server].is_up:
            lab.restart(server)
        lab.connect(server)
    server = lab.random.choice(lab.servers)
    if lab.random.random() < 0.2 and lab.cluster.nodes[server].is_up:
        lab.crash(server)


def propose_somewhere(lab: Lab) -> bytes:
    """Give one command to every server that believes that it leads; return it if one took it."""
    command = lab.command()
    taken = [lab.propose(server, command) for server in lab.servers]
    return command if any(taken) else b""
