"""The workload of every simulation, which reads by the views that promise no less."""

import pytest

from liferaft.errors import LiferaftError
from liferaft.rpc.views import View
from liferaft.sim.options import SimulationOptions
from liferaft.sim.run import simulate
from liferaft.sim.shared_state import DICTIONARY, KEYS, AsyncKeyValue, SharedState, _key
from liferaft.sim.workload import Seat

VIEWS = ("", View.LEASE.value, View.FOLLOWER.value, View.WITHIN.value)
"""Leases are off, and without a bound `WITHIN` is as new as `FOLLOWER`."""


class ByViews(SharedState):
    """Gets by any view."""

    async def _get(self, seat: Seat) -> None:
        name = DICTIONARY + seat.random.choice(VIEWS)
        store: AsyncKeyValue = seat.stub(name, AsyncKeyValue)
        try:
            await self._call_get(seat, store, _key(seat.random.randrange(KEYS)))
        except LiferaftError as error:
            seat.failed(error)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_reads_by_views_are_linearizable_whatever_goes_wrong(seed: int) -> None:
    """Disks, networks, processes and clocks; it raises for a history that is none."""
    result = simulate(seed, SimulationOptions(seconds=20.0), workload=ByViews)

    assert result.outcomes["dictionary"] > 20
