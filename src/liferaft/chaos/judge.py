"""What the clients were told, held against the nodes and against itself. Pure: data in, words out.

Beside what `liferaft.ops.verdict` asks of the to-do list:

- an item that was asked for after another one was acknowledged comes after it;
- each key's reads and writes can be put into one order that fits what every client saw when.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from liferaft.chaos.history import Call
from liferaft.chaos.registers import key_problems
from liferaft.ops.verdict import PROBLEMS_MAX, NodeView, Witness, find_problems
from liferaft.raft.types import NodeId

WRITES = ("add", "put")


def judge(
    calls: Sequence[Call], views: Sequence[NodeView], nodes: Sequence[NodeId]
) -> tuple[str, ...]:
    """Return what is wrong with a round that ended with these views of its nodes."""
    problems = [
        *find_problems(witness_of(calls), views, nodes),
        *_order_problems(calls),
        *_key_problems(calls),
    ]
    return tuple(problems[:PROBLEMS_MAX])


def witness_of(calls: Sequence[Call]) -> Witness:
    """Return what was acknowledged of the to-do list, and what may have been done."""
    adds = [call for call in calls if call.function == "add"]
    added = {
        str(call.argument): call.result
        for call in adds
        if call.returned_at is not None and isinstance(call.result, int)
    }
    unknown = tuple(str(call.argument) for call in adds if call.returned_at is None)
    return Witness(added=added, unknown=unknown, completed=())


def _order_problems(calls: Sequence[Call]) -> Iterator[str]:
    """Give a sentence for each add that was given a lower number than one that ended before it."""
    adds = [
        (call.invoked_at, call.returned_at, call.result, call.argument)
        for call in calls
        if call.function == "add" and call.returned_at is not None and isinstance(call.result, int)
    ]
    ends = sorted((returned_at, number, text) for _, returned_at, number, text in adds)
    highest, highest_text, position = 0, "", 0
    for invoked_at, _, number, text in sorted(adds):
        while position < len(ends) and ends[position][0] < invoked_at:
            if ends[position][1] > highest:
                highest, highest_text = ends[position][1], str(ends[position][2])
            position += 1
        if number < highest:
            yield (
                f"{text!r} is item {number}, and was asked for after {highest_text!r}, which is "
                f"item {highest}, had been acknowledged"
            )


def _key_problems(calls: Sequence[Call]) -> Iterator[str]:
    by_key: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.key is not None:
            by_key[call.key].append(call)
    for key, of_key in by_key.items():
        yield from key_problems(key, of_key)


def write_times(calls: Sequence[Call]) -> list[float]:
    """Return when writes were acknowledged, rising."""
    return sorted(
        call.returned_at
        for call in calls
        if call.function in WRITES and call.returned_at is not None
    )


def tally(calls: Sequence[Call]) -> dict[str, int]:
    """Return how many of each function were answered, and how many calls of any were not."""
    counts = Counter(
        "without an answer" if call.returned_at is None else call.function for call in calls
    )
    return dict(sorted(counts.items()))
