"""A model as an automaton that grows as it is used: states and operations become small integers.

Operations that cannot be told apart (the same function, argument and result, and process where the
model looks at it) share a class. States are numbered by equality, never by their hash alone, so a
number stands for exactly one state. What `step` said once is looked up from then on.
"""

import sys
from collections.abc import Hashable, Sequence
from typing import Final

from liferaft.check.history import UNKNOWN, Operation
from liferaft.check.model import Model, ModelError, Trait
from liferaft.check.values import typed

ILLEGAL: Final = -1
"""Where a step leads that is not legal."""

STATE_BYTES: Final = 420
"""What a state costs beside its value: its number, its place in two tables, its empty moves."""

MOVE_BYTES: Final = 110
"""What one remembered step costs: a dictionary's entry at its emptiest, and two numbers."""


class Automaton:
    """The states reached so far, and the steps taken so far."""

    moves: list[dict[int, int]]
    """For each state: where each class of operations leads from it, as far as it was asked."""
    class_of: list[int]
    """For each operation: its class."""
    traits: list[Trait]
    """For each operation: what the model promises of it."""
    class_traits: list[Trait]
    """The same for each class."""
    dead_end: int
    """The model's dead end; `ILLEGAL` where it has none."""

    def __init__(self, model: Model, operations: Sequence[Operation]) -> None:
        self._model = model
        self._representatives: list[Operation] = []
        self._overwritten_to: dict[int, int] = {}
        self._states: list[Hashable] = []
        self._ids: dict[Hashable, int] = {}
        self._bytes = 0
        self._known_moves = 0
        self.moves = []
        self.class_traits = []
        classes: dict[Hashable, int] = {}
        self.class_of = [self._classify(operation, classes) for operation in operations]
        self.traits = [self.class_traits[number] for number in self.class_of]
        self._number(model.initial())
        dead_end = model.dead_end()
        self.dead_end = ILLEGAL if dead_end is UNKNOWN else self._number(dead_end)

    @property
    def bytes_used(self) -> int:
        """Return about how much memory the states and steps take."""
        return self._bytes + self._known_moves * MOVE_BYTES

    def state(self, number: int) -> Hashable:
        """Return the state of that number; 0 is the initial one."""
        return self._states[number]

    def after(self, number: int, class_number: int) -> int:
        """Return the state after an operation of that class, or `ILLEGAL`."""
        target = self.moves[number].get(class_number)
        return self.move(number, class_number) if target is None else target

    def move(self, number: int, class_number: int) -> int:
        """Return the same, and remember it: for a step that `moves` does not have yet."""
        representative = self._representatives[class_number]
        is_legal, after = self._model.step(self._states[number], representative)
        target = self._number(after) if is_legal else ILLEGAL
        traits = self.class_traits[class_number]
        if traits:
            self._check(traits, class_number, number, target)
        self.moves[number][class_number] = target
        self._known_moves += 1
        return target

    def _number(self, state: Hashable) -> int:
        number = self._ids.get(state)
        if number is None:
            number = self._ids[state] = len(self._states)
            self._states.append(state)
            self.moves.append({})
            self._bytes += STATE_BYTES + size_bytes(state)
        return number

    def _classify(self, operation: Operation, classes: dict[Hashable, int]) -> int:
        key: Hashable = (
            operation.function,
            typed(operation.argument),
            typed(operation.result),
            typed(operation.process) if self._model.uses_process else None,
        )
        try:
            hash(key)
        except TypeError:  # an argument of a foreign type: the operation is in a class of its own
            key = ("alone", len(self._representatives))
        number = classes.setdefault(key, len(self._representatives))
        if number == len(self._representatives):
            self._representatives.append(operation)
            self.class_traits.append(self._model.traits(operation))
        return number

    def _check(self, traits: Trait, class_number: int, number: int, target: int) -> None:
        """Raise `ModelError` when a promise turns out not to be kept."""
        broken = ""
        if Trait.READS_ONLY in traits and target not in (number, ILLEGAL):
            broken = "only reads, but it changes the state"
        elif traits & (Trait.ALWAYS_LEGAL | Trait.OVERWRITES) and target == ILLEGAL:
            broken = "is always legal, but it is not"
        elif Trait.OVERWRITES in traits:
            expected = self._overwritten_to.setdefault(class_number, target)
            if expected != target:
                broken = "overwrites, but the state after it depends on the one before"
        if broken:
            raise ModelError(
                f"{type(self._model).__name__} promises that {self._representatives[class_number]} "
                f"{broken} in the state {self._states[number]!r}: correct its traits"
            )


def size_bytes(state: Hashable) -> int:
    """Return how much memory a state's value takes: its own, and that of containers in it.

    What they contain is part of the history, or counted with another state.
    """
    total = sys.getsizeof(state)
    if isinstance(state, tuple | frozenset):
        total += sum(sys.getsizeof(part) for part in state if isinstance(part, tuple | frozenset))
    return total
