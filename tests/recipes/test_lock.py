"""The lock: who has it, for how long, and what keeps a former holder out."""

import pytest

import liferaft
from liferaft.errors import DeadlineExceeded
from liferaft.recipes.lock import Fence, Held, LeaseLock, Lock, LockLost, LockTaken, StaleToken
from liferaft.testing.simulated import SimulatedCluster


class Account:
    """What the lock protects."""

    def __init__(self) -> None:
        self._fence: Fence = Fence()
        self._balance: int = 0

    @liferaft.raises(StaleToken)
    def set(self, token: int, balance: int) -> None:
        self._fence.check(token)
        self._balance = balance

    @liferaft.query
    def balance(self) -> int:
        return self._balance


def cluster_of_a_lock() -> SimulatedCluster:
    return SimulatedCluster({"lock": LeaseLock, "account": Account}, seed=3)


def test_one_has_the_lock_and_the_others_are_told_who() -> None:
    with cluster_of_a_lock() as cluster:
        lock = cluster.stub(Lock, "lock")
        held = cluster.run(lock.acquire("ann", 10.0))
        with pytest.raises(LockTaken, match="ann has the lock, by token 1") as taken:
            cluster.run(cluster.stub(Lock, "lock").acquire("bob", 10.0))

        assert (1, "ann") == (held.token, held.owner)
        assert held == taken.value.held == cluster.run(lock.held())


def test_a_lock_that_was_given_back_is_free_and_its_next_token_greater() -> None:
    with cluster_of_a_lock() as cluster:
        lock = cluster.stub(Lock, "lock")
        first = cluster.run(lock.acquire("ann", 10.0))
        released = [cluster.run(lock.release(first.token)) for _ in range(2)]
        free = cluster.run(lock.held())
        second = cluster.run(lock.acquire("bob", 10.0))

        assert [True, False] == released
        assert free is None
        assert first.token < second.token


def test_a_lease_that_is_renewed_lasts_and_one_that_is_not_runs_out() -> None:
    with cluster_of_a_lock() as cluster:
        lock, other = cluster.stub(Lock, "lock"), cluster.stub(Lock, "lock")
        held = cluster.run(lock.acquire("ann", 2.0))
        for _ in range(3):
            cluster.sleep(1.5)
            cluster.run(lock.renew(held.token, 2.0))
        with pytest.raises(LockTaken):
            cluster.run(other.acquire("bob", 2.0))
        cluster.sleep(2.5)
        later = cluster.run(other.acquire("bob", 2.0))
        with pytest.raises(LockLost, match="not held by token 1 any more"):
            cluster.run(lock.renew(held.token, 2.0))
        released = cluster.run(lock.release(held.token))

        assert 2 == later.token
        assert not released


def test_a_lease_that_ran_out_is_lost_though_nobody_else_has_come() -> None:
    """Its holder may have told others that it has stopped."""
    with cluster_of_a_lock() as cluster:
        lock = cluster.stub(Lock, "lock")
        held = cluster.run(lock.acquire("ann", 1.0))
        cluster.sleep(1.5)
        with pytest.raises(LockLost):
            cluster.run(lock.renew(held.token, 1.0))


def test_trap_48_who_lost_the_lock_without_knowing_it_changes_nothing() -> None:
    """The holder stands still for longer than its lease, and goes on as if nothing had happened."""
    with cluster_of_a_lock() as cluster:
        lock, account = cluster.stub(Lock, "lock"), cluster.stub(Account, "account")
        ann = cluster.run(lock.acquire("ann", 1.0))
        cluster.sleep(5.0)
        bob = cluster.run(cluster.stub(Lock, "lock").acquire("bob", 1.0))
        cluster.run(cluster.stub(Account, "account").set(bob.token, 200))
        with pytest.raises(StaleToken, match="token 1 is from before token 2"):
            cluster.run(account.set(ann.token, 100))

        assert 200 == cluster.run(account.balance())


def test_tokens_grow_whichever_nodes_fall() -> None:
    with cluster_of_a_lock() as cluster:
        tokens = []
        for _ in range(4):
            lock = cluster.stub(Lock, "lock")
            held = cluster.run(lock.acquire("ann", 30.0))
            tokens.append(held.token)
            leader = cluster.run(cluster.wait_leader())
            cluster.crash(leader)
            cluster.run(lock.release(held.token))
            cluster.run(cluster.restart(leader))

        assert [1, 2, 3, 4] == tokens


def test_an_acquisition_that_was_asked_twice_is_one() -> None:
    """The answer was lost with the leader: the session knows it, and there is no second token."""
    with cluster_of_a_lock() as cluster:
        lock = cluster.stub(Lock, "lock", timeout=20.0)
        leader = cluster.run(cluster.wait_leader())
        cluster.run(lock.held())
        cluster.cut(*((leader, client) for client in cluster.world.client_hosts))
        with pytest.raises(DeadlineExceeded), liferaft.deadline(0.2):
            cluster.run(lock.acquire("ann", 30.0))
        cluster.heal()
        held = cluster.run(lock.held())

        assert held is not None
        assert (1, "ann") == (held.token, held.owner)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_a_lease_of_no_or_of_endless_time_is_refused(seconds: float) -> None:
    with cluster_of_a_lock() as cluster, pytest.raises(ValueError, match="give a positive number"):
        cluster.run(cluster.stub(Lock, "lock").acquire("ann", seconds))


def test_a_fence_lets_the_same_token_through_again_and_a_greater_one() -> None:
    fence = Fence()
    for token in (1, 1, 3, 3):
        fence.check(token)
    with pytest.raises(StaleToken):
        fence.check(2)

    assert 3 == fence.greatest


def test_a_lock_that_nobody_named_says_so() -> None:
    assert "somebody has the lock, by token 7" == str(LockTaken(Held(7, "", 0.0)))
