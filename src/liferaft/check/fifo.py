"""A queue, and an equivalent one without an order for where every value is queued once.

In a queue as it is, the order of enqueues is fixed when they happen, and only found to be wrong
when the values come out, long after. The search then tries all orders of all that was concurrent.
"""

from collections.abc import Hashable, Sequence
from typing import ClassVar, Final, cast

from liferaft.check.history import UNKNOWN, HistoryError, Operation
from liferaft.check.model import Model, Trait, accepted
from liferaft.check.values import exact

_EARLIEST: Final = -(2**80)
_NEVER: Final = float("inf")


class Queue(Model):
    """First in, first out: `enqueue` a value, `dequeue` answers one, or None when it is empty."""

    functions: ClassVar[tuple[str, ...]] = ("enqueue", "dequeue")
    uses_process: ClassVar[bool] = False

    def __init__(self, initial: object = ()) -> None:
        values = exact(initial)
        if not isinstance(values, tuple):
            raise HistoryError(f"a queue begins with a list of values, not with {initial!r}")
        self._initial = values

    def initial(self) -> Hashable:
        """Return the values that are queued at first, the next one first."""
        return self._initial

    def accept(self, operation: Operation) -> Operation:
        """Return the operation; None cannot be queued, because it means an empty queue."""
        is_enqueue = operation.function == "enqueue"
        if is_enqueue and operation.argument is None:
            raise HistoryError(
                "nil cannot be enqueued: it is what a dequeue answers that finds nothing",
                line=operation.line,
            )
        return accepted(
            self,
            operation,
            argument=exact(operation.argument) if is_enqueue else None,
            result=None if is_enqueue else exact(operation.result),
        )

    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Return whether the head was answered, and the queue after."""
        values = cast(tuple[Hashable, ...], state)
        if operation.function == "enqueue":
            return True, (*values, operation.argument)
        head = values[0] if values else None
        return operation.result in (UNKNOWN, head), values[1:]

    def traits(self, operation: Operation) -> Trait:
        """Return what holds of the operation."""
        if operation.function == "enqueue" or operation.result is UNKNOWN:
            return Trait.ALWAYS_LEGAL
        return Trait.READS_ONLY if operation.result is None else Trait.NONE

    def specialize(self, operations: Sequence[Operation]) -> tuple[Model, Sequence[Operation]]:
        """Return a queue that keeps no order, where every value is queued once."""
        enqueued = [each.argument for each in operations if each.function == "enqueue"]
        values = [*self._initial, *enqueued]
        if len(set(values)) < len(values):
            return self, operations
        return _Unordered(self._initial, operations), operations


class _Unordered(Model):
    """A queue whose state is the set of values in it; each value is enqueued once at most.

    A value can be dequeued when none is there whose enqueue was answered before its own was
    invoked. That is equivalent: given moments at which this queue allows all that was answered,
    there are others for the enqueues, in the order of the dequeues. Each is the latest invocation
    of an enqueue up to there in that order, or, if that is later, the last answer "empty" before
    the value was there. It lies before its enqueue's answer, because nothing that was dequeued
    before had to be enqueued after; and before its dequeue, because each of those invocations came
    before a dequeue that came before it.

    Unanswered operations: an enqueue whose value nobody got need never have happened, because
    without it, and without the dequeue that removed the value, everything else is legal still. A
    dequeue can only have removed a value that nobody got. Of those, the one whose enqueue was
    answered first stands in the way of all that any other does, so it is the one to remove.
    """

    functions: ClassVar[tuple[str, ...]] = ("enqueue", "dequeue")
    uses_process: ClassVar[bool] = False

    def __init__(self, initial: Sequence[Hashable], operations: Sequence[Operation]) -> None:
        self._initial = frozenset(initial)
        self._answered: dict[Hashable, float] = {}
        """For each value: when its enqueue was answered."""
        self._invoked: dict[Hashable, float] = {}
        for place, value in enumerate(initial):
            # Before all operations, and each before the next one.
            self._invoked[value] = self._answered[value] = _EARLIEST + place
        for each in operations:
            if each.function == "enqueue":
                value = each.argument
                self._invoked[value] = each.invoked_at
                self._answered[value] = _NEVER if each.returned_at is None else each.returned_at
        self._got = frozenset(each.result for each in operations if each.function == "dequeue")

    def initial(self) -> Hashable:
        """Return the values that are queued at first."""
        return self._initial

    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Return whether the value that was answered could be the head, and the values after."""
        values = cast(frozenset[Hashable], state)
        if operation.function == "enqueue":
            return True, values | {operation.argument}
        result = operation.result
        if result is None:
            return not values, values
        if result is UNKNOWN:
            orphans = [value for value in values if value not in self._got]
            if not orphans:
                return True, values
            result = min(orphans, key=self._answered.__getitem__)
            return True, values - {result} if self._can_be_head(result, values) else values
        return result in values and self._can_be_head(result, values), values - {result}

    def traits(self, operation: Operation) -> Trait:
        """Return what holds of the operation; an enqueue that need not have happened only reads."""
        if operation.function == "enqueue":
            is_needless = operation.returned_at is None and operation.argument not in self._got
            return Trait.READS_ONLY if is_needless else Trait.ALWAYS_LEGAL
        if operation.result is UNKNOWN:
            return Trait.ALWAYS_LEGAL
        return Trait.READS_ONLY if operation.result is None else Trait.NONE

    def restore(self, order: Sequence[Operation]) -> Sequence[int]:
        """Return an order that is first in, first out, by the moments that the proof gives."""
        dequeued: list[Hashable] = []
        moments: list[tuple[float, float, int]] = []
        """For each operation: a time, then what comes first at that time."""
        empty_before: dict[Hashable, tuple[float, float]] = {}
        enqueue_places: dict[Hashable, int] = {}
        now, last_empty = float(_EARLIEST), (float(_EARLIEST), 0.0)
        state: Hashable = self._initial
        for place, each in enumerate(order):
            now = max(now, each.invoked_at)
            _, after = self.step(state, each)
            if each.function == "enqueue":
                value = each.argument
                enqueue_places[value] = place
                empty_before[value] = last_empty
            elif after != state:
                dequeued.extend(cast(frozenset[Hashable], state) - cast(frozenset[Hashable], after))
            elif each.result is None:
                last_empty = (now, place + 0.5)
            moments.append((now, float(place), 0))
            state = after
        remaining = sorted(cast(frozenset[Hashable], state), key=enqueue_places.__getitem__)
        latest = (float(_EARLIEST), 0.0)
        for rank, value in enumerate([*dequeued, *remaining]):
            latest = max(latest, (self._invoked[value], -1.0), empty_before.get(value, latest))
            if value in enqueue_places:
                moments[enqueue_places[value]] = (*latest, rank)
        return sorted(range(len(order)), key=moments.__getitem__)

    def describe_state(self, state: Hashable) -> str:
        """Return the values in the queue, what was enqueued first, first."""
        values = sorted(cast(frozenset[Hashable], state), key=self._invoked.__getitem__)
        return f"a queue of {values}"

    def _can_be_head(self, value: Hashable, values: frozenset[Hashable]) -> bool:
        invoked = self._invoked[value]
        return not any(self._answered[other] < invoked for other in values)
