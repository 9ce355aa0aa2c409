"""What a sequential object may do: the base class of models.

A model is an initial state and a step. States are values: hashable, compared with `==`, never
changed. Everything beyond `initial` and `step` is optional: it makes the search faster, never
different.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import ClassVar

import msgspec

from liferaft.check.history import UNKNOWN, HistoryError, Operation
from liferaft.check.values import frozen


class Trait(enum.Flag):
    """What a model promises of an operation. A promise that is not kept makes the verdict void.

    The search tests the promises as far as it comes past them, and raises `ModelError`.
    """

    NONE = 0
    READS_ONLY = enum.auto()
    """It never changes the state, whatever its result."""
    ALWAYS_LEGAL = enum.auto()
    """It is legal in every state, given its result."""
    OVERWRITES = enum.auto()
    """It is legal in every state, and the state after it does not depend on the one before."""


class ModelError(ValueError):
    """A model broke a promise that it made with a trait: correct the model."""


class Model(ABC):
    """A sequential object: derive from it, and write `initial` and `step`."""

    functions: ClassVar[tuple[str, ...]] = ()
    """The names of its functions; empty: any, and `step` refuses what it does not know."""

    uses_process: ClassVar[bool] = True
    """Whether `step` looks at `operation.process`, as a lock does. False makes searches faster."""

    @abstractmethod
    def initial(self) -> Hashable:
        """Return the state before the first operation."""

    @abstractmethod
    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Return whether the operation, with its result, is legal in `state`, and the state after.

        Where `operation.result` is `UNKNOWN`, any result is legal that the object could have
        given: the state after is the one in which the operation has happened. The state after is
        ignored when the operation is not legal.
        """

    def accept(self, operation: Operation) -> Operation:
        """Return the operation in the form in which `step` wants it; called once for each.

        Here: lists become tuples and dictionaries `FrozenMap`s, so that they can be parts of
        states. Raises `HistoryError` for an operation that is none of this model's.
        """
        return accepted(
            self, operation, argument=frozen(operation.argument), result=frozen(operation.result)
        )

    def traits(self, operation: Operation) -> Trait:
        """Return what holds of the operation; `Trait.NONE` is always right."""
        return Trait.NONE

    def specialize(self, operations: Sequence[Operation]) -> tuple["Model", Sequence[Operation]]:
        """Return an equivalent model for just these operations, and them as it wants them.

        Two states may be made one, and two arguments, when no sequence of these operations tells
        them apart. As many operations are returned as were given, in the same order.
        """
        return self, operations

    def restore(self, order: Sequence[Operation]) -> Sequence[int]:
        """Return the places of these operations in an order that is legal for the model as it was.

        Only for a model that `specialize` made so that an order can be legal for it alone; the
        order that comes out has the same operations with the same answers.
        """
        return range(len(order))

    def dead_end(self) -> Hashable:
        """Return a state in which no operation can do what it could not do in any other state.

        All that is legal in it is legal everywhere, except what only reads; and it is left only by
        what overwrites. `UNKNOWN`: there is no such state, which is always right.
        """
        return UNKNOWN

    def partition(self, operations: Sequence[Operation]) -> Mapping[Hashable, list[int]]:
        """Return the positions of the operations on each independent object, by its name."""
        parts: dict[Hashable, list[int]] = {}
        for position, operation in enumerate(operations):
            parts.setdefault(operation.key, []).append(position)
        return parts

    def describe_state(self, state: Hashable) -> str:
        """Return the state as a person reads it."""
        return "unset" if state is None else repr(state)


def accepted(model: Model, operation: Operation, *, argument: object, result: object) -> Operation:
    """Return the operation with this argument and result: what most `accept` methods end with.

    Raises `HistoryError` when the model has no function of that name.
    """
    if model.functions and operation.function not in model.functions:
        raise HistoryError(
            f"{type(model).__name__} has no function {operation.function!r}: "
            f"it has {', '.join(model.functions)}",
            line=operation.line,
        )
    return msgspec.structs.replace(operation, argument=argument, result=result)
