"""For every model, the verdict is that of a naive twin that tries every order."""

import random
from collections.abc import Callable, Sequence
from itertools import permutations

import pytest

from liferaft.check.history import UNKNOWN, Operation
from liferaft.check.linearizability import Outcome, check
from liferaft.check.model import Model
from liferaft.check.models import MODELS

Draw = Callable[[random.Random], tuple[str, object, object]]


def draw_register(rng: random.Random) -> tuple[str, object, object]:
    return rng.choice([("read", None, rng.randrange(3)), ("write", rng.randrange(3), None)])


def draw_cas(rng: random.Random) -> tuple[str, object, object]:
    pair = (rng.randrange(2), rng.randrange(3))
    return rng.choice([draw_register(rng), ("cas", pair, True), ("cas", pair, False)])


def draw_kv(rng: random.Random) -> tuple[str, object, object]:
    text = rng.choice(["a", "b"])
    seen = rng.choice(["", "a", "b", "ab", "ba", "aa"])
    return rng.choice([("get", None, seen), ("put", text, None), ("append", text, None)])


def draw_queue(rng: random.Random) -> tuple[str, object, object]:
    value = rng.randrange(3)
    return rng.choice([("enqueue", value, None), ("dequeue", None, rng.choice([None, value]))])


def draw_counter(rng: random.Random) -> tuple[str, object, object]:
    return rng.choice([("add", rng.choice([1, 2]), None), ("get", None, rng.randrange(5))])


def draw_set(rng: random.Random) -> tuple[str, object, object]:
    element = rng.randrange(2)
    return rng.choice(
        [
            ("add", element, None),
            ("remove", element, None),
            ("contains", element, rng.random() < 0.5),
        ]
    )


def draw_lock(rng: random.Random) -> tuple[str, object, object]:
    return rng.choice([("acquire", None, rng.random() < 0.7), ("release", None, None)])


DRAWS: dict[str, Draw] = {
    "register": draw_register,
    "cas-register": draw_cas,
    "kv": draw_kv,
    "queue": draw_queue,
    "counter": draw_counter,
    "set": draw_set,
    "lock": draw_lock,
}


def draw_history(rng: random.Random, draw: Draw, *, size: int) -> list[Operation]:
    """Return operations of three processes that overlap as they like."""
    operations: list[Operation] = []
    free_from = dict.fromkeys(range(3), 0.0)
    for _ in range(size):
        process = rng.randrange(3)
        function, argument, result = draw(rng)
        begin = max(free_from[process], rng.uniform(0.0, 6.0))
        end = begin + rng.uniform(0.1, 4.0)
        free_from[process] = end + 0.01
        is_answered = rng.random() < 0.85
        operations.append(
            Operation(process, function, argument, result, begin, end if is_answered else None, "k")
        )
        if not is_answered:
            free_from[process] = 1e9  # it asks no more
            free_from = {p: at for p, at in free_from.items() if at < 1e9} or {9: 0.0}
            free_from |= {p: 0.0 for p in range(3) if p not in free_from}
    return sorted(operations, key=lambda operation: operation.invoked_at)


def is_linearizable_by_trying(model: Model, operations: Sequence[Operation]) -> bool:
    """Try every order of every choice of the unanswered operations."""
    accepted = [
        model.accept(
            Operation(o.process, o.function, o.argument, UNKNOWN, o.invoked_at, None, o.key)
            if o.returned_at is None
            else o
        )
        for o in operations
    ]
    answered = [i for i, o in enumerate(accepted) if o.returned_at is not None]
    pending = [i for i, o in enumerate(accepted) if o.returned_at is None]
    for choice in range(2 ** len(pending)):
        chosen = answered + [p for bit, p in enumerate(pending) if choice >> bit & 1]
        for order in permutations(chosen):
            if _keeps_time(accepted, order) and _is_legal(model, accepted, order):
                return True
    return False


def _keeps_time(operations: Sequence[Operation], order: Sequence[int]) -> bool:
    latest = float("-inf")
    for index in order:
        returned_at = operations[index].returned_at
        if returned_at is not None and returned_at < latest:
            return False
        latest = max(latest, operations[index].invoked_at)
    return True


def _is_legal(model: Model, operations: Sequence[Operation], order: Sequence[int]) -> bool:
    state = model.initial()
    for index in order:
        is_legal, state = model.step(state, operations[index])
        if not is_legal:
            return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DRAWS))
def test_the_verdict_is_that_of_the_naive_twin(name: str) -> None:
    rng = random.Random(f"twin {name}")
    seen = dict.fromkeys((True, False), 0)
    for _ in range(400):
        operations = draw_history(rng, DRAWS[name], size=rng.randint(2, 5))
        expected = is_linearizable_by_trying(MODELS[name](), operations)
        verdict = check(MODELS[name](), operations)
        seen[expected] += 1

        assert expected == (verdict.outcome is Outcome.LINEARIZABLE), operations
    assert min(seen.values()) > 20, "a twin that always says the same proves nothing"


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
