"""Whole clusters under random faults: elect, replicate, crash and heal, and keep every promise.

Raft's safety properties are checked after every turn of every node, exactly once, linearizability
and progress at the end. A failure prints the one command that repeats it.
"""

from collections import Counter

import pytest

from liferaft.sim import member_changes, upgrades
from liferaft.sim.faults import KINDS
from liferaft.sim.marks import MARKS
from liferaft.sim.members import MEMBER_MARKS
from liferaft.sim.options import SimulationOptions
from liferaft.sim.programs import UPGRADE_MARKS
from liferaft.sim.result import SimulationResult
from liferaft.sim.run import simulate

SEEDS = 300
MARKED = 120
"""How many of them must make every fault, and come by nearly every mark."""

BATCH = 10

RARE = frozenset(
    {
        "what was read back was overwritten meanwhile",
        "a read waits for the state machine",
        "a call's outcome is unknown",
        "a session expires",
        "a snapshot that was offered is not needed any more",
        "a snapshot could not be fetched",
        "a snapshot is installed, and the log behind it is kept",
        "a removed node knows nobody who is left",
        "a client knows only nodes that are gone",
    }
)
"""Marks that take hundreds of seeds here, or thousands. The core fidelity has schedules for the
first two; two need a session that the log forgot while its client still waits, those of
snapshots a follower that gets the log while it fetches one, and the last two all voters that a node
or a client knew to have gone before it came back: a client that asks others who leads learns of who
has come, so that is one run in sixty, of those with many changes."""


def run(seed: int) -> SimulationResult:
    sizes = (3, 3, 5, 3, 4)
    return simulate(seed, SimulationOptions(nodes=sizes[seed % len(sizes)], seconds=6.0))


@pytest.mark.slow
@pytest.mark.parametrize("first", range(MARKED, SEEDS, BATCH))
def test_a_cluster_keeps_its_promises_under_random_faults(first: int) -> None:
    results = [run(seed) for seed in range(first, first + BATCH)]

    assert all(result.outcomes["acknowledged"] > 0 for result in results)
    assert 0 < sum(result.outcomes["reads"] for result in results)


@pytest.mark.slow
def test_every_kind_of_fault_is_made_and_nearly_every_mark_is_hit() -> None:
    """A fault that is never made proves nothing, and nor does a branch that is never taken."""
    results = [run(seed) for seed in range(MARKED)]
    # A lost disk or an old copy is possible in few runs, in more of those that are about disks.
    options = SimulationOptions(profile="disk", seconds=6.0)
    results += [simulate(seed, options) for seed in range(1_000, 1_040)]
    made: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for result in results:
        made.update(result.faults)
        hit.update(result.marks)

    assert all(result.outcomes["acknowledged"] > 0 for result in results)
    kinds = (*KINDS, *member_changes.KINDS, *upgrades.KINDS)
    marks = (*MARKS, *MEMBER_MARKS, *UPGRADE_MARKS)
    assert [] == [kind for kind in kinds if not made[kind]]
    assert [] == [mark for mark in marks if not hit[mark] and mark not in RARE]


@pytest.mark.slow
def test_damage_hits_only_what_the_next_segment_vouches_for() -> None:
    """On a full disk the next one may be there and empty; here that was taken for a whole one."""
    simulate(9319, SimulationOptions(nodes=5))
