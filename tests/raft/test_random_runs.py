"""Clusters under random loss, repeats, reordering, slow disks, crashes and pauses, from seeds.

The harness checks every promise after every step; a run that fails names its seed.
"""

from random import Random

import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.config import RaftConfig
from liferaft.raft.events import TimePassed
from tests.raft.harness import Cluster

RUNS_PER_SIZE = 120
STEPS = 700

TIGHT = RaftConfig(
    append_bytes_max=100,
    inflight_messages_max=3,
    inflight_bytes_max=400,
    tail_bytes_max=200,
    uncommitted_bytes_max=1000,
    apply_bytes_max=150,
    read_bytes_max=100,
)
"""Small enough for every bound to be met in a short run."""


class RandomRun:
    """One run of one seed."""

    def __init__(self, size: int, seed: int) -> None:
        self.random = Random(seed)
        self.cluster = Cluster(size, config=TIGHT, seed=seed)
        self.cluster.is_disk_fast = False
        self.cluster.tail_length = 2
        self.proposed = 0

    def go(self) -> None:
        actions = [self.network] * 14 + [self.disk] * 10 + [self.time] * 3
        actions += [self.client] * 3 + [self.crash_or_restart]
        for _ in range(STEPS):
            self.random.choice(actions)()

    def network(self) -> None:
        cluster = self.cluster
        for _ in range(min(len(cluster.bag), self.random.randint(1, 8))):
            position = self.random.randrange(min(len(cluster.bag), 12))
            message = cluster.bag[position]
            luck = self.random.random()
            if luck > 0.1:  # else it is delivered, and stays to be delivered again
                cluster.bag.pop(position)
            if luck < 0.85:  # else it is lost
                cluster.deliver(message)
        del cluster.bag[200:]

    def disk(self) -> None:
        busy = [name for name, node in self.cluster.nodes.items() if node.writes and node.is_up]
        if busy:
            self.cluster.store_one(self.random.choice(busy))

    def time(self) -> None:
        cluster = self.cluster
        cluster.now += self.random.choice((0.001, 0.005, 0.01, 0.02, 0.02, 0.05, 0.05, 0.1))
        if self.random.random() < 0.02:
            cluster.now += 1.0  # everybody was paused
        for name, node in cluster.nodes.items():
            if node.is_up and node.core.deadline <= cluster.now and self.random.random() < 0.7:
                cluster.step(name, TimePassed())

    def client(self) -> None:
        for name in self.cluster.leaders:
            if self.cluster.nodes[name].is_up:
                self.proposed += 1
                command = f"{name}-{self.proposed}".encode() * self.random.randint(1, 12)
                self.cluster.propose(name, *[command] * self.random.randint(1, 3))
                self.cluster.read(name, self.proposed)

    def crash_or_restart(self) -> None:
        cluster = self.cluster
        down = [name for name, node in cluster.nodes.items() if not node.is_up]
        if down and self.random.random() < 0.7:
            cluster.restart(self.random.choice(down))
            return
        name = self.random.choice(list(cluster.nodes))
        node = cluster.nodes[name]
        if node.is_up:
            cluster.crash(name, kept_writes=self.random.randint(0, len(node.writes)))

    def heal(self) -> None:
        """From now on nothing is lost: the cluster must commit, and bring everyone in line."""
        cluster = self.cluster
        for name, node in cluster.nodes.items():
            if not node.is_up:
                cluster.restart(name)
        cluster.is_disk_fast = True
        for name in cluster.nodes:
            cluster.store(name)
        for _ in range(200):
            cluster.pass_time(0.05)
            cluster.settle(rounds=5000)
            commits = {node.core.commit_index for node in cluster.nodes.values()}
            if len(cluster.leaders) == 1 and commits == {cluster[cluster.leaders[0]].last_index}:
                return
        raise AssertionError("the cluster does not recover within 10 s")


@pytest.mark.slow
@pytest.mark.parametrize("size", [3, 5])
def test_random_faults_break_no_promise_and_end_when_the_faults_end(size: int) -> None:
    """Figure 3, and progress once a majority hears each other."""
    committed_before_healing = 0
    for seed in range(RUNS_PER_SIZE):
        run = RandomRun(size, seed)
        try:
            run.go()
            committed_before_healing += len(run.cluster.committed)
            run.heal()
            (leader,) = run.cluster.leaders
            run.cluster.propose(leader, b"last")
            run.cluster.settle()
            run.cluster.pass_time(0.1)
            run.cluster.settle()
        except (InvariantViolated, AssertionError, ValueError) as error:
            raise AssertionError(f"seed {seed} of {size} nodes: {error}") from error

        assert all(b"last" == node.commands[-1] for node in run.cluster.nodes.values()), seed
    assert committed_before_healing > RUNS_PER_SIZE * 8
