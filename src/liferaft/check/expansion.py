"""The rules of the search: which configurations follow from one, and which need not be looked at.

This is Wing and Gong's search as Lowe improved it ("Testing for linearizability", 2017): events are
passed in order, and an operation is *taken*, that is given its place, only just before some
operation returns. A *configuration* is (position, state, must, can): before the return event at
`position`, the object is in `state`; the open operations in `must` have no place yet and need one
before they return; those in `can` may still be taken. An operation in `can` but not in `must` is
*optional*: it has no answer, or it has a place already in which it has no effect that anyone could
have seen. If it is taken, it is in neither.

What keeps the search small. Each rule leaves the verdict as it is, because it only leaves out what
follows from something else that is looked at:

1. *Nothing changes.* An operation in `must` that is legal in the state and leaves it as it is
   becomes optional. It can be placed right here, where nobody notices it, and if it is taken later
   on, then it is placed there instead: so being optional allows whatever being in `must`, or taken,
   allows.
2. *Hidden.* When an operation that overwrites is taken, all open operations that are legal in every
   state become optional: each could have stood just before it, where the next one wipes it out.
3. *Dominance.* A configuration is not looked at when another one at the same position and in the
   same state is, which differs from it only in operations that are optional there: by 1, whatever
   completes the first completes the other.
4. *No effect.* An operation that would leave the state as it is, is not taken, because by 1 it is
   optional; but one that overwrites is, when that makes others optional by 2.
5. *Nobody saw it.* After an operation that can be left out (optional, or legal in every state), and
   in whose state nothing got its place that 2 would not give one, an operation that overwrites is
   not taken, at the same position: without the first, the same is reached, with no less optional.
   The configuration before the first is looked at, with the same overwriting operation.
6. *Later will do.* The operation that is about to return is not hidden behind an overwriting one:
   it can be taken, and the overwriting one still after its return.
7. *Twins.* Of two operations of the same class, the one that returns first is taken first, unless
   that one is optional and the other is not: exchanging them changes nothing that anyone can see,
   and leaves more time for the other. An operation without answer returns last of all.
8. *Last chance.* An optional operation that is about to return may be let go, or must be taken now:
   two configurations, the second with the operation in `must`.
9. *Dead end.* An operation that can be left out is not taken into the model's dead end: whatever is
   legal there is legal in any other state, up to the next operation that overwrites.
10. *Independent.* Of two operations that may come in either order, because both orders are legal
    and lead to the same state, and neither overwrites, and nobody saw the state between them, only
    one order is looked at; and one that could as well come after the one that is about to return,
    is left for later.

The tests hold the verdicts against those of a naive twin that tries every order.
"""

from typing import Final, NamedTuple

from liferaft.check.automaton import ILLEGAL
from liferaft.check.model import Trait
from liferaft.check.problem import INVOKED, RETURNED, Problem

_PLACES_KEPT_MAX: Final = 256
"""For so many positions options are kept; they are quickly made again."""


class Node(NamedTuple):
    """A configuration: before the return at `position` of an operation that is in `must`."""

    position: int
    state: int
    must: int
    can: int
    is_unobserved: bool
    """Whether rule 5 holds for what comes next."""
    is_chance: bool
    """Whether the operation that is about to return is in `must` only by rule 8."""
    parent: "Node | None"
    operation: int
    """What was taken to get here from `parent`; -1: nothing, this is where the search begins."""


class Option(NamedTuple):
    """An operation that could be taken in a state, before the return at a position."""

    operation: int
    bit: int
    target: int
    """The state after it."""
    is_overwrite: bool
    is_always_legal: bool
    rivals: int
    """The operations of its class that return before it (rule 7)."""
    calm: int
    """The open operations that change nothing in `target` (rule 1)."""
    viewers: int
    """Those among them that rule 2 would not make optional."""


class Expansion:
    """What follows from a configuration."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.is_solved = False
        """Whether some configuration got past all events."""
        self.solution: Node | None = None
        """From where that was, by taking `final_operation`; None: nothing had to be taken."""
        self.final_operation = -1
        self._automaton = problem.automaton
        self._moves = problem.automaton.moves
        self._class_of = problem.automaton.class_of
        self._dead_end = problem.automaton.dead_end
        self._overwrites = [Trait.OVERWRITES in traits for traits in problem.automaton.class_traits]
        self._may_matter = [
            self._can_matter(class_number, traits)
            for class_number, traits in enumerate(problem.automaton.class_traits)
        ]
        self._calm: dict[int, dict[int, int]] = {}
        self._options: dict[int, dict[int, list[Option]]] = {}

    def begin(self) -> list[Node]:
        """Return the configurations at which the search begins."""
        found: list[Node] = []
        self._reach(found, (0, 0, 0, 0), None, -1)
        return found

    def after_returning(self, node: Node) -> list[Node]:
        """Return what follows when the operation that is about to return is taken, best last."""
        position, state, must, can, is_unobserved, is_chance, _, _ = node
        level = self.problem.levels[position]
        assert level is not None
        if is_unobserved and level.is_overwrite:
            return []  # rule 5
        target = self._automaton.after(state, level.class_number)
        if target == ILLEGAL or (is_chance and target == self._dead_end):
            return []  # rule 9
        if not level.is_overwrite and self._could_be_after(node, level.class_number, target):
            return []  # rule 10
        must &= ~level.bit
        if level.is_overwrite:
            must &= ~level.always_legal  # rule 2
        must &= ~self._calm_at(position, target)  # rule 1
        found: list[Node] = []
        self._reach(found, (position, target, must, can & ~level.bit), node, level.operation)
        return found

    def after_leaving_out(self, node: Node) -> list[Node]:
        """Return what would follow if the operation that is about to return were not there."""
        level = self.problem.levels[node.position]
        assert level is not None
        must, can = node.must & ~level.bit, node.can & ~level.bit
        found: list[Node] = []
        self._reach(found, (node.position, node.state, must, can), node, -1)
        return found

    def supposed_count(self, node: Node) -> int:
        """Return how many unanswered operations were taken on the way to the node."""
        level = self.problem.levels[node.position]
        assert level is not None
        return level.unanswered_count - (node.can >> self.problem.width).bit_count()

    def has_others(self, node: Node) -> bool:
        """Return whether something may follow when another operation is taken; quick to tell."""
        level = self.problem.levels[node.position]
        assert level is not None
        # By rule 5 nothing else comes before an operation that is legal in every state, unless
        # somebody sees it, or it does not overwrite.
        return not level.is_always_legal or bool(
            node.can & level.others | node.must & ~level.always_legal
        )

    def after_others(self, node: Node) -> list[Node]:
        """Return what follows when another operation than the returning one is taken, best last."""
        position, state, must, can, is_unobserved, _, _, _ = node
        level = self.problem.levels[position]
        assert level is not None
        others, hidden = level.others, level.always_legal & ~level.bit  # rule 6
        groups: list[list[Node]] = []
        for option in self._options_at(position, state):
            operation, bit, target, is_overwrite, is_always_legal, rivals, calm, viewers = option
            if not bit & can or (is_overwrite and is_unobserved):
                continue  # rule 5
            if rivals and (rivals & must if bit & must else rivals & can):
                continue  # rule 7
            if operation < node.operation and not is_overwrite:
                class_number = self._class_of[operation]
                if self._could_be_after(node, class_number, target):
                    continue  # rule 10
            can_after = can & ~bit
            can_be_left_out = is_always_legal or not bit & must
            is_unseen = can_be_left_out and not viewers & must & ~bit
            if is_unseen and not can_after & others:
                continue  # rule 5: whatever could come next overwrites
            if can_be_left_out and target == self._dead_end:
                continue  # rule 9
            must_after = must & ~bit
            if is_overwrite:
                if target == state and not must_after & hidden:
                    continue  # rule 4
                must_after &= ~hidden  # rule 2
            must_after &= ~calm  # rule 1
            groups.append(self._taken(node, option, must_after, can_after, is_unseen=is_unseen))
        groups.reverse()
        return [child for group in groups for child in group]

    def _taken(
        self, node: Node, option: Option, must: int, can: int, *, is_unseen: bool
    ) -> list[Node]:
        """Return what follows when the option is taken, with these sets after it."""
        level = self.problem.levels[node.position]
        assert level is not None
        if must & level.bit:
            child = (node.position, option.target, must, can, is_unseen, node.is_chance)
            return [Node(*child, node, option.operation)]
        found: list[Node] = []
        self._reach(found, (node.position, option.target, must, can), node, option.operation)
        return found

    def _reach(
        self,
        found: list[Node],
        begin: tuple[int, int, int, int],
        parent: Node | None,
        operation: int,
    ) -> None:
        """Pass events up to a return whose operation is in `must`; add what is to be looked at.

        `begin` is (position, state, must, can), and `operation` what was taken to get there.
        """
        place, state, must, can = begin
        moves = self._moves[state]
        events = self.problem.events
        for position in range(place, len(events)):
            kind, bit, class_number, _ = events[position]
            if kind == RETURNED:
                if must & bit:
                    here = (position, state, must, can, False, False)
                    found.append(Node(*here, parent, operation))
                    return
                if can & bit:
                    if self._may_matter[class_number]:  # rule 8
                        chance = (position, state, must | bit, can, False, True)
                        found.append(Node(*chance, parent, operation))
                    can ^= bit
            else:
                can |= bit
                if kind == INVOKED:
                    target = moves.get(class_number)
                    if target is None:
                        target = self._automaton.move(state, class_number)
                    if target != state:  # rule 1
                        must |= bit
        self.is_solved = True
        self.solution, self.final_operation = parent, operation

    def _could_be_after(self, node: Node, class_number: int, target: int) -> bool:
        """Return whether what was taken last might as well be taken after one of that class.

        `target` is the state after both.
        """
        parent, last = node.parent, node.operation
        if parent is None or parent.position != node.position:
            return False
        last_class = self._class_of[last]
        if last_class == class_number or self._overwrites[last_class]:
            return False
        if node.must != parent.must & ~self.problem.bits[last]:
            return False  # somebody saw the state between
        between = self._automaton.after(parent.state, class_number)
        return between != ILLEGAL and self._automaton.after(between, last_class) == target

    def _can_matter(self, class_number: int, traits: Trait) -> bool:
        """Return whether an optional operation of that class can be worth taking (rules 4, 9)."""
        if Trait.OVERWRITES in traits:
            return self._automaton.after(0, class_number) != self._dead_end
        return Trait.READS_ONLY not in traits

    def _calm_at(self, position: int, state: int) -> int:
        """Return the operations that are open before `position` and change nothing in `state`."""
        by_state = self._calm.get(position)
        if by_state is None:
            if len(self._calm) >= _PLACES_KEPT_MAX:
                self._calm.clear()
            by_state = self._calm[position] = {}
        calm = by_state.get(state)
        if calm is None:
            level = self.problem.levels[position]
            assert level is not None
            calm = 0
            moves, class_of = self._moves[state], self._class_of
            for place, operation in enumerate(level.open_operations):
                if operation >= 0:
                    class_number = class_of[operation]
                    target = moves.get(class_number)
                    if target is None:
                        target = self._automaton.move(state, class_number)
                    if target == state:
                        calm |= 1 << place
            by_state[state] = calm
        return calm

    def _options_at(self, position: int, state: int) -> list[Option]:
        """Return the operations that it may be worth taking in `state` (rules 4 and 7)."""
        by_state = self._options.get(position)
        if by_state is None:
            if len(self._options) >= _PLACES_KEPT_MAX:
                self._options.clear()
            by_state = self._options[position] = {}
        options = by_state.get(state)
        if options is None:
            options = by_state[state] = self._make_options(position, state)
        return options

    def _make_options(self, position: int, state: int) -> list[Option]:
        level = self.problem.levels[position]
        assert level is not None
        options: list[Option] = []
        for candidate in self.problem.candidates(position):
            if candidate.class_number == level.class_number:
                continue  # rule 7: its twin is the one that is about to return
            target = self._automaton.after(state, candidate.class_number)
            if target == ILLEGAL or (target == state and not candidate.is_overwrite):
                continue  # rule 4
            calm = self._calm_at(position, target)
            options.append(
                Option(
                    candidate.operation,
                    candidate.bit,
                    target,
                    candidate.is_overwrite,
                    candidate.is_always_legal,
                    candidate.rivals,
                    calm,
                    calm & ~level.always_legal,
                )
            )
        return options
