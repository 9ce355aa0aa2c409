"""Whole clusters under random faults: elect, replicate, crash and heal, and keep every promise.

Raft's safety properties are checked after every turn of every node, exactly once and progress at
the end. A failure prints the one command that repeats it.
"""

from collections import Counter

import pytest

from liferaft.sim.run import SimulationResult, simulate

SEEDS = 200
BATCH = 10


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_a_cluster_keeps_its_promises_under_random_faults(first: int) -> None:
    results = [simulate(seed, nodes=5 if seed % 5 == 0 else 3) for seed in range(first, first + 10)]

    assert all(result.acknowledged > 0 for result in results)
    assert 0 < sum(result.reads for result in results)


@pytest.mark.slow
def test_every_kind_of_fault_occurs() -> None:
    """A fault that is never made proves nothing."""
    seen: Counter[str] = Counter()
    for seed in range(1_000, 1_010):
        seen.update(simulate(seed).faults)

    assert {
        "bounce",
        "changed majority",
        "crash",
        "crash of all",
        "crash of the leader",
        "heal",
        "isolated leader",
        "one-way cut",
        "partition",
        "restart",
        "slow disk",
        "weather",
    } == set(seen)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run() -> None:
    one, again = simulate(3, seconds=3.0), simulate(3, seconds=3.0)

    assert one == again


@pytest.mark.slow
def test_another_seed_gives_another_run() -> None:
    one, other = simulate(3, seconds=3.0), simulate(4, seconds=3.0)

    assert one.digest != other.digest


def test_a_cluster_without_faults_loses_nothing() -> None:
    result: SimulationResult = simulate(1, seconds=0.0)

    assert (0, 1) == (result.unknown, result.elections)
