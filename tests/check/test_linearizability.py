"""What the verdict says of histories large and small, and of none at all."""

import random

import pytest

from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome, check
from liferaft.check.models import MODELS


def simulate_register(
    rng: random.Random, *, clients: int, count: int, keys: int
) -> list[Operation]:
    """Return what clients of a real register saw: each write or read took effect at one moment."""
    values: dict[int, object] = dict.fromkeys(range(keys))
    operations: list[Operation] = []
    now = 0.0
    for number in range(count):
        now += 1.0
        key = rng.randrange(keys)
        begin, end = now - rng.uniform(0.0, clients), now + rng.uniform(0.0, clients)
        if rng.random() < 0.5:
            values[key] = number
            operations.append(Operation(number, "write", number, None, begin, end, key))
        else:
            operations.append(Operation(number, "read", None, values[key], begin, end, key))
    return sorted(operations, key=lambda operation: operation.invoked_at)


@pytest.mark.slow
def test_ten_thousand_operations_are_judged() -> None:
    operations = simulate_register(random.Random(1), clients=5, count=10_000, keys=10)

    assert Outcome.LINEARIZABLE is check(MODELS["register"](), operations).outcome


@pytest.mark.slow
def test_one_wrong_answer_among_ten_thousand_is_found_and_named() -> None:
    operations = simulate_register(random.Random(2), clients=5, count=10_000, keys=10)
    index = next(i for i in range(7_000, 10_000) if operations[i].function == "read")
    right = operations[index]
    wrong = Operation(-1, "read", None, -7, right.invoked_at, right.returned_at, right.key)
    operations[index] = wrong
    verdict = check(MODELS["register"](), operations)

    assert Outcome.VIOLATION is verdict.outcome
    assert verdict.violation is not None
    assert index == verdict.violation.unplaceable[0]
    assert wrong.key == verdict.violation.key


def test_where_time_does_not_suffice_nothing_is_claimed() -> None:
    operations = simulate_register(random.Random(3), clients=20, count=2_000, keys=1)

    assert Outcome.UNDECIDED is check(MODELS["register"](), operations, timeout=0.0).outcome


def test_where_memory_does_not_suffice_nothing_is_claimed() -> None:
    operations = simulate_register(random.Random(3), clients=20, count=2_000, keys=1)

    assert Outcome.UNDECIDED is check(MODELS["register"](), operations, memory_bytes=1_000).outcome


def test_an_empty_history_is_linearizable() -> None:
    assert Outcome.LINEARIZABLE is check(MODELS["kv"](), []).outcome


def test_the_state_is_named_also_when_no_answer_shows_its_value() -> None:
    """The search does not tell such values apart; who reads the verdict wants to."""
    operations = [
        Operation(1, "write", "first", None, 1, 2),
        Operation(1, "write", "second", None, 3, 4),
        Operation(2, "read", None, None, 5, 6),
    ]
    verdict = check(MODELS["register"](), operations)

    assert verdict.violation is not None
    assert ("'second'",) == verdict.violation.states
