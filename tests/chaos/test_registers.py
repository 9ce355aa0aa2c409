"""What clients saw of a key has an order, or the two values that have none are named."""

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liferaft.chaos.history import Call
from liferaft.chaos.registers import key_problems

KEY = "k"


def put(value: str, invoked_at: float, returned_at: float | None) -> Call:
    result = value if returned_at is not None else None
    return Call(1, "put", KEY, value, result, invoked_at, returned_at)


def get(value: str | None, invoked_at: float, returned_at: float | None) -> Call:
    return Call(2, "get", KEY, None, value, invoked_at, returned_at)


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [get(None, 1, 2), put("a", 3, 4), get("a", 5, 6)],
        [put("a", 1, 4), get(None, 2, 3), get("a", 2, 3)],
        [put("a", 1, 10), put("b", 1, 10), get("a", 2, 3), get("b", 4, 5)],
        [put("a", 1, None), get(None, 2, 3), get("a", 50, 51)],
        [put("a", 1, 2), put("b", 3, None), get("a", 50, 51)],
        [put("a", 1, 2), get(None, 5, None)],
    ],
    ids=[
        "nothing",
        "one after the other",
        "both sides of a write",
        "two at once",
        "an unknown write that happens late",
        "an unknown write that does not happen",
        "an unknown read",
    ],
)
def test_what_can_be_put_into_one_order_has_no_problem(calls: list[Call]) -> None:
    assert [] == list(key_problems(KEY, calls))


@pytest.mark.parametrize(
    ("calls", "sentence"),
    [
        ([get("a", 1, 2)], "key k: 'a' was read, which nobody wrote"),
        ([get("a", 1, 2), put("a", 3, 4)], "key k: 'a' was read before it was written"),
        (
            [put("a", 1, 2), put("b", 3, 4), get("a", 5, 6)],
            "key k: 'a' was there before 'b', and 'b' before 'a'",
        ),
        (
            [put("a", 1, 2), get(None, 3, 4)],
            "key k: None was there before 'a', and 'a' before None",
        ),
        (
            [put("a", 1, None), put("b", 1, None), get("a", 2, 3), get("b", 4, 5), get("a", 6, 7)],
            "key k: 'a' was there before 'b', and 'b' before 'a'",
        ),
    ],
    ids=["invented", "from the future", "stale", "lost", "there and back"],
)
def test_what_no_order_explains_is_named(calls: list[Call], sentence: str) -> None:
    (problem,) = key_problems(KEY, calls)

    assert problem.startswith(sentence)


@st.composite
def histories(draw: st.DrawFn) -> list[Call]:
    """Draw up to three writes and three reads, at times that are all different."""
    writes = draw(st.integers(0, 3))
    reads = draw(st.integers(0, 3))
    times = draw(st.permutations(range(2 * (writes + reads))))
    values = [chr(ord("a") + number) for number in range(writes)]
    calls: list[Call] = []
    for number in range(writes + reads):
        begin, end = sorted(times[2 * number : 2 * number + 2])
        if number < writes:
            is_answered = draw(st.booleans())
            calls.append(put(values[number], begin, end if is_answered else None))
        else:
            calls.append(get(draw(st.sampled_from([None, *values])), begin, end))
    return calls


@settings(deadline=None)
@given(histories())
def test_the_answer_is_that_of_trying_every_order(calls: list[Call]) -> None:
    assert has_order(calls) == (not list(key_problems(KEY, calls)))


def has_order(calls: Sequence[Call]) -> bool:
    """Return whether some order of the calls, unknown writes at will, fits: the naive twin."""
    known = [call for call in calls if call.returned_at is not None]
    unknown = [call for call in calls if call.returned_at is None]
    return any(
        is_legal(order)
        for count in range(len(unknown) + 1)
        for happened in itertools.combinations(unknown, count)
        for order in itertools.permutations([*known, *happened])
    )


def is_legal(order: Sequence[Call]) -> bool:
    """Return whether every read sees the write before it, and no call comes before its time."""
    value = None
    latest_begin = -math.inf
    for call in order:
        end = math.inf if call.returned_at is None else call.returned_at
        if end < latest_begin:
            return False
        latest_begin = max(latest_begin, call.invoked_at)
        if call.function == "put":
            value = call.argument
        elif call.result != value:
            return False
    return True
