"""The models that ship do what their objects do, which objects.py has a second time."""

import random
from collections.abc import Hashable, Sequence
from typing import Any

import msgspec
import pytest

from liferaft.check.history import UNKNOWN, HistoryError, Operation
from liferaft.check.linearizability import Outcome, check
from liferaft.check.model import Model, ModelError, Trait
from liferaft.check.models import MODELS, model_named
from liferaft.recipes.todo import Item, NoSuchItem, TodoList
from tests.check.objects import CALLS, OBJECTS, simulate


def one_after_the_other(*calls: tuple[str, Any, Any], key: Hashable = "k") -> list[Operation]:
    """Return operations of one process: function, argument and answer."""
    return [
        Operation(1, function, argument, result, 2 * place, 2 * place + 1, key)
        for place, (function, argument, result) in enumerate(calls)
    ]


def outcome(model: str | Model, *calls: tuple[str, Any, Any], **arguments: object) -> Outcome:
    made = model_named(model, **arguments) if isinstance(model, str) else model
    return check(made, one_after_the_other(*calls)).outcome


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_the_object_answers_is_legal(name: str) -> None:
    operations = simulate(
        name, lambda rng, _: rng.choice(CALLS[name]), clients=1, count=200, seed=1
    )

    assert Outcome.LINEARIZABLE is check(MODELS[name](), operations).outcome


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_several_clients_of_the_object_see_is_linearizable(name: str) -> None:
    for seed in range(20):
        operations = simulate(
            name,
            lambda rng, _: rng.choice(CALLS[name]),
            clients=4,
            count=60,
            seed=seed,
            unanswered=0.05,
        )

        assert Outcome.LINEARIZABLE is check(MODELS[name](), operations).outcome


def operations_with_all_answers(name: str) -> list[Operation]:
    """Return each call of the object, with every answer that it gives anywhere, and without."""
    rng = random.Random(name)
    operations: list[Operation] = []
    for function, argument in CALLS[name]:
        answers: list[Any] = [UNKNOWN]
        for _ in range(30):
            state = None
            for before, given in rng.choices(CALLS[name], k=rng.randrange(5)):
                state, _ = OBJECTS[name](state, before, given, 1)
            answer = OBJECTS[name](state, function, argument, 1)[1]
            answers += [] if answer in answers else [answer]
        model = MODELS[name]()
        operations += [
            model.accept(Operation(1, function, argument, answer, 1, 2, "k")) for answer in answers
        ]
    return operations


def reachable(model: Model, operations: Sequence[Operation]) -> list[Hashable]:
    """Return the states that a few of the operations lead to."""
    states = {model.initial(): None}
    for _ in range(3):
        for state in list(states):
            for operation in operations:
                is_legal, after = model.step(state, operation)
                if is_legal:
                    states[after] = None
    return list(states)[:300]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_promises_of_the_models_are_kept(name: str) -> None:
    """Each trait, and the dead end, in each state that is near; also of the specialized model."""
    given = operations_with_all_answers(name)
    plain = MODELS[name]()
    for model, operations in ((plain, given), plain.specialize(given)):
        states = reachable(model, operations)
        for operation in operations:
            steps = [model.step(state, operation) for state in states]
            traits = model.traits(operation)
            if Trait.READS_ONLY in traits:
                assert all(
                    not is_legal or after == state
                    for state, (is_legal, after) in zip(states, steps, strict=True)
                )
            if traits & (Trait.ALWAYS_LEGAL | Trait.OVERWRITES):
                assert all(is_legal for is_legal, _ in steps)
            if Trait.OVERWRITES in traits:
                assert 1 == len({after for _, after in steps})
            if model.dead_end() is not UNKNOWN:
                is_legal, after = model.step(model.dead_end(), operation)
                assert not is_legal or all(is_legal for is_legal, _ in steps)
                assert after == model.dead_end() or not is_legal or Trait.OVERWRITES in traits


class Forgetful(Model):
    """A register whose author promises too much."""

    def __init__(self, promised: Trait) -> None:
        self._promised = promised

    def initial(self) -> Hashable:
        return 0

    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        assert isinstance(state, int)
        return state < 2, state + 1

    def traits(self, operation: Operation) -> Trait:
        return self._promised


@pytest.mark.parametrize(
    ("promised", "said"),
    [
        (Trait.READS_ONLY, "only reads, but it changes the state"),
        (Trait.ALWAYS_LEGAL, "is always legal, but it is not"),
        (Trait.OVERWRITES, "overwrites, but the state after it depends on the one before"),
    ],
)
def test_a_broken_promise_is_found(promised: Trait, said: str) -> None:
    calls = [("bump", place, None) for place in range(4)]
    with pytest.raises(ModelError, match=said):
        outcome(Forgetful(promised), *calls, *calls)


def test_a_register_is_unset_at_first_or_what_it_is_given() -> None:
    assert Outcome.LINEARIZABLE is outcome("register", ("read", None, None))
    assert Outcome.VIOLATION is outcome("register", ("read", None, 0))
    assert Outcome.LINEARIZABLE is outcome("register", ("read", None, 0), initial=0)


def test_a_truth_value_is_no_number() -> None:
    calls = ("write", 1, None), ("read", None, True)

    assert Outcome.VIOLATION is outcome("register", *calls)


def test_values_may_be_lists_and_maps() -> None:
    value = {"a": [1, {"b": None}]}
    calls = ("write", value, None), ("read", None, value)

    assert Outcome.LINEARIZABLE is outcome("register", *calls)


def test_a_cas_that_is_answered_false_found_another_value() -> None:
    legal = ("write", 1, None), ("cas", [2, 3], False), ("read", None, 1)
    wrong = ("write", 1, None), ("cas", [1, 3], False)

    assert [Outcome.LINEARIZABLE, Outcome.VIOLATION] == [
        outcome("cas-register", *legal),
        outcome("cas-register", *wrong),
    ]


def test_an_unset_key_is_nil_or_empty_and_appended_to() -> None:
    calls = ("get", None, ""), ("get", None, None), ("append", "x", None), ("get", None, "x")

    assert Outcome.LINEARIZABLE is outcome("kv", *calls)


def test_a_delete_tells_whether_there_was_something() -> None:
    right = ("put", "", None), ("delete", None, True), ("delete", None, False)
    wrong = ("delete", None, True), ("put", "", None)

    assert Outcome.LINEARIZABLE is outcome("kv", *right)
    assert Outcome.VIOLATION is outcome("kv", *wrong)


def test_a_queue_that_is_empty_answers_nil() -> None:
    right = ("dequeue", None, None), ("enqueue", 1, None), ("dequeue", None, 1)
    wrong = ("enqueue", 1, None), ("dequeue", None, None)

    assert Outcome.LINEARIZABLE is outcome("queue", *right)
    assert Outcome.VIOLATION is outcome("queue", *wrong)


def test_a_queue_keeps_the_order_whether_values_repeat_or_not() -> None:
    unique = ("enqueue", 1, None), ("enqueue", 2, None), ("dequeue", None, 2)
    repeated = (*unique[:2], ("enqueue", 1, None), ("dequeue", None, 2))

    assert Outcome.VIOLATION is outcome("queue", *unique)
    assert Outcome.VIOLATION is outcome("queue", *repeated)
    assert Outcome.LINEARIZABLE is outcome("queue", *unique, initial=[2])


def test_a_lock_is_released_by_its_holder_only() -> None:
    history = [
        Operation("a", "acquire", None, True, 1, 2),
        Operation("b", "acquire", None, False, 3, 4),
        Operation("a", "release", None, None, 5, 6),
    ]
    stolen = [*history[:2], msgspec.structs.replace(history[2], process="b")]

    assert Outcome.LINEARIZABLE is check(MODELS["lock"](), history).outcome
    assert Outcome.VIOLATION is check(MODELS["lock"](), stolen).outcome


def test_a_set_is_searched_by_element_where_nobody_reads_it_whole() -> None:
    adds = ("add", 1, None), ("add", 2, None)
    apart = check(MODELS["set"](), one_after_the_other(*adds, ("contains", 1, True)))
    together = check(MODELS["set"](), one_after_the_other(*adds, ("read", None, [2, 1])))

    assert [2, 1] == [apart.object_count, together.object_count]
    assert apart.outcome is together.outcome is Outcome.LINEARIZABLE


def todo_history(*, as_maps: bool) -> list[Operation]:
    """Return what a real to-do list answered to a hundred calls."""
    rng, todo = random.Random(5), TodoList()
    calls: list[tuple[str, Any, Any]] = []
    for number in range(100):
        function = rng.choice(["add", "complete", "items"])
        argument: Any = None
        result: Any
        if function == "add":
            argument = {"text": f"do {number}", "by": rng.choice(["", "me"])}
            result = todo.add(argument["text"], by=argument["by"])
        elif function == "complete":
            argument = {"item_id": rng.randrange(20), "by": rng.choice(["", "you"])}
            try:
                result = todo.complete(argument["item_id"], by=argument["by"])
            except NoSuchItem as error:
                result = {"error": "NoSuchItem"} if as_maps else error
        else:
            result = todo.items()
        calls.append((function, argument, msgspec.to_builtins(result) if as_maps else result))
    return one_after_the_other(*calls)


@pytest.mark.parametrize("as_maps", [False, True])
def test_the_to_do_list_that_ships_is_that_of_the_model(as_maps: bool) -> None:
    operations = todo_history(as_maps=as_maps)

    assert Outcome.LINEARIZABLE is check(MODELS["todo"](), operations).outcome


def test_an_item_that_was_done_by_somebody_else_is_found() -> None:
    done = Item(id=1, text="a", added_by="", added_wall=0.0, done_by="you")
    calls = ("add", "a", Item(1, "a", "", 0.0)), ("complete", (1, "me"), done)

    assert Outcome.VIOLATION is outcome("todo", *calls)


@pytest.mark.parametrize(
    ("name", "call", "said"),
    [
        ("register", ("get", None, 1), "Register has no function 'get': it has read, write"),
        ("cas-register", ("cas", 3, True), r"a cas takes \[old, new\], not 3"),
        ("kv", ("append", 3, None), "an append takes a text, not 3"),
        ("queue", ("enqueue", None, None), "nil cannot be enqueued"),
        ("counter", ("add", "x", None), "the argument of add is 'x': it must be a number"),
        ("set", ("read", None, 3), "the answer to a read is 3: it must be a list"),
        ("set", ("contains", 1, None), "a contains answers true or false"),
        ("todo", ("items", None, 3), "items answers a list, not 3"),
        ("todo", ("add", "a", 3), "3 is no item of a to-do list"),
        ("todo", ("complete", None, None), "None is no item_id"),
    ],
)
def test_what_is_none_of_a_model_is_said_so(
    name: str, call: tuple[str, Any, Any], said: str
) -> None:
    with pytest.raises(HistoryError, match=said):
        outcome(name, call)


def test_a_store_needs_keys() -> None:
    with pytest.raises(HistoryError, match="a get needs a key"):
        check(MODELS["kv"](), one_after_the_other(("get", None, ""), key=None))


def test_an_answer_before_its_invocation_is_no_history() -> None:
    with pytest.raises(HistoryError, match="before it was invoked"):
        check(MODELS["register"](), [Operation(1, "write", 1, None, 2, 1)])


def test_a_model_is_known_by_its_name() -> None:
    with pytest.raises(HistoryError, match="there is no model 'stack': there are register"):
        model_named("stack")
