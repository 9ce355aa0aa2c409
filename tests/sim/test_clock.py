"""A machine's clocks may be wrong in every way but one: the monotonic one never goes back."""

from random import Random

import pytest

from liferaft.sim.clock import WALL_START, Clock


def test_a_right_clock_shows_true_time_from_where_it_began() -> None:
    clock = Clock(started_at=500.0)

    assert (500.0, 510.0) == (clock.read(0.0), clock.read(10.0))


def test_a_clock_that_changes_its_rate_does_not_jump() -> None:
    clock = Clock()
    shown = [clock.read(10.0)]
    clock.run_at(2.0, true=10.0)
    shown += [clock.read(10.0), clock.read(20.0)]
    clock.run_at(0.5, true=20.0)
    shown += [clock.read(20.0), clock.read(22.0)]

    assert [10.0, 10.0, 30.0, 30.0, 31.0] == shown


def test_a_moment_is_never_due_before_the_clock_shows_it() -> None:
    """A timer that fires a rounding too early would be set again for ever."""
    draw = Random(1)
    for _ in range(2_000):
        clock = Clock(started_at=draw.uniform(0.0, 1e6))
        clock.run_at(draw.uniform(0.1, 3.0), true=draw.uniform(0.0, 100.0))
        local = clock.read(100.0) + draw.uniform(0.0, 10.0)

        assert clock.read(clock.due(local)) >= local


def test_the_wall_clock_jumps_alone() -> None:
    clock = Clock(started_at=7.0)
    clock.wall_error = -60.0

    assert WALL_START + 10.0 - 60.0 == pytest.approx(clock.wall(10.0))
    assert 17.0 == clock.read(10.0)
