"""The cores alone under random faults: thousands of seeds, each of them one run, byte for byte."""

import subprocess
import sys
from collections import Counter

import pytest

from liferaft.sim.core_faults import KINDS
from liferaft.sim.core_marks import CORE_MARKS
from liferaft.sim.core_world import simulate_core
from liferaft.sim.options import SimulationOptions

SEEDS = 3_000
BATCH = 100
SECONDS = 2.5
"""Of virtual time: 25 ms of a core for a seed, so that all of them take about 75 s of one."""

SIZES = (3, 5, 3, 7)

SHORT = SimulationOptions(fidelity="core", nodes=5, seconds=1.0)

SEEDS_FOR_MARKS = 200

NEVER_IN_A_FEW_SEEDS = frozenset({"entries to read were gone", "a read waited for a write"})
"""Marks that take more seeds than these: both need a truncation while the disk is being read."""


def test_the_same_seed_gives_the_same_run() -> None:
    one, again = simulate_core(3, SHORT), simulate_core(3, SHORT)

    assert one == again


def test_another_seed_gives_another_run() -> None:
    one, other = simulate_core(3, SHORT), simulate_core(4, SHORT)

    assert one.digest != other.digest


@pytest.mark.slow
@pytest.mark.processes
def test_the_order_of_hashes_changes_nothing() -> None:
    """A set that is iterated somewhere would show here: each process hashes strings its own way."""
    program = (
        "from liferaft.sim.core_world import simulate_core\n"
        "from liferaft.sim.options import SimulationOptions\n"
        "options = SimulationOptions(fidelity='core', nodes=5, seconds=1.0)\n"
        "print(simulate_core(3, options).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert {f"{simulate_core(3, SHORT).digest}\n"} == digests


def test_without_faults_one_leader_serves_everybody() -> None:
    calm = SimulationOptions(fidelity="core", profile="calm", seconds=1.0)
    result = simulate_core(1, calm)

    assert (1, {}) == (result.elections, result.faults)
    assert 0 < result.acknowledged
    assert 0 < result.outcomes["reads"]


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_the_cores_keep_their_promises_under_random_faults(first: int) -> None:
    """Safety is checked after every turn; linearizability, exactly once and progress besides."""
    results = [
        simulate_core(
            seed,
            SimulationOptions(fidelity="core", nodes=SIZES[seed % len(SIZES)], seconds=SECONDS),
        )
        for seed in range(first, first + BATCH)
    ]

    assert all(result.acknowledged > 0 for result in results)
    assert BATCH < sum(result.elections for result in results), "faults bring new leaders"


@pytest.mark.slow
def test_every_kind_of_fault_is_made_and_every_mark_is_hit() -> None:
    """A fault that is never made proves nothing, and nor does a branch that is never taken."""
    made: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for seed in range(10_000, 10_000 + SEEDS_FOR_MARKS):
        result = simulate_core(seed, SimulationOptions(fidelity="core", nodes=5, seconds=5.0))
        made.update(result.faults)
        hit.update(result.marks)

    assert [] == [kind for kind in KINDS if not made[kind]]
    assert [] == [mark for mark in CORE_MARKS if not hit[mark] and mark not in NEVER_IN_A_FEW_SEEDS]
