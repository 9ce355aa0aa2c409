"""Each guard is taken out of the cores, and the core fidelity must see it.

Otherwise its silence over thousands of seeds would prove nothing.
"""

import pytest

from liferaft.sim.core_world import simulate_core
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.options import SimulationOptions
from tests.sim import core_change_breakers
from tests.sim.breakers import Breaker
from tests.sim.core_breakers import BREAKERS, DEFAULT, SEARCH
from tests.sim.core_change_breakers import CHANGING

SEEDS_MAX = 400


@pytest.mark.slow
@pytest.mark.parametrize("breaker", BREAKERS, ids=lambda breaker: breaker.__name__)
def test_the_core_fidelity_finds(breaker: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker(monkeypatch)
    search(breaker, SEARCH.get(breaker.__name__, DEFAULT))


@pytest.mark.slow
@pytest.mark.parametrize(
    "breaker", core_change_breakers.BREAKERS, ids=lambda breaker: breaker.__name__
)
def test_the_core_fidelity_finds_with_an_operator(
    breaker: Breaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker(monkeypatch)
    search(breaker, core_change_breakers.SEARCH.get(breaker.__name__, CHANGING))


def search(breaker: Breaker, options: SimulationOptions) -> None:
    """Run seeds until one shows what was taken out; fails when none does."""
    found = None
    for seed in range(SEEDS_MAX):
        try:
            simulate_core(seed, options)
        except SimulationFailed as failure:
            found = seed
            print(f"{breaker.__name__}: seed {seed}: {failure.violation}"[:200])  # noqa: T201
            break

    assert found is not None, f"{SEEDS_MAX} seeds did not show {breaker.__name__}"


@pytest.mark.slow
def test_the_same_seeds_find_nothing_in_what_ships() -> None:
    """Or else a breaker's failure could be anybody's."""
    searched: list[SimulationOptions] = [DEFAULT, CHANGING]
    searched += [options for options in SEARCH.values() if options not in searched]
    for options in searched:
        for seed in range(20):
            simulate_core(seed, options)
