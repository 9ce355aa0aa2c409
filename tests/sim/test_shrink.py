"""A failing run becomes shorter, and still breaks the same promise."""

import pytest

from liferaft.sim.failure import SimulationFailed
from liferaft.sim.options import SimulationOptions
from liferaft.sim.run import simulate
from liferaft.sim.shrink import shrink
from tests.sim.breakers import forget_the_vote


@pytest.mark.slow
def test_most_faults_turn_out_to_be_needless(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_the_vote(monkeypatch)
    options = SimulationOptions(seconds=6.0)
    with pytest.raises(SimulationFailed) as caught:
        simulate(0, options)
    tries: list[int] = []

    shorter, failure = shrink(
        0, options, caught.value, tries_max=40, on_try=lambda count, _: tries.append(count)
    )

    assert shorter.keep is not None
    assert len(shorter.keep) < len(caught.value.steps)
    assert failure.violated_property == caught.value.violated_property
    assert len(tries) <= 40
    with pytest.raises(SimulationFailed) as again:
        simulate(0, shorter)
    assert failure.violation == again.value.violation
