"""Was it linearizable? The verdict on a history, and what is wrong with one that was not.

The history is split into one for each independent object; those are searched in turns, a little
longer each time, so that one that is no good is found before one that is hard. The verdict is
`UNDECIDED` when time or memory are up: then nothing is claimed.
"""

import enum
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Final

import msgspec

from liferaft.check.explanation import Violation, explain
from liferaft.check.history import UNKNOWN, HistoryError, Operation
from liferaft.check.model import Model
from liferaft.check.problem import Problem
from liferaft.check.search import Search
from liferaft.check.witness import order_to

STEPS_FIRST: Final = 64
"""How many steps each object is searched in the first round; in each round, twice as many."""

STEPS_MAX: Final = 512
"""How many steps are made between two looks at the clock. A step takes some 50 microseconds, with
a model that ships."""


class Outcome(enum.Enum):
    """What the checker knows of a history."""

    LINEARIZABLE = "linearizable"
    VIOLATION = "violation"
    UNDECIDED = "undecided"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a check."""

    outcome: Outcome
    reason: str
    """The outcome in a sentence: what is wrong, or what was not enough."""
    operation_count: int
    object_count: int
    """How many independent objects the history is of."""
    configuration_count: int
    """How many configurations were remembered: the measure of the work."""
    seconds: float
    memory_bytes: int
    """How much memory the search took at most, as it counts it: never less than it was."""
    violation: Violation | None = None
    order: Mapping[Hashable, tuple[int, ...]] | None = None
    """For each object a legal order, as indexes into the operations, where it was asked for."""


def check(
    model: Model,
    operations: Sequence[Operation],
    *,
    timeout: float | None = None,
    memory_bytes: int | None = None,
    with_order: bool = False,
) -> Verdict:
    """Return whether the operations are linearizable as those of the model.

    `timeout` is in seconds, and looked at between steps of the model: one that takes long makes
    the check take longer. `memory_bytes` bounds what the search adds to the operations. Neither
    has a limit when it is None.

    Raises `HistoryError` for an operation that is none of the model's, and `ModelError` when the
    model turns out to break a promise that it made with a trait.
    """
    return _Check(model, operations, timeout, memory_bytes).run(with_order=with_order)


class _Check:
    """One call of `check`."""

    def __init__(
        self,
        model: Model,
        operations: Sequence[Operation],
        timeout: float | None,
        memory_bytes: int | None,
    ) -> None:
        self._began = time.monotonic()
        self._timeout = timeout
        self._memory_bytes = memory_bytes
        self._model = model
        self._operations = operations
        self._accepted = [_accepted(model, operation) for operation in operations]
        self._parts = dict(model.partition(self._accepted))
        self._searches: dict[Hashable, Search] = {}
        self._used: dict[Hashable, int] = {}
        self._used_most = 0
        self._given_up: set[Hashable] = set()
        self._configuration_count = 0

    def run(self, *, with_order: bool) -> Verdict:
        """Search all objects in turns, and return what came of it."""
        orders: dict[Hashable, tuple[int, ...]] = {}
        waiting = list(self._parts)
        steps = STEPS_FIRST
        while waiting:
            for name in waiting:
                if name in self._given_up:
                    continue
                search = self._search(name)
                has_time = self._advance(name, search, steps)
                if search.answer is False:
                    return self._violated(name, search)
                if search.answer and with_order:
                    orders[name] = self._order(name, search)
                if search.answer:
                    self._forget(name)
                if not has_time:
                    return self._verdict(Outcome.UNDECIDED, self._out_of_time())
            waiting = [name for name in waiting if name in self._searches]
            steps = 2 * steps
        if self._given_up:
            return self._verdict(Outcome.UNDECIDED, self._out_of_memory())
        count = len(self._accepted)
        reason = f"{count} operations have a legal order" if count else "there are no operations"
        return self._verdict(Outcome.LINEARIZABLE, reason, order=orders if with_order else None)

    def _search(self, name: Hashable) -> Search:
        search = self._searches.get(name)
        if search is None:
            part = [self._accepted[index] for index in self._parts[name]]
            search = self._searches[name] = Search(Problem(self._model, part))
        return search

    def _advance(self, name: Hashable, search: Search, steps: int) -> bool:
        """Search on for so many steps; return whether there is time left."""
        while steps > 0 and not search.is_over:
            before = search.admitted_count
            search.run(min(steps, STEPS_MAX))
            steps -= STEPS_MAX
            self._configuration_count += search.admitted_count - before
            self._used[name] = search.bytes_used
            self._watch_memory()
            if self._timeout is not None and self._seconds() > self._timeout:
                return False
        return True

    def _watch_memory(self) -> None:
        """Give up what takes most, until the rest fits."""
        total = sum(self._used.values())
        self._used_most = max(self._used_most, total)
        while self._memory_bytes is not None and sum(self._used.values()) > self._memory_bytes:
            name = max(self._used, key=self._used.__getitem__)
            search = self._searches[name]
            if search.answer is not None:
                return
            search.give_up()
            self._used[name] = search.bytes_used
            if search.is_over:
                self._given_up.add(name)
                self._forget(name)

    def _forget(self, name: Hashable) -> None:
        del self._searches[name]
        del self._used[name]

    def _order(self, name: Hashable, search: Search) -> tuple[int, ...]:
        """Return the order that was found, as indexes into the operations."""
        expansion, problem = search.expansion, search.problem
        order = order_to(problem, expansion.solution, final_operation=expansion.final_operation)
        indexes = self._parts[name]
        return tuple(indexes[problem.indexes[number]] for number in order)

    def _violated(self, name: Hashable, search: Search) -> Verdict:
        violation = explain(
            name,
            self._operations,
            self._parts[name],
            search,
            model=self._model,
            accepted=self._accepted,
        )
        return self._verdict(Outcome.VIOLATION, violation.sentence, violation=violation)

    def _verdict(
        self,
        outcome: Outcome,
        reason: str,
        *,
        violation: Violation | None = None,
        order: Mapping[Hashable, tuple[int, ...]] | None = None,
    ) -> Verdict:
        return Verdict(
            outcome=outcome,
            reason=reason,
            operation_count=len(self._accepted),
            object_count=len(self._parts),
            configuration_count=self._configuration_count,
            seconds=self._seconds(),
            memory_bytes=self._used_most,
            violation=violation,
            order=order,
        )

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _out_of_time(self) -> str:
        left = len(self._searches) + len(self._given_up)
        return (
            f"the time of {self._timeout:g} s was not enough: "
            f"{left} of {len(self._parts)} objects are undecided"
        )

    def _out_of_memory(self) -> str:
        return (
            f"the memory of {(self._memory_bytes or 0) / 1e6:,.0f} MB was not enough: "
            f"{len(self._given_up)} of {len(self._parts)} objects are undecided"
        )


def _accepted(model: Model, operation: Operation) -> Operation:
    """Return the operation as the model wants it; its result is `UNKNOWN` without an answer."""
    if operation.returned_at is None:
        operation = msgspec.structs.replace(operation, result=UNKNOWN)
    elif operation.returned_at < operation.invoked_at:
        raise HistoryError(
            f"{operation.function} of process {operation.process} was answered at "
            f"{operation.returned_at}, before it was invoked at {operation.invoked_at}",
            line=operation.line,
        )
    return model.accept(operation)
