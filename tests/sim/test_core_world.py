"""The cores alone under random faults: thousands of seeds, each of them one run, byte for byte."""

import subprocess
import sys
from collections import Counter

import msgspec
import pytest

from liferaft.sim.core_faults import KINDS
from liferaft.sim.core_marks import CHANGE_MARKS, CORE_MARKS
from liferaft.sim.core_plan import CHANGES
from liferaft.sim.core_world import CoreWorld, simulate_core
from liferaft.sim.options import SimulationOptions

SEEDS = 3_000
MARKED = 200
"""So many of them must make every fault and come by nearly every mark, and as many every change."""

BATCH = 100
SECONDS = 2.5
"""Of virtual time: 25 ms of a core for a seed, so that all of them take about 75 s of one."""

SIZES = (3, 5, 3, 7)

SHORT = SimulationOptions(fidelity="core", nodes=5, seconds=1.0)

NEVER_IN_A_FEW_SEEDS = frozenset({"entries to read were gone", "a read waited for a write"})
"""Marks that take more seeds than these: both need a truncation while the disk is being read."""

NEVER_IN_A_FEW_CHANGES = frozenset({"snapshot installed under a log"})
"""It needs entries that arrive, uncommitted, while the snapshot that stands for them is fetched."""


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
        "options = SimulationOptions(fidelity='core', nodes=5, seconds=3.0, changes='all')\n"
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

    options = msgspec.structs.replace(SHORT, seconds=3.0, changes="all")
    assert {f"{simulate_core(3, options).digest}\n"} == digests


def test_without_faults_one_leader_serves_everybody() -> None:
    calm = SimulationOptions(fidelity="core", profile="calm", seconds=1.0)
    result = simulate_core(1, calm)

    assert (1, {}) == (result.elections, result.faults)
    assert 0 < result.acknowledged
    assert 0 < result.outcomes["reads"]


@pytest.mark.slow
@pytest.mark.parametrize("first", range(2 * MARKED, SEEDS, BATCH))
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
    for seed in range(MARKED):
        options = SimulationOptions(fidelity="core", nodes=5, seconds=5.0, changes="no")
        result = simulate_core(seed, options)
        made.update(result.faults)
        hit.update(result.marks)

    assert [] == [kind for kind in KINDS if not made[kind]]
    assert [] == [mark for mark in CORE_MARKS if not hit[mark] and mark not in NEVER_IN_A_FEW_SEEDS]


@pytest.mark.slow
def test_every_kind_of_change_is_made_and_every_mark_of_it_is_hit() -> None:
    made: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for seed in range(MARKED, 2 * MARKED):
        options = SimulationOptions(fidelity="core", nodes=5, seconds=5.0, changes="all")
        result = simulate_core(seed, options)
        made.update(result.faults)
        hit.update(result.marks)

    rare = NEVER_IN_A_FEW_CHANGES
    assert [] == [kind for kind in CHANGES if not made[kind]]
    assert [] == [mark for mark in CHANGE_MARKS if not hit[mark] and mark not in rare]


def test_without_an_operator_a_seed_is_the_run_that_it_was() -> None:
    """Where "some" draws none, it is byte for byte the run of "no": seeds keep their meaning."""
    same = []
    for seed in range(12):
        one, other = (
            simulate_core(seed, msgspec.structs.replace(SHORT, changes=changes))
            for changes in ("no", "some")
        )
        same.append(one.digest == other.digest)

    assert {True, False} == set(same)


def test_an_operator_leaves_the_other_faults_what_they_are() -> None:
    """Its steps are numbered behind theirs, and drawn from a source of chance of their own."""
    without = CoreWorld(3, msgspec.structs.replace(SHORT, changes="no")).schedule
    with_operator = CoreWorld(3, msgspec.structs.replace(SHORT, changes="all")).schedule

    assert with_operator[: len(without)] == without
    assert {step.kind for step in with_operator[len(without) :]} <= set(CHANGES)


def test_without_faults_members_come_and_go_all_the_same() -> None:
    calm = SimulationOptions(fidelity="core", profile="calm", seconds=4.0, changes="all")
    hit: Counter[str] = Counter()
    for seed in range(4):
        hit.update(simulate_core(seed, calm).marks)

    for mark in ("change committed", "snapshot taken", "snapshot installed", "log compacted"):
        assert hit[mark], mark
