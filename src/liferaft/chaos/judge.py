"""What the clients were told, held against the nodes and against itself. Pure: data in, words out.

Beside what `liferaft.ops.verdict` asks of the to-do list:

- an item that was asked for after another one was acknowledged comes after it;
- the reads and writes of keys are linearizable, as `liferaft check --model kv` has it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from liferaft.chaos.history import Call
from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome, check
from liferaft.check.models import KeyValue
from liferaft.ops.verdict import PROBLEMS_MAX, NodeView, Witness, find_problems
from liferaft.raft.types import NodeId

WRITES = ("add", "put")

CHECK_SECONDS: Final = 60.0
CHECK_BYTES: Final = 1024**3
"""What the checker may take; what it cannot decide with that is a doubt, never a verdict."""


class Judgement(msgspec.Struct, frozen=True):
    """What is wrong, and what could not be decided; each a sentence."""

    problems: tuple[str, ...]
    doubts: tuple[str, ...] = ()


def judge(
    calls: Sequence[Call],
    views: Sequence[NodeView],
    nodes: Sequence[NodeId],
    *,
    check_seconds: float = CHECK_SECONDS,
) -> Judgement:
    """Judge a round that ended with these views of its nodes."""
    problems = [*find_problems(witness_of(calls), views, nodes), *_order_problems(calls)]
    doubts: list[str] = []
    operations = operations_of(calls)
    verdict = check(KeyValue(), operations, timeout=check_seconds, memory_bytes=CHECK_BYTES)
    if verdict.outcome is Outcome.VIOLATION:
        problems.append(f"linearizability of the keys: {verdict.reason}")
    elif verdict.outcome is Outcome.UNDECIDED:
        doubts.append(
            f"whether {len(operations)} reads and writes are linearizable: {verdict.reason}"
        )
    return Judgement(tuple(problems[:PROBLEMS_MAX]), tuple(doubts))


def operations_of(calls: Sequence[Call]) -> list[Operation]:
    """Return the reads and writes of keys as the checker takes them."""
    return [
        Operation(
            process=call.process,
            function=call.function,
            argument=call.argument,
            result=call.result,
            invoked_at=call.invoked_at,
            returned_at=call.returned_at,
            key=call.key,
        )
        for call in calls
        if call.key is not None
    ]


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
