"""MIT 6.5840, lab 3 part D: snapshots; the log stays below 2,000 bytes.

Of the core, with the lab's driver around it: each server takes a snapshot after every ten entries.
"""

import pytest

from liferaft.raft.config import RaftConfig
from liferaft.raft.types import NodeId
from tests.scenarios.lab import ELECTION_SECONDS, FAIR, UNRELIABLE, Lab, Weather

SNAPSHOT_EACH = 10
LOG_BYTES_MAX = 2000
ROUNDS = 30
KEEPS_LITTLE = RaftConfig(keep_entries=1)


def snapshotting_lab(*, size: int = 3, weather: Weather = FAIR, disk_seconds: float = 0.003) -> Lab:
    return Lab(
        size,
        weather=weather,
        disk_seconds=disk_seconds,
        snapshot_each=SNAPSHOT_EACH,
        config=KEEPS_LITTLE,
    )


def agree_a_while(lab: Lab, leader: NodeId, *, on: int) -> None:
    """Commit enough for a few snapshots: some ten commands at once, and one to wait for."""
    for _ in range(SNAPSHOT_EACH // 2 + lab.random.randrange(SNAPSHOT_EACH)):
        lab.propose(leader, lab.command())
    lab.one(on=on)


def test_snapshot_basic() -> None:
    """Snapshots of everyone, one after the other, and the log behind them."""
    lab = snapshotting_lab()
    lab.one(on=3)
    for _ in range(ROUNDS):
        agree_a_while(lab, lab.leader(), on=3)
        assert lab.log_bytes() < LOG_BYTES_MAX
    newest = [node.snapshots[-1].index for node in lab.cluster.nodes.values()]

    lab.assert_applied_alike()
    assert min(newest) > ROUNDS * SNAPSHOT_EACH // 2


@pytest.mark.slow
@pytest.mark.parametrize("weather", [FAIR, UNRELIABLE], ids=["reliable", "unreliable"])
@pytest.mark.parametrize("crashes", [False, True], ids=["away", "crashed"])
def test_snapshot_install(weather: Weather, *, crashes: bool) -> None:
    """Install, InstallUnreliable, InstallCrash, InstallUnCrash: 30 rounds.

    In each, one server misses so much that it can only be brought back by a snapshot: a follower
    twice, then the leader.
    """
    lab = snapshotting_lab(weather=weather)
    lab.one(on=3)
    for number in range(ROUNDS):
        leader = lab.leader()
        victim = leader if number % 3 == 2 else lab.others(leader)[0]
        if crashes:
            lab.crash(victim)
        else:
            lab.disconnect(victim)
        lab.one(on=2)
        agree_a_while(lab, lab.leader(), on=2)
        agree_a_while(lab, lab.leader(), on=2)
        assert lab.log_bytes() < LOG_BYTES_MAX
        if crashes:
            lab.restart(victim)
        else:
            lab.connect(victim)
        lab.one(on=3)
    lab.run(ELECTION_SECONDS)

    lab.assert_applied_alike()
    assert lab.fetches >= ROUNDS // 2


def test_snapshot_all_crash() -> None:
    """Everyone crashes and restarts, many times; the index never falls."""
    lab = snapshotting_lab()
    index = lab.one(on=3)
    for _ in range(5):
        for _ in range(SNAPSHOT_EACH // 2 + lab.random.randrange(SNAPSHOT_EACH)):
            lab.one(on=3)
        before, index = index, lab.one(on=3)
        assert index > before
        lab.crash(*lab.servers)
        lab.restart(*lab.servers)
        before, index = index, lab.one(on=3)
        assert index > before


def test_snapshot_init() -> None:
    """A server that starts from a snapshot knows it, and goes on from there, twice."""
    lab = snapshotting_lab()
    lab.one(on=3)
    for count in (SNAPSHOT_EACH + 2, 1):
        for _ in range(count):
            lab.one(on=3)
        lab.crash(*lab.servers)
        lab.restart(*lab.servers)
        assert all(
            core.commit_index >= SNAPSHOT_EACH for core in map(lab.cluster.__getitem__, "abc")
        )
        lab.one(on=3)

    lab.assert_applied_alike()
