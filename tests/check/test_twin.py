"""Whatever the search leaves out, its verdict is that of a twin that leaves out nothing.

The rules that the search goes by stand at the head of `expansion.py`. Each drawn history is put to
both; an order that the checker gives is tried on the model, and so is the prefix of a violation.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome, Verdict, check
from liferaft.check.models import MODELS
from tests.check.naive import accepted, assert_is_legal_order, cut_before, is_linearizable
from tests.check.objects import CALLS, OBJECTS
from tests.profiles import PROFILE, SOAK_FACTOR

EXAMPLES = 400 * (SOAK_FACTOR if PROFILE == "soak" else 1)

WRONG: dict[str, Sequence[Any]] = {
    "register": [None, 1, 2],
    "cas-register": [None, 1, 2, 3],
    "kv": [None, "", "a", "b", "ab", "ba", "aa", "aba"],
    "queue": [None, "a", "b"],
    "counter": [0, 1, 2, 3],
}
"""What an operation that answers a value may be made to answer, right or wrong."""


class DrawnCall(NamedTuple):
    """A call, and the moment between its invocation and its answer in which it takes effect."""

    process: int
    function: str
    argument: Any
    invoked_at: int
    moment: int
    returned_at: int | None


@st.composite
def drawn_calls(draw: st.DrawFn, name: str) -> DrawnCall:
    function, argument = draw(st.sampled_from(CALLS[name]))
    invoked_at, wait, rest = draw(st.tuples(*[st.integers(0, n) for n in (24, 8, 8)]))
    return DrawnCall(
        process=draw(st.integers(0, 3)),
        function=function,
        argument=argument,
        invoked_at=invoked_at,
        moment=invoked_at + wait,
        returned_at=invoked_at + wait + rest if draw(st.integers(0, 5)) > 0 else None,
    )


@st.composite
def histories(draw: st.DrawFn, name: str) -> list[Operation]:
    """Draw up to eight operations; their answers are those of the object, but for some."""
    calls = draw(st.lists(drawn_calls(name), min_size=1, max_size=8))
    state, operations = None, []
    for call in sorted(calls, key=lambda call: call.moment):
        state, result = OBJECTS[name](state, call.function, call.argument, call.process)
        operations.append(
            Operation(
                process=call.process,
                function=call.function,
                argument=call.argument,
                result=result,
                invoked_at=call.invoked_at,
                returned_at=call.returned_at,
                key="k",
            )
        )
    for index in draw(st.sets(st.integers(0, len(calls) - 1), max_size=2)):
        operations[index] = _with_another_answer(draw, name, operations, index)
    return sorted(operations, key=lambda operation: operation.invoked_at)


def _with_another_answer(
    draw: st.DrawFn, name: str, operations: list[Operation], index: int
) -> Operation:
    """Return the operation with an answer that may be wrong."""
    operation = operations[index]
    if isinstance(operation.result, bool):
        return msgspec.structs.replace(operation, result=not operation.result)
    if operation.function in ("read", "get", "dequeue", "add_and_get") and name in WRONG:
        return msgspec.structs.replace(operation, result=draw(st.sampled_from(WRONG[name])))
    same = [each.result for each in operations if each.function == operation.function]
    return msgspec.structs.replace(operation, result=draw(st.sampled_from(same)))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_verdict_is_that_of_the_twin(name: str) -> None:
    seen = dict.fromkeys(Outcome, 0)

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(histories(name))
    def compare(operations: list[Operation]) -> None:
        model = MODELS[name]()
        taken = accepted(model, operations)
        verdict = check(model, operations, with_order=True)
        seen[verdict.outcome] += 1

        assert is_linearizable(model, taken) == (verdict.outcome is Outcome.LINEARIZABLE)
        if verdict.order is not None:
            for part, order in verdict.order.items():
                assert_is_legal_order(model, taken, order)
                answered = [i for i in model.partition(taken)[part] if taken[i].returned_at]
                assert set(answered) <= set(order)
        else:
            assert_is_explained(name, verdict, taken)

    compare()

    assert min(seen[Outcome.LINEARIZABLE], seen[Outcome.VIOLATION]) > EXAMPLES // 50, seen


def assert_is_explained(name: str, verdict: Verdict, taken: list[Operation]) -> None:
    """Fail unless the prefix is legal, and the longest: with the next answer there is none."""
    model, violation = MODELS[name](), verdict.violation
    assert violation is not None
    part = [taken[i] for i in model.partition(taken)[violation.key]]
    limit = taken[violation.unplaceable[0]].returned_at
    assert limit is not None

    assert_is_legal_order(model, taken, violation.prefix)
    placed = {id(taken[index]) for index in violation.prefix}
    assert all(
        id(operation) in placed
        for operation in part
        if operation.returned_at is not None and operation.returned_at < limit
    )
    if name != "queue":  # which unanswered dequeues matter, is known from what was dequeued later
        assert not is_linearizable(model, cut_before(part, limit, included=True))


def test_an_operation_that_changes_nothing_may_still_hide_another() -> None:
    """`put a` finds an `a` there, and must be taken nonetheless: `put b` is hidden behind it.

    Found by drawing 160,000 histories.
    """
    history = [
        Operation(1, "append", "a", None, 16, 18, "k"),
        Operation(1, "put", "b", None, 20, 66, "k"),
        Operation(0, "append", "b", None, 21, 38, "k"),
        Operation(2, "put", "a", None, 23, 90, "k"),
        Operation(1, "get", None, "ab", 92, 96, "k"),
    ]

    assert Outcome.LINEARIZABLE is check(MODELS["kv"](), history).outcome


def test_an_operation_that_was_hidden_may_be_needed_when_it_returns() -> None:
    """`write 0` could have stood before `write 1`, but the cas needs it after `write 2`."""
    history = [
        Operation(1, "write", 1, None, 1, 9),
        Operation(2, "write", 0, None, 3, 21),
        Operation(3, "read", None, 1, 11, 13),
        Operation(3, "write", 2, None, 14, 16),
        Operation(3, "cas", (0, 0), True, 17, 24),
    ]

    assert Outcome.LINEARIZABLE is check(MODELS["cas-register"](), history).outcome
