"""Which points are swept."""

import pytest

from liferaft.chaos.points import AGAIN_EVERY, ALL, CALLS, Point, calls_of, plan
from liferaft.errors import ConfigurationError


def test_names_stand_for_system_calls_and_all_for_every_one() -> None:
    every = tuple(call for calls in CALLS.values() for call in calls)

    assert ("fdatasync", "fsync") == calls_of(["fdatasync"])
    assert every == calls_of([ALL]) == calls_of(["write", ALL])


def test_a_name_that_nothing_is_swept_by_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match=r"no sweep of 'read': give write, .*, all"):
        calls_of(["read"])


def test_every_call_is_a_point_when_there_is_room() -> None:
    points = plan({"rename": 1, "fsync": 3}, {}, points_max=100)

    assert [Point("fsync", 1), Point("fsync", 2), Point("fsync", 3), Point("rename", 1)] == list(
        points
    )


def test_fewer_points_are_spread_evenly_and_another_offset_takes_others() -> None:
    points = plan({"fsync": 100}, {}, points_max=4)
    others = plan({"fsync": 100}, {}, points_max=4, offset=90)

    assert [1, 26, 51, 76] == [point.number for point in points]
    assert [91, 16, 41, 66] == [point.number for point in others]


def test_recovery_is_killed_again_at_each_of_its_calls_in_turn() -> None:
    points = plan({"fsync": 16}, {"fsync": 3}, points_max=100)

    assert [2, 3, 1, 2] == [point.again for point in points[AGAIN_EVERY - 1 :: AGAIN_EVERY]]
    assert 4 == sum(point.again > 0 for point in points)


def test_a_call_that_recovery_does_not_make_is_not_waited_for() -> None:
    assert not any(point.again for point in plan({"rename": 8}, {}, points_max=100))
