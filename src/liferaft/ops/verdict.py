"""The verdict: whether the nodes hold what the clients were told. Pure; data in, sentences out.

It holds when, on every node:

- every acknowledged item is there exactly once, under the number that was acknowledged;
- an item whose add had no answer is there once or not at all, and nothing else is there;
- every acknowledged completion is there, and by whom the client was told;
- the items are the same as on the other nodes and in the same order, and so is the state's digest.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from liferaft.raft.types import NodeId
from liferaft.recipes.todo import Item

PROBLEMS_MAX = 20
"""What is wrong is plain after that many sentences."""


class Witness(msgspec.Struct, frozen=True):
    """All that was acknowledged, and all that may or may not have been done.

    `added` maps each acknowledged item's text, which is unique, to its number. `completed` holds
    pairs of an item's number and of who was first to complete it, as each client was told.
    """

    added: dict[str, int]
    unknown: tuple[str, ...]
    completed: tuple[tuple[int, str], ...]


class NodeView(msgspec.Struct, frozen=True):
    """What one node has: its items in order, and its digest, after `applied_index`."""

    node_id: NodeId
    applied_index: int
    digest: str
    items: tuple[Item, ...]


class _TodoState(msgspec.Struct):
    """The state of a `TodoList` as nodes tell it: its attributes."""

    items: dict[int, Item] = msgspec.field(name="_items")


def decode_items(state: bytes) -> tuple[Item, ...]:
    """Return the items in a `TodoList`'s encoded state, in their order."""
    return tuple(msgspec.msgpack.decode(state, type=_TodoState).items.values())


def find_problems(
    witness: Witness, views: Sequence[NodeView], nodes: Sequence[NodeId]
) -> tuple[str, ...]:
    """Return a sentence for each way in which `views` of `nodes` break what was promised."""
    problems = list(_between_nodes(views, nodes))
    if not witness.added:
        problems.append("no item was acknowledged at all")
    for view in views:
        problems.extend(_on_one_node(witness, view))
    return tuple(problems[:PROBLEMS_MAX])


def _between_nodes(views: Sequence[NodeView], nodes: Sequence[NodeId]) -> Iterator[str]:
    missing = [node for node in nodes if node not in {view.node_id for view in views}]
    if missing:
        yield f"{', '.join(missing)} could not be asked for the state"
    for view in views[1:]:
        first = views[0]
        pair = f"{first.node_id} and {view.node_id}"
        if view.applied_index != first.applied_index:
            yield f"{pair} stand at index {first.applied_index} and {view.applied_index}"
        if view.digest != first.digest:
            yield f"{pair} have the digests {first.digest} and {view.digest}"
        if view.items != first.items:
            yield f"{pair} differ in their items or in their order"


def _on_one_node(witness: Witness, view: NodeView) -> Iterator[str]:
    node = view.node_id
    counts = Counter(item.text for item in view.items)
    ids = {item.text: item.id for item in view.items}
    for text, item_id in witness.added.items():
        if counts[text] != 1:
            yield f"{node} has the acknowledged item {text!r} {counts[text]} times"
        elif ids[text] != item_id:
            yield f"{node} has {text!r} as item {ids[text]}, acknowledged as {item_id}"
    for text in counts:
        if text in witness.added:
            continue
        if text not in witness.unknown:
            yield f"{node} has {text!r}, which nobody added"
        elif counts[text] > 1:
            yield f"{node} has {text!r}, whose add had no answer, {counts[text]} times"
    done_by = {item.id: item.done_by for item in view.items}
    for item_id, told in witness.completed:
        found = done_by.get(item_id, "")
        if found != told:
            yield f"{node} has item {item_id} done by {found!r}, acknowledged as by {told!r}"


def longest_gap(times: Sequence[float], start: float, stop: float) -> float:
    """Return the longest time in seconds, between `start` and `stop`, in which nothing happened.

    `times` is when something did, in rising order.
    """
    moments = [start, *(time for time in times if start < time < stop), stop]
    return max(later - earlier for earlier, later in itertools.pairwise(moments))
