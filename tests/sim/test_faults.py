"""What goes wrong is drawn up front, and every part of it stands on its own."""

from itertools import pairwise

import pytest

from liferaft.errors import ConfigurationError
from liferaft.sim.faults import FAMILIES, KINDS, draw_schedule
from liferaft.sim.schedule import PROFILES


def test_the_same_seed_draws_the_same_schedule_in_the_order_of_time() -> None:
    schedule = draw_schedule(7, profile="mixed", seconds=60.0)

    assert schedule == draw_schedule(7, profile="mixed", seconds=60.0)
    assert schedule != draw_schedule(8, profile="mixed", seconds=60.0)
    assert all(one.at <= other.at for one, other in pairwise(schedule))
    assert list(range(len(schedule))) == [step.number for step in schedule]


def test_a_mixed_schedule_draws_every_kind_in_time() -> None:
    drawn = {step.kind for step in draw_schedule(1, profile="mixed", seconds=600.0)}

    assert set(KINDS) == drawn


def test_a_profile_draws_from_its_families_alone() -> None:
    network = {step.kind for step in draw_schedule(1, profile="network", seconds=300.0)}

    assert set(FAMILIES["network"]) == network
    assert () == draw_schedule(1, profile="calm", seconds=300.0)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="take one of"):
        draw_schedule(1, profile="sunny", seconds=1.0)
    assert "mixed" in PROFILES
