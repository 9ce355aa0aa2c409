"""A copy of what was turned away gets the same answer, for a while."""

from liferaft.rpc.refusals import REFUSAL_MEMORY, REFUSALS_MAX, Refusals


class Clock:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def test_only_the_very_frame_that_was_turned_away_is_known() -> None:
    refusals = Refusals(Clock())
    refusals.remember(7, b"call 7", b"refused")

    assert b"refused" == refusals.answer_to(7, b"call 7")
    assert None is refusals.answer_to(7, b"call 7, asked again")
    assert None is refusals.answer_to(8, b"call 7")


def test_it_is_known_for_longer_than_a_link_holds_a_copy_and_not_for_ever() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    refusals.remember(7, b"call", b"refused")
    clock.now += REFUSAL_MEMORY - 0.01
    before = refusals.answer_to(7, b"call")
    clock.now += 0.02

    assert b"refused" == before
    assert None is refusals.answer_to(7, b"call")


def test_the_earliest_are_forgotten_first() -> None:
    refusals = Refusals(Clock())
    for number in range(REFUSALS_MAX + 1):
        refusals.remember(number, b"call", b"refused")

    assert None is refusals.answer_to(0, b"call")
    assert b"refused" == refusals.answer_to(1, b"call")
    assert REFUSALS_MAX == len(refusals._by_number)
