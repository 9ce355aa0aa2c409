"""Each way in which a cluster can break its promise is found; one that keeps it passes."""

from dataclasses import replace

import msgspec
import pytest

from liferaft.ops.verdict import (
    PROBLEMS_MAX,
    NodeView,
    Witness,
    decode_items,
    find_problems,
    longest_gap,
)
from liferaft.recipes.todo import Item, TodoList
from liferaft.replicated.state import encoded_state

NODES = ("n1", "n2", "n3")
MILK = Item(id=1, text="client 1, item 1", added_by="client 1", added_wall=1.0, done_by="client 2")
BREAD = Item(id=2, text="client 2, item 1", added_by="client 2", added_wall=2.0)
EGGS = Item(id=3, text="client 3, item 1", added_by="client 3", added_wall=3.0)
WITNESS = Witness(
    added={MILK.text: 1, BREAD.text: 2}, unknown=(EGGS.text,), completed=((1, "client 2"),)
)


def view(node: str, *items: Item, digest: str = "d", applied_index: int = 7) -> NodeView:
    return NodeView(node, applied_index, digest, items)


def problems_when_n3_has(*items: Item) -> tuple[str, ...]:
    """Return what is found when the other two nodes are as they must be."""
    views = [view("n1", MILK, BREAD), view("n2", MILK, BREAD), view("n3", *items)]
    return find_problems(WITNESS, views, NODES)


def test_a_cluster_that_kept_its_promise_has_no_problem() -> None:
    assert () == problems_when_n3_has(MILK, BREAD)


def test_an_item_without_an_answer_may_be_there_once() -> None:
    views = [view(node, MILK, BREAD, EGGS) for node in NODES]

    assert () == find_problems(WITNESS, views, NODES)


@pytest.mark.parametrize(
    ("items", "sentence"),
    [
        ((MILK,), "n3 has the acknowledged item 'client 2, item 1' 0 times"),
        (
            (MILK, BREAD, replace(BREAD, id=3)),
            "n3 has the acknowledged item 'client 2, item 1' 2 times",
        ),
        ((BREAD, MILK), "n1 and n3 differ in their items or in their order"),
        (
            (MILK, replace(BREAD, id=5)),
            "n3 has 'client 2, item 1' as item 5, acknowledged as 2",
        ),
        (
            (MILK, BREAD, EGGS, replace(EGGS, id=4)),
            "n3 has 'client 3, item 1', whose add had no answer, 2 times",
        ),
        (
            (MILK, BREAD, replace(EGGS, text="a stranger")),
            "n3 has 'a stranger', which nobody added",
        ),
        (
            (replace(MILK, done_by=""), BREAD),
            "n3 has item 1 done by '', acknowledged as by 'client 2'",
        ),
        (
            (replace(MILK, done_by="client 4"), BREAD),
            "n3 has item 1 done by 'client 4', acknowledged as by 'client 2'",
        ),
    ],
    ids=[
        "lost",
        "twice",
        "other order",
        "other number",
        "unanswered twice",
        "stranger",
        "completion lost",
        "completed by another",
    ],
)
def test_a_broken_promise_is_found(items: tuple[Item, ...], sentence: str) -> None:
    assert sentence in problems_when_n3_has(*items)


def test_replicas_with_different_digests_are_found() -> None:
    views = [view("n1", MILK, BREAD), view("n2", MILK, BREAD), view("n3", MILK, BREAD, digest="x")]

    assert ("n1 and n3 have the digests d and x",) == find_problems(WITNESS, views, NODES)


def test_a_node_that_did_not_catch_up_is_found() -> None:
    late = view("n3", MILK, BREAD, applied_index=6)
    views = [view("n1", MILK, BREAD), view("n2", MILK, BREAD), late]

    assert ("n1 and n3 stand at index 7 and 6",) == find_problems(WITNESS, views, NODES)


def test_a_node_that_does_not_answer_is_found() -> None:
    views = [view("n1", MILK, BREAD), view("n3", MILK, BREAD)]

    assert ("n2 could not be asked for the state",) == find_problems(WITNESS, views, NODES)


def test_a_run_in_which_nothing_was_acknowledged_proves_nothing() -> None:
    nothing = Witness(added={}, unknown=(), completed=())
    views = [view(node) for node in NODES]

    assert ("no item was acknowledged at all",) == find_problems(nothing, views, NODES)


def test_the_list_of_problems_is_bounded() -> None:
    many = Witness(added={f"item {n}": n for n in range(100)}, unknown=(), completed=())
    views = [view(node) for node in NODES]

    assert PROBLEMS_MAX == len(find_problems(many, views, NODES))


def test_the_items_of_a_real_list_are_read_from_its_encoded_state() -> None:
    todo = TodoList()
    added = [todo.add(f"item {n}", by="somebody") for n in range(1, 12)]
    done = todo.complete(2, by="me")

    items = decode_items(encoded_state("Todo", todo))

    assert (added[0], done, *added[2:]) == items


def test_a_state_of_another_class_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        decode_items(msgspec.msgpack.encode({"values": {}}))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], 10.0),
        ([1.0, 2.0, 7.0, 9.0], 5.0),
        ([4.0], 6.0),
        ([9.0], 9.0),
        ([-5.0, 3.0, 20.0], 7.0),
    ],
    ids=["nothing", "between two", "to the end", "from the start", "outside does not count"],
)
def test_the_longest_gap_is_found(times: list[float], expected: float) -> None:
    assert expected == longest_gap(times, 0.0, 10.0)
