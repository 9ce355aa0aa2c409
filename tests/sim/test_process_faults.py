"""Power cuts strike where they can do harm."""

import pytest

from liferaft.sim.options import SimulationOptions
from liferaft.sim.run import simulate
from liferaft.storage.platter import Platter


def test_many_power_cuts_strike_a_node_that_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk is idle most of the time: of cuts at any moment one in fifteen would lose a write."""
    cuts = writes = 0
    stop_work = Platter.stop_work

    def counted(self: Platter) -> None:
        nonlocal cuts, writes
        cuts += 1
        writes += self.is_writing
        stop_work(self)

    monkeypatch.setattr(Platter, "stop_work", counted)
    for seed in range(5):
        simulate(seed, SimulationOptions(profile="process", seconds=6.0))

    assert cuts > 50
    assert writes > cuts / 8
