"""Each guard is taken out, and the simulator must see it, or its silence would prove nothing."""

import msgspec
import pytest

from liferaft.sim.failure import SimulationFailed
from liferaft.sim.options import SimulationOptions
from liferaft.sim.run import simulate
from tests.sim.breakers import BREAKERS, LOAD, PROFILE, Breaker
from tests.sim.group_breakers import GROUP_BREAKERS
from tests.sim.group_breakers import PROFILE as GROUP_PROFILE
from tests.sim.member_breakers import MEMBER_BREAKERS
from tests.sim.upgrade_breakers import UPGRADE_BREAKERS

SEEDS_MAX = 150


@pytest.mark.slow
@pytest.mark.parametrize("breaker", BREAKERS, ids=lambda breaker: breaker.__name__)
def test_the_simulator_finds(breaker: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker(monkeypatch)
    name = breaker.__name__
    options = SimulationOptions(profile=PROFILE.get(name, "mixed"))
    if name in LOAD:
        options = msgspec.structs.replace(options, commands_per_second=LOAD[name])
    search(breaker, options)


@pytest.mark.slow
@pytest.mark.parametrize("breaker", MEMBER_BREAKERS, ids=lambda breaker: breaker.__name__)
def test_the_simulator_finds_with_an_operator(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker(monkeypatch)
    search(breaker, SimulationOptions(changes="all"))


@pytest.mark.slow
@pytest.mark.parametrize("breaker", GROUP_BREAKERS, ids=lambda breaker: breaker.__name__)
def test_the_simulator_finds_with_groups(breaker: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker(monkeypatch)
    search(
        breaker, SimulationOptions(groups=3, profile=GROUP_PROFILE.get(breaker.__name__, "mixed"))
    )


@pytest.mark.slow
@pytest.mark.parametrize("groups", [0, 3])
@pytest.mark.parametrize("breaker", UPGRADE_BREAKERS, ids=lambda breaker: breaker.__name__)
def test_the_simulator_finds_with_upgrades(
    breaker: Breaker, groups: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker(monkeypatch)
    search(breaker, SimulationOptions(groups=groups, changes="all"))


def search(breaker: Breaker, options: SimulationOptions) -> None:
    """Run seeds until one shows what was taken out; fails when none does."""
    found = None
    for seed in range(SEEDS_MAX):
        try:
            simulate(seed, options)
        except SimulationFailed as failure:
            found = seed
            print(f"{breaker.__name__}: seed {seed}: {failure.violation}"[:200])  # noqa: T201
            break

    assert found is not None, f"{SEEDS_MAX} seeds did not show {breaker.__name__}"


@pytest.mark.slow
def test_the_same_seeds_find_nothing_in_what_ships() -> None:
    """Or else a breaker's failure could be anybody's."""
    for profile in sorted({"mixed", *PROFILE.values()}):
        for seed in range(3):
            simulate(seed, SimulationOptions(profile=profile))
            simulate(seed, SimulationOptions(profile=profile, changes="all"))
            simulate(seed, SimulationOptions(profile=profile, groups=3))
