"""The order of operations that a search found, spelled out.

The search remembers only which operations it took, and when. Here they are taken once more, slowly,
and every operation gets its place, also those that the search only found to be optional.
"""

from collections.abc import Iterable

from liferaft.check.automaton import ILLEGAL
from liferaft.check.expansion import Node
from liferaft.check.model import Trait
from liferaft.check.problem import ALWAYS_LEGAL, INVOKED, RETURNED, Problem


def order_to(problem: Problem, node: Node | None, *, final_operation: int = -1) -> list[int]:
    """Return the numbers of the operations that have a place, in an order that is legal.

    `node` is where the search came to: everything that returned before it has a place. With
    `final_operation`, that one is taken there, and everything has a place that must have one.
    """
    taken: list[tuple[int, int]] = []
    stop = len(problem.events) if final_operation >= 0 or node is None else node.position
    if final_operation >= 0:
        assert node is not None
        taken.append((node.position, final_operation))
    while node is not None and node.parent is not None:
        taken.append((node.parent.position, node.operation))
        node = node.parent
    taken.reverse()
    order = _Replay(problem).run(taken, stop)
    places = problem.model.restore([problem.operations[number] for number in order])
    return [order[place] for place in places]


class _Replay:
    """Takes operations in the given order and notes where the others find their place."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._state = 0
        self._open: dict[int, bool] = {}
        """The open operations that will be answered, and whether they need a place yet."""
        self._taken: list[int] = []
        self._calm: dict[int, list[int]] = {}
        """By how many were taken before: the operations that changed nothing there."""
        self._hidden: dict[int, list[int]] = {}
        """The same for those that the next one taken overwrites; they come after the calm ones."""

    def run(self, taken: list[tuple[int, int]], stop: int) -> list[int]:
        waiting = list(reversed(taken))
        for position, event in enumerate(self._problem.events):
            while waiting and waiting[-1][0] == position:
                self._take(waiting.pop()[1])
            if position >= stop:
                break
            if event.kind == RETURNED:
                assert not self._open.pop(event.operation), "it returned without a place"
            elif event.kind == INVOKED:
                self._open[event.operation] = True
                self._settle([event.operation])
        return list(self._in_order())

    def _take(self, operation: int) -> None:
        traits = self._problem.automaton.traits
        if Trait.OVERWRITES in traits[operation]:
            hidden = [
                other
                for other, needs_place in self._open.items()
                if needs_place and other != operation and traits[other] & ALWAYS_LEGAL
            ]
            self._place(self._hidden, hidden)
        target = self._move(operation)
        assert target != ILLEGAL, "the search took what is not legal"
        self._state = target
        self._taken.append(operation)
        if operation in self._open:
            self._open[operation] = False
        self._settle(list(self._open))

    def _settle(self, operations: list[int]) -> None:
        calm = [each for each in operations if self._open[each] and self._move(each) == self._state]
        self._place(self._calm, calm)

    def _place(self, places: dict[int, list[int]], operations: list[int]) -> None:
        for operation in operations:
            self._open[operation] = False
        places.setdefault(len(self._taken), []).extend(operations)

    def _move(self, operation: int) -> int:
        automaton = self._problem.automaton
        return automaton.after(self._state, automaton.class_of[operation])

    def _in_order(self) -> Iterable[int]:
        taken = set(self._taken)
        for gap in range(len(self._taken) + 1):
            for place in (self._calm, self._hidden):
                yield from (each for each in place.get(gap, ()) if each not in taken)
            if gap < len(self._taken):
                yield self._taken[gap]
