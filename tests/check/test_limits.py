"""The checker keeps to its limits, and when they are not enough it claims nothing."""

import random
import tracemalloc

import msgspec
import pytest

from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome, check
from liferaft.check.models import MODELS
from tests.check.objects import CALLS, Call, simulate


def few_values(rng: random.Random, number: int) -> Call:
    """Return a call of a register as Jepsen makes them: values from 0 to 4."""
    function = rng.choice(["read", "write", "cas"])
    argument = {
        "read": None,
        "write": rng.randrange(5),
        "cas": (rng.randrange(5), rng.randrange(5)),
    }
    return function, argument[function]


def own_values(rng: random.Random, number: int) -> Call:
    """Return a call of a dictionary, where no value comes twice."""
    function = rng.choice(["get", "put", "append"])
    return function, None if function == "get" else f"{number};"


def ten_keys() -> list[Operation]:
    keys = [f"k{number}" for number in range(10)]
    return simulate("kv", own_values, clients=10, count=10_000, seed=1, keys=keys)


def one_key(*, clients: int, seed: int = 1) -> list[Operation]:
    return simulate(
        "cas-register", few_values, clients=clients, count=10_000, seed=seed, unanswered=0.005
    )


def with_a_stale_read(operations: list[Operation]) -> list[Operation]:
    """Return the history in which a late read of a key answers what was there long before."""
    changed = list(operations)
    last = max(
        (i for i, o in enumerate(operations) if o.function == "get" and o.result is not None),
        key=lambda i: operations[i].invoked_at,
    )
    same = [o for o in operations if o.function == "get" and o.key == operations[last].key]
    early = next(o for o in same if o.result is not None)
    changed[last] = msgspec.structs.replace(operations[last], result=early.result)
    return changed


@pytest.mark.slow
def test_ten_thousand_operations_on_ten_keys_are_decided() -> None:
    operations = ten_keys()
    stale = with_a_stale_read(operations)

    assert Outcome.LINEARIZABLE is check(MODELS["kv"](), operations).outcome
    assert Outcome.VIOLATION is check(MODELS["kv"](), stale).outcome


@pytest.mark.slow
def test_ten_thousand_operations_on_one_key_with_unknown_outcomes_are_decided() -> None:
    operations = one_key(clients=10)

    assert sum(operation.returned_at is None for operation in operations) > 30
    assert Outcome.LINEARIZABLE is check(MODELS["cas-register"](), operations).outcome


@pytest.mark.slow
def test_thirty_clients_on_one_key_get_no_wrong_answer() -> None:
    operations = one_key(clients=30)
    verdict = check(MODELS["cas-register"](), operations, memory_bytes=200_000_000)

    assert Outcome.VIOLATION is not verdict.outcome
    assert verdict.memory_bytes < 250_000_000


@pytest.mark.slow
def test_a_bad_object_is_found_before_a_hard_one_is_decided() -> None:
    """The hard one alone takes many times as long; it is the first one in the history."""
    hard = [
        msgspec.structs.replace(operation, key="hard")
        for operation in simulate(
            "queue", lambda rng, _: rng.choice(CALLS["queue"]), clients=12, count=400, seed=3
        )
    ]
    last = hard[-1].invoked_at
    bad = [
        Operation(1, "enqueue", "a", None, last + 1, last + 2, "bad"),
        Operation(1, "dequeue", None, "b", last + 3, last + 4, "bad"),
    ]
    verdict = check(MODELS["queue"](), [*hard, *bad])

    assert Outcome.VIOLATION is verdict.outcome
    assert verdict.violation is not None
    assert "bad" == verdict.violation.key


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_memory_that_is_counted_is_not_less_than_what_is_taken(name: str) -> None:
    operations = simulate(
        name, lambda rng, _: rng.choice(CALLS[name]), clients=12, count=300, seed=7, unanswered=0.02
    )
    check(MODELS[name](), operations[:10])  # what is made once, is made before
    tracemalloc.start()
    try:
        verdict = check(MODELS[name](), operations, memory_bytes=6_000_000)
        _, taken = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert taken <= verdict.memory_bytes + 500_000


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_with_too_little_memory_no_violation_is_claimed(name: str) -> None:
    for seed in range(10):
        operations = simulate(
            name, lambda rng, _: rng.choice(CALLS[name]), clients=6, count=80, seed=seed
        )
        for kilobytes in (1, 100, 150, 200):
            verdict = check(MODELS[name](), operations, memory_bytes=1000 * kilobytes)

            assert Outcome.VIOLATION is not verdict.outcome


@pytest.mark.slow
def test_where_memory_is_not_enough_it_says_so() -> None:
    operations = simulate(
        "queue", lambda rng, _: rng.choice(CALLS["queue"]), clients=12, count=400, seed=3
    )
    verdict = check(MODELS["queue"](), operations, memory_bytes=2_000_000)

    assert Outcome.UNDECIDED is verdict.outcome
    assert "the memory of 2 MB was not enough: 1 of 1 objects are undecided" == verdict.reason


def test_without_time_nothing_is_claimed() -> None:
    operations = one_key(clients=5)[:2000]
    verdict = check(MODELS["cas-register"](), operations, timeout=0.0)

    assert Outcome.UNDECIDED is verdict.outcome
    assert "the time of 0 s was not enough: 1 of 1 objects are undecided" == verdict.reason
