"""A naive twin of the checker: tries every order. For small histories, and for nothing else."""

from collections.abc import Hashable, Sequence

import msgspec

from liferaft.check.history import UNKNOWN, Operation
from liferaft.check.model import Model


def accepted(model: Model, operations: Sequence[Operation]) -> list[Operation]:
    """Return the operations as the model wants them, those without an answer with any result."""
    return [
        model.accept(
            operation
            if operation.returned_at is not None
            else msgspec.structs.replace(operation, result=UNKNOWN)
        )
        for operation in operations
    ]


def is_linearizable(model: Model, operations: Sequence[Operation]) -> bool:
    """Return whether some order of the accepted operations is legal and keeps to the time."""
    tried: set[tuple[Hashable, frozenset[int]]] = set()

    def can_go_on(state: Hashable, left: frozenset[int]) -> bool:
        if (state, left) in tried:
            return False
        tried.add((state, left))
        returns = [operations[i].returned_at for i in left]
        bound = min((time for time in returns if time is not None), default=None)
        if bound is None:
            return True
        for i in sorted(left):
            if operations[i].invoked_at <= bound:
                is_legal, after = model.step(state, operations[i])
                if is_legal and can_go_on(after, left - {i}):
                    return True
        return False

    return can_go_on(model.initial(), frozenset(range(len(operations))))


def assert_is_legal_order(
    model: Model, operations: Sequence[Operation], order: Sequence[int]
) -> None:
    """Fail unless the order has each operation once at most, is legal, and keeps to the time."""
    assert len(set(order)) == len(order)
    state, latest = model.initial(), float("-inf")
    for index in order:
        operation = operations[index]
        is_legal, state = model.step(state, operation)
        assert is_legal, (order, index)
        assert operation.returned_at is None or operation.returned_at >= latest, (order, index)
        latest = max(latest, operation.invoked_at)


def cut_before(operations: Sequence[Operation], limit: float, *, included: bool) -> list[Operation]:
    """Return what had begun up to `limit`; what had no answer by then need not have happened.

    What it was answered later still counts, as it does for the checker.
    """
    return [
        operation
        if operation.returned_at is not None
        and (operation.returned_at < limit or (included and operation.returned_at == limit))
        else msgspec.structs.replace(operation, returned_at=None)
        for operation in operations
        if operation.invoked_at <= limit
    ]
