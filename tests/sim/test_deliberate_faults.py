"""Each guard is taken out, and the simulator must see it, or its silence would prove nothing."""

import pytest

from liferaft.sim.failure import SimulationFailed
from liferaft.sim.options import SimulationOptions
from liferaft.sim.run import simulate
from tests.sim.breakers import BREAKERS, PROFILE, Breaker

SEEDS_MAX = 150


@pytest.mark.slow
@pytest.mark.parametrize("breaker", BREAKERS, ids=lambda breaker: breaker.__name__)
def test_the_simulator_finds(breaker: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker(monkeypatch)
    options = SimulationOptions(profile=PROFILE.get(breaker.__name__, "mixed"))

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
