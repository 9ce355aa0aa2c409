"""Programs of several levels run beside each other, and none counts before all members have it."""

from collections import Counter

import pytest
from msgspec.structs import replace

from liferaft.cluster.envelope import LEVEL
from liferaft.errors import InvariantViolated
from liferaft.raft.types import Configuration
from liferaft.sim.marks import MARKS
from liferaft.sim.options import SimulationOptions
from liferaft.sim.programs import UPGRADE_MARKS, Programs
from liferaft.sim.run import simulate
from liferaft.sim.schedule import PROFILES
from liferaft.sim.upgrades import KINDS, draw_upgrades

THREE = Configuration(("n1", "n2", "n3"), learners=("n4",))


def programs_of(*names: str) -> tuple[Programs, list[str]]:
    """Return machines that run the first program, and the list of marks that they hit."""
    hit = list[str]()
    programs = Programs(hit.append)
    for name in names:
        programs.added(name)
        programs.started(name)
    return programs, hit


def test_a_program_that_was_installed_runs_from_the_next_start_on() -> None:
    programs, hit = programs_of("n1", "n2", "n3", "n4")
    for name in ("n1", "n2", "n3", "n4"):
        programs.install(name, LEVEL + 1)
    with pytest.raises(InvariantViolated, match="n1, n2, n3, n4 never ran such a program"):
        programs.check(replace(THREE, level=LEVEL + 1))
    assert UPGRADE_MARKS[0] not in hit
    assert [LEVEL + 1] * 3 == [programs.started(name) for name in ("n1", "n2", "n3")]

    assert UPGRADE_MARKS[0] in hit
    with pytest.raises(InvariantViolated, match="n4 never ran such a program"):
        programs.check(replace(THREE, level=LEVEL + 1))
    programs.started("n4")
    programs.check(replace(THREE, level=LEVEL + 1))


def test_the_first_level_counts_from_the_beginning() -> None:
    """Nodes that have not started yet are members, too."""
    programs, hit = programs_of("n1")
    programs.check(THREE)
    programs.check(replace(THREE, level=LEVEL))

    assert [] == hit


def test_nobody_goes_back_and_who_is_added_has_the_newest() -> None:
    programs, _ = programs_of("n1", "n2")
    programs.install("n1", LEVEL + 2)
    programs.install("n1", LEVEL + 1)
    programs.added("n3")

    levels = [programs.started(name) for name in ("n1", "n2", "n3")]
    assert [LEVEL + 2, LEVEL, LEVEL + 2] == levels


def test_some_runs_have_upgrades_and_a_seed_s_other_faults_stay_as_they_are() -> None:
    options = SimulationOptions(groups=3)
    some = [draw_upgrades(seed, options, 7) for seed in range(200)]
    every = [draw_upgrades(seed, SimulationOptions(changes="all"), 7) for seed in range(20)]

    assert 30 < sum(map(bool, some)) < 70
    assert all(every)
    assert [] == draw_upgrades(1, SimulationOptions(changes="no"), 7)
    for steps in (*some, *every):
        assert [7 + i for i in range(len(steps))] == [step.number for step in steps]
        assert all(0 <= step.at <= options.seconds and step.kind in KINDS for step in steps)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [0, 3])
@pytest.mark.parametrize("profile", PROFILES)
def test_upgrades_under_each_profile(profile: str, groups: int) -> None:
    seeds = [seed for seed in range(40) if draw_upgrades(seed, SimulationOptions(groups=groups), 0)]
    hit: Counter[str] = Counter()
    for seed in seeds[:6]:
        hit.update(simulate(seed, SimulationOptions(groups=groups, profile=profile)).marks)

    assert [] == [mark for mark in UPGRADE_MARKS if not hit[mark]]
    assert not set(UPGRADE_MARKS) & set(MARKS)
