"""A bound on what several hold together, and who goes when it is passed."""

from dataclasses import dataclass

from liferaft.link.budget import Budget


@dataclass(eq=False)
class Thing:
    """Holds something, until it is ended."""

    held_bytes: int
    worth: float = 0.0
    is_ended: bool = False

    def end_over_budget(self) -> None:
        self.is_ended = True


def budget_of(bytes_max: int, *things: Thing) -> Budget[Thing]:
    budget: Budget[Thing] = Budget(
        bytes_max, measure=lambda thing: thing.held_bytes, worth=lambda thing: thing.worth
    )
    for thing in things:
        budget.note(thing)
    return budget


def test_within_the_bound_nobody_goes() -> None:
    things = [Thing(50), Thing(50)]
    budget = budget_of(100, *things)

    assert (100, [False, False]) == (budget.total_bytes, [thing.is_ended for thing in things])


def test_above_it_those_of_least_worth_go_until_the_rest_fits() -> None:
    things = [Thing(40, worth=2), Thing(40, worth=1), Thing(40, worth=3), Thing(60, worth=4)]
    budget = budget_of(100, *things)

    assert [True, True, False, False] == [thing.is_ended for thing in things]
    assert 100 == budget.total_bytes


def test_the_one_that_is_noted_may_be_the_one_that_goes() -> None:
    things = [Thing(60, worth=2), Thing(60, worth=1)]
    budget_of(100, *things)

    assert [False, True] == [thing.is_ended for thing in things]


def test_what_is_no_longer_held_is_measured_before_anyone_goes() -> None:
    things = [Thing(60), Thing(40)]
    budget = budget_of(100, *things)
    things[0].held_bytes = 10
    late = Thing(40)
    budget.note(late)

    assert not any(thing.is_ended for thing in (*things, late))
    assert 90 == budget.total_bytes


def test_what_has_ended_is_forgotten() -> None:
    thing = Thing(60)
    budget = budget_of(100, thing)
    budget.forget(thing)
    budget.forget(thing)

    assert 0 == budget.total_bytes
