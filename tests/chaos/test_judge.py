"""What clients were told is held against the nodes, and against itself."""

from pathlib import Path

from liferaft.chaos.history import Call, write_history
from liferaft.chaos.judge import Judgement, judge, tally, witness_of, write_times
from liferaft.check.linearizability import Outcome, check
from liferaft.check.models import KeyValue
from liferaft.check.reading import read_history
from liferaft.ops.verdict import NodeView
from liferaft.recipes.todo import Item

NODES = ("n1", "n2", "n3")
MILK = Item(1, "milk", "", 0.0)
BREAD = Item(2, "bread", "", 0.0)


def add(text: str, invoked_at: float, number: int | None) -> Call:
    """Return an add that was answered half a second later, or never."""
    returned_at = None if number is None else invoked_at + 0.5
    return Call(1, "add", None, text, number, invoked_at, returned_at)


def views_of(*items: Item) -> list[NodeView]:
    return [NodeView(node, 7, "d", items) for node in NODES]


def test_a_round_that_kept_its_promises_has_no_problem() -> None:
    calls = [add("milk", 1.0, 1), add("bread", 2.0, 2), add("eggs", 3.0, None)]

    assert Judgement(()) == judge(calls, views_of(MILK, BREAD), NODES)


def test_an_acknowledged_item_that_is_gone_is_found_on_every_node() -> None:
    problems = judge([add("milk", 1.0, 1), add("bread", 2.0, 2)], views_of(MILK), NODES).problems

    assert 3 == len(problems)
    assert "n1 has the acknowledged item 'bread' 0 times" == problems[0]


def test_items_asked_for_one_after_the_other_are_in_that_order() -> None:
    calls = [add("bread", 1.0, 2), add("milk", 2.0, 1)]
    problems = judge(calls, views_of(MILK, BREAD), NODES).problems

    assert 1 == len(problems)
    assert problems[0].startswith("'milk' is item 1, and was asked for after 'bread'")


def test_items_asked_for_at_the_same_time_may_have_any_order() -> None:
    calls = [add("bread", 1.0, 2), add("milk", 1.4, 1)]

    assert Judgement(()) == judge(calls, views_of(MILK, BREAD), NODES)


def test_a_read_that_no_order_explains_is_found() -> None:
    calls = [
        add("milk", 1.0, 1),
        Call(1, "put", "k", "v", "v", 1.0, 1.5),
        Call(2, "get", "k", None, None, 2.0, 2.5),
        Call(2, "get", "other", None, None, 2.0, 2.5),
    ]
    problems = judge(calls, views_of(MILK), NODES).problems

    (problem,) = problems
    assert problem.startswith("linearizability of the keys: on 'k': get answered nil (process 2)")


def test_what_the_checker_has_no_time_for_is_a_doubt_and_no_verdict() -> None:
    calls = [add("milk", 1.0, 1)]
    for number in range(2000):
        at = float(number // 20)
        calls.append(Call(number, "put", "k", f"v{number}", None, at, at + 3.0))
        calls.append(Call(number + 2000, "get", "k", None, f"v{number}", at, at + 3.0))
    judgement = judge(calls, views_of(MILK), NODES, check_seconds=0.0)

    assert () == judgement.problems
    assert judgement.doubts[0].startswith("whether 4000 reads and writes are linearizable: ")


def test_calls_of_other_functions_are_no_items() -> None:
    calls = [add("milk", 1.0, 1), Call(1, "put", "k", "v", "v", 2.0, 2.5)]
    witness = witness_of(calls)

    assert ({"milk": 1}, ()) == (witness.added, witness.unknown)


def test_only_acknowledged_writes_are_writes() -> None:
    calls = [
        add("milk", 3.0, 1),
        add("bread", 1.0, None),
        Call(1, "put", "k", "v", "v", 1.0, 1.5),
        Call(1, "get", "k", None, "v", 2.0, 2.5),
    ]

    assert [1.5, 3.5] == write_times(calls)
    assert {"add": 1, "get": 1, "put": 1, "without an answer": 1} == tally(calls)


def test_the_keys_can_be_judged_again_from_the_file_that_a_round_leaves(tmp_path: Path) -> None:
    calls = [
        add("milk", 1.0, 1),
        Call(1, "put", "k", "v", None, 1.0, 1.5),
        Call(3, "put", "k", "w", None, 1.2, None),
        Call(2, "get", "k", None, "v", 2.0, 2.5),
    ]
    stale = Call(4, "get", "k", None, None, 3.0, 3.5)
    for name, told in (("sound", calls), ("stale", [*calls, stale])):
        write_history(tmp_path / name, told)
    verdicts = [
        check(KeyValue(), read_history(tmp_path / name)).outcome for name in ("sound", "stale")
    ]

    assert [Outcome.LINEARIZABLE, Outcome.VIOLATION] == verdicts
