"""Random faults while members come and go, leadership is handed over and snapshots are installed.

As test_random_runs.py, with everything that can be asked of a cluster going on at the same time.
"""

from collections import Counter

import msgspec
import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.configuration import members
from liferaft.raft.effects import ChangeAccepted
from liferaft.raft.state import Leader
from liferaft.raft.types import Configuration, Promotion
from tests.raft.test_random_runs import RUNS_PER_SIZE, STEPS, TIGHT, RandomRun

CONFIG = msgspec.structs.replace(TIGHT, keep_entries=3)


class ChangingRun(RandomRun):
    """One run of one seed."""

    def __init__(self, size: int, seed: int) -> None:
        super().__init__(size, seed)
        self.cluster.config = CONFIG
        self.seen: Counter[str] = Counter()
        self.names = iter(f"n{number}" for number in range(1000))
        for node_id in list(self.cluster.nodes):
            self.cluster.nodes[node_id].is_up = False
            self.cluster.restart(node_id)

    def go(self) -> None:
        actions = [self.network] * 28 + [self.disk] * 20 + [self.time] * 6
        actions += [self.client] * 6 + [self.crash_or_restart] * 2
        actions += [self.change] * 2 + [self.transfer] + [self.snapshot] * 3 + [self.fetch] * 4
        for _ in range(2 * STEPS):
            self.random.choice(actions)()

    def crash_or_restart(self) -> None:
        """As it was, but who was removed stays so."""
        super().crash_or_restart()
        for node in self.cluster.nodes.values():
            if node.is_removed:
                node.is_up, node.writes, node.held = False, [], []

    @property
    def running(self) -> list[str]:
        nodes = self.cluster.nodes.items()
        return [name for name, node in nodes if node.is_up and not node.is_removed]

    def client(self) -> None:
        super().client()
        for name in self.running:
            self.proposed += 1
            self.cluster.read(name, self.proposed, may_follow=True)
            self.seen["follower answered a read"] += self.cluster[name].role == "follower" and bool(
                self.cluster.nodes[name].ready
            )

    def change(self) -> None:
        """Add, promote, remove or exchange members, or many at once."""
        for leader in self.cluster.leaders:
            node = self.cluster.nodes[leader]
            if not node.is_up or node.is_removed:
                continue
            answer = self.cluster.change(leader, self._target(node.core.configuration))
            self.seen[
                f"change {'accepted' if isinstance(answer, ChangeAccepted) else 'refused'}"
            ] += 1

    def _target(self, now: Configuration) -> Configuration:
        voters, learners, promotions = list(now.voters), list(now.learners), list(now.promotions)
        kind = self.random.randrange(5)
        if kind == 0 and len(voters) + len(learners) < 7:
            name = self._new_node()
            learners.append(name)
            replaces = self.random.choice(["", self.random.choice(voters)])
            promotions.append(Promotion(name, replaces))
        elif kind == 1 and len(voters) > 1:
            voters.remove(self.random.choice(voters))
        elif kind == 2 and learners:
            voters.append(learners.pop())
        elif kind == 3 and len(voters) > 3:
            learners.append(voters.pop(self.random.randrange(len(voters))))
        elif kind == 4 and len(voters) < 5:  # another majority altogether
            voters = [*voters[:1], self._new_node(), self._new_node()]
        promotions = [
            each for each in promotions if each.node in learners and each.replaces in ("", *voters)
        ]
        return Configuration(
            voters=tuple(sorted(voters)),
            learners=tuple(sorted(learners)),
            promotions=tuple(sorted(promotions, key=lambda each: each.node)),
            retired=now.retired,
        )

    def _new_node(self) -> str:
        name = next(self.names)
        self.cluster.add_node(name)
        return name

    def transfer(self) -> None:
        for leader in self.cluster.leaders:
            if leader in self.running:
                target = self.random.choice([None, *self.cluster[leader].configuration.voters])
                self.cluster.transfer(leader, target)
                self.seen["transfer done"] += sum(
                    each.problem is None for each in self.cluster.nodes[leader].transfers
                )

    def snapshot(self) -> None:
        name = self.random.choice(self.running or [""])
        node = self.cluster.nodes.get(name)
        latest = max((each.index for each in node.snapshots), default=0) if node else 0
        if node is not None and len(node.applied) > latest:
            self.cluster.take_snapshot(name)

    def fetch(self) -> None:
        for name in self.running:
            if self.cluster.nodes[name].fetch is not None:
                before = self.cluster.nodes[name].core.commit_index
                self.cluster.fetch(name)
                self.seen["snapshot installed"] += (
                    self.cluster.nodes[name].core.commit_index > before
                )

    def heal(self) -> None:
        """From now on nothing is lost: the members must agree, and all of them catch up."""
        cluster = self.cluster
        for name, node in cluster.nodes.items():
            if not node.is_up and not node.is_removed:
                cluster.restart(name)
        cluster.is_disk_fast = True
        for name in self.running:
            cluster.store(name)
        for _ in range(400):
            cluster.pass_time(0.05)
            cluster.settle(rounds=20_000)
            self.fetch()
            if self._is_whole():
                return
        raise AssertionError("the cluster does not recover within 20 s")

    def _is_whole(self) -> bool:
        cores = {name: self.cluster[name] for name in self.running}
        leaders = [core for core in cores.values() if core.role == "leader"]
        if len(leaders) != 1 or leaders[0].configuration.voters_outgoing:
            return False
        role = leaders[0].state.role
        if isinstance(role, Leader) and role.transfer is not None:
            return False
        who = members(leaders[0].configuration)
        if leaders[0].configuration.promotions or leaders[0].commit_index < leaders[0].last_index:
            return False
        return all(cores[name].commit_index == leaders[0].commit_index for name in who)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 3, 5])
def test_members_come_and_go_under_faults_and_no_promise_is_broken(size: int) -> None:
    """Section 6, with snapshots (section 7), transfers (D§3.10) and reads on followers (D§6.4)."""
    seen: Counter[str] = Counter()
    for seed in range(RUNS_PER_SIZE):
        run = ChangingRun(size, seed)
        try:
            run.go()
            run.heal()
        except (InvariantViolated, AssertionError, ValueError) as error:
            raise AssertionError(f"seed {seed} of {size} nodes: {error}") from error
        seen += run.seen
        (leader,) = [n for n in run.running if run.cluster[n].role == "leader"]
        run.cluster.propose(leader, b"last")
        for _ in range(4):
            run.cluster.settle(rounds=20_000)
            run.cluster.pass_time(0.1)
        for name in members(run.cluster[leader].configuration):
            assert b"last" == run.cluster.nodes[name].commands[-1], (seed, name)
    for what in ("change accepted", "change refused", "transfer done", "snapshot installed"):
        assert seen[what] > RUNS_PER_SIZE // 4, seen
    assert seen["follower answered a read"] > RUNS_PER_SIZE // 4, seen
