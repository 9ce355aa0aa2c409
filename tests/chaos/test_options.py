"""What a run may be told, and how it is shared out."""

import msgspec
import pytest

from liferaft.chaos.options import ROUND_SECONDS, ChaosOptions, checked, rounds_of
from liferaft.errors import ConfigurationError


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"nodes": 2}, "--nodes is 2: give 3 to 9"),
        ({"nodes": 10}, "--nodes is 10"),
        ({"seconds": -1.0}, "--seconds is -1"),
        ({"seconds": float("nan")}, "--seconds is nan"),
        ({"clients": 0}, "--clients is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, float], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        checked(msgspec.structs.replace(ChaosOptions(), **change))


def test_a_short_run_is_one_round() -> None:
    options = ChaosOptions(seconds=ROUND_SECONDS)

    assert (options,) == rounds_of(options)


def test_a_long_run_is_several_rounds_of_their_own_seeds() -> None:
    rounds = rounds_of(ChaosOptions(seconds=2.5 * ROUND_SECONDS, seed=7))

    assert [7, 8, 9] == [each.seed for each in rounds]
    assert 2.5 * ROUND_SECONDS == pytest.approx(sum(each.seconds for each in rounds))


def test_no_time_at_all_is_still_a_round_in_which_each_fault_has_its_turn() -> None:
    assert [0.0] == [each.seconds for each in rounds_of(ChaosOptions(seconds=0.0))]
