"""Both halves of a session, with time passed in by hand."""

import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liferaft.rpc.interface import Interface
from liferaft.rpc.session import (
    RESEND_FIRST,
    RESEND_MAX,
    RESEND_MIN,
    CalleeSession,
    CallerSession,
    RoundTrip,
    Verdict,
)
from tests.rpc.objects import Counter

METHOD = Interface.of(Counter).methods["increment"]


def callee(replies_max: int = 100, reply_bytes_max: int = 10_000) -> CalleeSession[int]:
    return CalleeSession(replies_max=replies_max, reply_bytes_max=reply_bytes_max)


def test_a_call_is_executed_once_however_often_it_comes() -> None:
    session = callee()

    assert Verdict.EXECUTE is session.receive(1, 1)
    assert Verdict.WORKING is session.receive(1, 1)
    session.finish(1, b"answer")
    assert Verdict.REPEAT is session.receive(1, 1)
    assert b"answer" == session.reply(1)


def test_calls_may_arrive_in_any_order() -> None:
    """Trap 43: a late one must not be taken for a repeat."""
    session = callee()
    verdicts = [session.receive(number, 1) for number in (3, 1, 2)]

    assert [Verdict.EXECUTE] * 3 == verdicts


def test_an_acknowledged_reply_is_dropped_and_its_call_never_runs_again() -> None:
    session = callee()
    session.receive(1, 1)
    session.finish(1, b"answer")
    session.receive(2, 2)

    assert 0 == session.reply_bytes
    assert Verdict.FORGOTTEN is session.receive(1, 1)


def test_a_call_that_was_turned_away_may_come_again() -> None:
    session = callee()
    session.receive(1, 1)
    session.withdraw(1)

    assert Verdict.EXECUTE is session.receive(1, 1)


def test_a_reply_dropped_for_want_of_room_is_forgotten_not_executed_again() -> None:
    session = callee(replies_max=4)
    for number in range(1, 6):
        session.receive(number, 1)
        session.finish(number, b"answer")

    assert Verdict.FORGOTTEN is session.receive(1, 1)
    assert Verdict.REPEAT is session.receive(5, 1)


def test_replies_are_bounded_in_bytes() -> None:
    session = callee(reply_bytes_max=1000)
    for number in range(1, 101):
        session.receive(number, 1)
        session.finish(number, b"x" * 100)

        assert session.reply_bytes <= 1000


class Held:
    """Something that is gone when nobody has it."""


@pytest.mark.parametrize("end", ["acknowledged", "forgotten"])
def test_what_an_answer_speaks_of_lives_as_long_as_the_answer(end: str) -> None:
    session = callee()
    held = Held()
    session.receive(1, 1)
    session.finish(1, b"r" * 10, [held])
    watched = weakref.ref(held)
    del held
    assert watched() is not None

    if end == "acknowledged":
        session.acknowledge(2)
    else:
        session.forget(0)
    assert watched() is None


def test_a_reply_that_nobody_waits_for_any_more_is_not_kept() -> None:
    session = callee()
    session.receive(1, 1)
    session.acknowledge(2)
    session.finish(1, b"answer")

    assert 0 == session.reply_bytes


def test_an_enormous_acknowledgement_costs_nothing() -> None:
    """The number comes from the peer: a walk up to it would not end."""
    session = callee()
    session.receive(1, 1)
    session.finish(1, b"answer")
    session.acknowledge(2**62)

    assert 0 == session.reply_bytes


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20), st.booleans()), max_size=200))
def test_no_order_of_calls_repeats_and_acknowledgements_executes_twice(
    steps: list[tuple[int, int, bool]],
) -> None:
    session = callee(replies_max=5, reply_bytes_max=50)
    executed: list[int] = []
    running: list[int] = []
    for number, acked_below, is_finishing in steps:
        if session.receive(number, acked_below) is Verdict.EXECUTE:
            executed.append(number)
            running.append(number)
        if is_finishing and running:
            session.finish(running.pop(0), b"0123456789")

        assert len(executed) == len(set(executed))
        assert session.reply_bytes <= 50


def test_the_caller_acknowledges_up_to_its_lowest_unanswered_call() -> None:
    session: CallerSession[None] = CallerSession(b"s" * 16)
    for _ in range(3):
        session.add(METHOD, b"", None, None)
    session.settle(2)
    before = session.acked_below
    session.settle(1)

    assert (1, 3) == (before, session.acked_below)
    session.settle(3)
    assert 4 == session.acked_below


def test_a_repeated_answer_is_nobodys() -> None:
    session: CallerSession[None] = CallerSession(b"s" * 16)
    call = session.add(METHOD, b"", None, None)

    assert call is session.settle(1)
    assert session.settle(1) is None


def test_the_interval_begins_with_a_guess_and_follows_the_round_trips() -> None:
    round_trip = RoundTrip()
    guess = round_trip.interval
    round_trip.measured(0.1)

    assert RESEND_FIRST == guess
    assert pytest.approx(0.3) == round_trip.interval


@given(st.lists(st.floats(0, 1000), min_size=1))
def test_the_interval_stays_within_its_bounds(samples: list[float]) -> None:
    round_trip = RoundTrip()
    for sample in samples:
        round_trip.measured(sample)

        assert RESEND_MIN <= round_trip.interval <= RESEND_MAX
