"""Whole clusters whose nodes host many groups: each keeps every promise, and rests when unused.

Each group has clients, a checker and a judgement of its own; the first is used all the time, the
others by turns, so that they fall silent and wake while things go wrong.
"""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from liferaft.errors import ConfigurationError, InvariantViolated
from liferaft.sim.events import Transition, TransitionRecorder
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.hours import Hours
from liferaft.sim.nodes import group_names
from liferaft.sim.options import SimulationOptions, checked
from liferaft.sim.rests import GROUP_MARKS
from liferaft.sim.run import simulate
from liferaft.sim.schedule import PROFILES
from liferaft.sim.shared_state import SharedState
from liferaft.sim.workload import Seat
from liferaft.sim.world import World

SHORT = SimulationOptions(groups=3, seconds=2.0)


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
def test_every_group_keeps_its_promises_under_each_profile(profile: str) -> None:
    for seed in range(2):
        result = simulate(seed, SimulationOptions(groups=3, seconds=2.0, profile=profile))

        assert result.outcomes["acknowledged"] > 0
        assert result.elections >= 3


@pytest.mark.slow
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("groups", [1, 8])
def test_many_seeds_of_each_profile(profile: str, groups: int) -> None:
    for seed in range(100, 102):
        simulate(seed, SimulationOptions(groups=groups, nodes=3 + 2 * (seed % 2), profile=profile))


@pytest.mark.slow
def test_everything_that_groups_at_rest_go_through_happens() -> None:
    hit: Counter[str] = Counter()
    for seed in range(40):
        hit.update(simulate(seed, SimulationOptions(groups=8, seconds=6.0)).marks)
        if all(hit[mark] for mark in GROUP_MARKS):
            break

    assert [] == [mark for mark in GROUP_MARKS if not hit[mark]]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run() -> None:
    assert simulate(3, SHORT) == simulate(3, SHORT)


def test_in_a_calm_run_each_group_is_elected_once_and_rests_again_and_again() -> None:
    result = simulate(1, SimulationOptions(groups=4, profile="calm", seconds=5.0))

    assert (0, 4, {}) == (result.outcomes["unknown"], result.elections, result.faults)
    assert result.marks["a group falls silent"] > 4
    assert result.marks["a group at rest is used"] > 0


class Doubter(SharedState):
    """Finds fault with the second group."""

    async def check_end(self, judge: Seat, world: World) -> None:
        if judge.group == "g2":
            raise InvariantViolated("doubt: nothing is right here")


def test_a_failure_names_the_group_and_the_command_that_repeats_the_run() -> None:
    with pytest.raises(SimulationFailed) as caught:
        simulate(1, SimulationOptions(groups=3, profile="calm", seconds=1.0), workload=Doubter)

    assert "doubt" == caught.value.violated_property
    assert "(in group g2)" in caught.value.violation
    assert "liferaft sim --seed 1 --groups 3 --seconds 1 --profile calm" in str(caught.value)


def test_what_is_recorded_names_group_and_node() -> None:
    seen: list[Transition] = []
    options = SimulationOptions(groups=2, profile="calm", seconds=1.0)
    simulate(1, options, observers=[TransitionRecorder(seen.append)])

    names = {f"{group}/n{number}" for group in ("g1", "g2") for number in (1, 2, 3)}
    assert names == {each.nid for each in seen}
    assert all({*each.conf[0]} == {n for n in names if n[:2] == each.nid[:2]} for each in seen)
    assert all(each.nid in (each.msg.source, each.msg.target) for each in seen if each.msg)


@pytest.mark.parametrize(
    "options",
    [
        SimulationOptions(groups=-1),
        SimulationOptions(groups=65),
        SimulationOptions(groups=2, fidelity="core"),
        SimulationOptions(groups=2, changes="all"),
    ],
)
def test_what_groups_cannot_do_here_is_refused(options: SimulationOptions) -> None:
    with pytest.raises(ConfigurationError):
        checked(options)


def test_a_world_without_groups_has_one_without_a_name() -> None:
    assert (("",), ("g1", "g2")) == (group_names(0), group_names(2))


def test_hours_come_and_go_and_a_busy_group_has_no_others() -> None:
    hours, busy = Hours(Random(1), is_busy=False), Hours(Random(1), is_busy=True)
    times = [number / 10 for number in range(200)]
    on = [hours.are_on(now) for now in times]

    assert 20 < sum(on) < 180
    assert sum(one != other for one, other in pairwise(on)) >= 6
    assert all(busy.are_on(now) for now in times)
