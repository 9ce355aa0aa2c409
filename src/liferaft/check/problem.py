"""The history of one object, laid out for the search: events in order, a bit for each operation.

An operation that is answered has a bit from its invocation to its answer, then another operation
may get it. Operations without an answer have bits of their own for good, above those. So sets of
open operations are small integers, however long the history is.
"""

import heapq
from collections.abc import Sequence
from typing import Final, NamedTuple

from liferaft.check.automaton import Automaton
from liferaft.check.history import Operation
from liferaft.check.model import Model, Trait

INVOKED: Final = 0
"""An operation that will be answered was invoked."""
INVOKED_WITHOUT_ANSWER: Final = 1
RETURNED: Final = 2

OPERATION_BYTES: Final = 1200
"""What an operation costs here: two events, its numbers, its share of a level's tables."""

ALWAYS_LEGAL: Final = Trait.ALWAYS_LEGAL | Trait.OVERWRITES


class Event(NamedTuple):
    """One event: of what kind, of which bit, and which class of operations."""

    kind: int
    bit: int
    class_number: int
    operation: int


class Level(NamedTuple):
    """A return, and what is open just before it. Masks are of the open operations' bits."""

    operation: int
    bit: int
    class_number: int
    is_overwrite: bool
    is_always_legal: bool
    open_operations: tuple[int, ...]
    """By the number of their bit: the operations that will be answered; -1 for none."""
    unanswered_count: int
    """How many of the unanswered operations were invoked before."""
    always_legal: int
    """Those that are legal in every state, among the ones that will be answered."""
    others: int
    """Those that may change the state and do not overwrite it, unanswered ones included."""


class Candidate(NamedTuple):
    """An operation that may be taken at a level."""

    operation: int
    bit: int
    class_number: int
    is_overwrite: bool
    is_always_legal: bool
    rivals: int
    """The bits of candidates of the same class that stand before this one."""


class Problem:
    """What the search works on. It is never changed once it is built.

    Operations are known by their number here; `indexes` has their place in what was given. Those
    that only read and were never answered are left out: they say nothing.
    """

    def __init__(self, model: Model, operations: Sequence[Operation]) -> None:
        self.model, operations = model.specialize(operations)
        self.indexes = [
            index
            for index, operation in enumerate(operations)
            if operation.returned_at is not None
            or Trait.READS_ONLY not in self.model.traits(operation)
        ]
        self.operations = [operations[index] for index in self.indexes]
        self.automaton = Automaton(self.model, self.operations)
        order = _in_order(self.operations)
        self.unanswered = [
            number for number, is_return in order if self.operations[number].returned_at is None
        ]
        self.bits, self.width = self._give_bits(order)
        """The bit of each operation, and how many the answered ones share."""
        self.bit_count = self.width + len(self.unanswered)
        self.returns_at: dict[int, int] = {}
        """For each operation that was answered: the position of that event."""
        self.events: list[Event] = []
        self.levels: list[Level | None] = []
        """As many as there are events: None beside one that is no return."""
        self._lay_out(order)

    @property
    def bytes_used(self) -> int:
        """Return about how much memory it takes, the automaton's included."""
        per_operation = OPERATION_BYTES + 8 * self.width
        return len(self.operations) * per_operation + self.automaton.bytes_used

    def candidates(self, position: int) -> list[Candidate]:
        """Return what may be taken before the return at `position`: what returns first, first."""
        level = self.levels[position]
        assert level is not None
        open_operations = [
            number for number in level.open_operations if number not in (-1, level.operation)
        ]
        open_operations.sort(key=self.returns_at.__getitem__)
        open_operations += self.unanswered[: level.unanswered_count]
        candidates: list[Candidate] = []
        rivals: dict[int, int] = {}
        for number in open_operations:
            traits = self.automaton.traits[number]
            if Trait.READS_ONLY in traits:
                continue
            class_number, bit = self.automaton.class_of[number], self.bits[number]
            before = rivals.get(class_number, 0)
            rivals[class_number] = before | bit
            candidates.append(
                Candidate(
                    operation=number,
                    bit=bit,
                    class_number=class_number,
                    is_overwrite=Trait.OVERWRITES in traits,
                    is_always_legal=bool(traits & ALWAYS_LEGAL),
                    rivals=before,
                )
            )
        return candidates

    def _give_bits(self, order: Sequence[tuple[int, bool]]) -> tuple[list[int], int]:
        """Return the bit of each operation, and how many bits the answered ones share."""
        bits = [0] * len(self.operations)
        free: list[int] = []
        width = 0
        for number, is_return in order:
            if is_return:
                heapq.heappush(free, bits[number].bit_length() - 1)
            elif self.operations[number].returned_at is not None:
                if not free:
                    free.append(width)
                    width += 1
                bits[number] = 1 << heapq.heappop(free)
        for place, number in enumerate(self.unanswered):
            bits[number] = 1 << (width + place)
        return bits, width

    def _lay_out(self, order: Sequence[tuple[int, bool]]) -> None:
        """Build the events, and the levels beside them."""
        open_operations = [-1] * self.width
        always_legal = others = unanswered_count = 0
        for number, is_return in order:
            bit, class_number = self.bits[number], self.automaton.class_of[number]
            traits = self.automaton.traits[number]
            is_always_legal = bool(traits & ALWAYS_LEGAL)
            is_overwrite = Trait.OVERWRITES in traits
            level = None
            if is_return:
                kind = RETURNED
                level = Level(
                    operation=number,
                    bit=bit,
                    class_number=class_number,
                    is_overwrite=is_overwrite,
                    is_always_legal=is_always_legal,
                    open_operations=tuple(open_operations),
                    unanswered_count=unanswered_count,
                    always_legal=always_legal,
                    others=others,
                )
                self.returns_at[number] = len(self.events)
                open_operations[bit.bit_length() - 1] = -1
                always_legal &= ~bit
                others &= ~bit
            else:
                is_answered = self.operations[number].returned_at is not None
                kind = INVOKED if is_answered else INVOKED_WITHOUT_ANSWER
                if is_answered:
                    open_operations[bit.bit_length() - 1] = number
                    always_legal |= bit if is_always_legal else 0
                else:
                    unanswered_count += 1
                if not traits & (Trait.READS_ONLY | Trait.OVERWRITES):
                    others |= bit
            self.events.append(Event(kind, bit, class_number, number))
            self.levels.append(level)


def _in_order(operations: Sequence[Operation]) -> list[tuple[int, bool]]:
    """Return all events in order: the operation's number, and whether it is its return.

    At the same time invocations come first: operations that touch are concurrent, so that a coarse
    clock never makes a violation.
    """
    keyed: list[tuple[float | int, bool, int]] = []
    for number, operation in enumerate(operations):
        keyed.append((operation.invoked_at, False, number))
        if operation.returned_at is not None:
            keyed.append((operation.returned_at, True, number))
    keyed.sort()
    return [(number, is_return) for _, is_return, number in keyed]
