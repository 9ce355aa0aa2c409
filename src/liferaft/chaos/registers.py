"""Whether what clients saw of one key can be put into one order, where no value is written twice.

Then it is known which write each read saw, and the question has a short and exact answer, whatever
the length of the history (Gibbons and Korach, "Testing Shared Memories", SIAM Journal on Computing
26, 1997): the write of a value and its reads stand together in any order that fits. Such a group is
before another one when one of its calls had ended before one of the other's began. An order exists
if and only if no read ended before its write began, and no two groups are each before the other.

Calls without an answer: a read tells nothing; a write that nobody saw may not have happened; one
that was seen has happened before the first read of it ended.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import msgspec

from liferaft.chaos.history import Call, Value


class _Group(msgspec.Struct):
    """The calls for one value: when the first of them had ended, and when the last one began."""

    value: Value
    written_at: float
    first_end: float
    last_begin: float

    def add(self, call: Call) -> None:
        """Take a read of the value."""
        assert call.returned_at is not None
        self.first_end = min(self.first_end, call.returned_at)
        self.last_begin = max(self.last_begin, call.invoked_at)

    def is_before(self, other: "_Group") -> bool:
        """Return whether one of these calls had ended before one of the other's began."""
        return self.first_end < other.last_begin


def key_problems(key: str, calls: Sequence[Call]) -> Iterator[str]:
    """Give a sentence for each thing about a key that no order of its puts and gets explains.

    Every key is unset, None, in the beginning.
    """
    groups = {None: _Group(None, -math.inf, -math.inf, -math.inf)} | _groups_of_writes(calls)
    for call in calls:
        if call.function != "get" or call.returned_at is None:
            continue
        group = groups.get(call.result)
        if group is None:
            yield f"key {key}: {call.result!r} was read, which nobody wrote, or whose write failed"
        elif call.returned_at < group.written_at:
            yield f"key {key}: {call.result!r} was read before it was written"
        else:
            group.add(call)
    for one, other in itertools.combinations(groups.values(), 2):
        if one.is_before(other) and other.is_before(one):
            yield (
                f"key {key}: {one.value!r} was there before {other.value!r}, and "
                f"{other.value!r} before {one.value!r}"
            )


def _groups_of_writes(calls: Sequence[Call]) -> dict[Value, _Group]:
    groups: dict[Value, _Group] = {}
    for call in calls:
        if call.function == "put":
            assert call.argument not in groups, "no value is written twice"
            end = math.inf if call.returned_at is None else call.returned_at
            begin = call.invoked_at
            # A write without an answer is as if it were not there until a read puts an end to it.
            groups[call.argument] = _Group(call.argument, begin, end, begin)
    return groups
