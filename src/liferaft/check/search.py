"""Two ways through the configurations of one object's history, in turns, until one has the answer.

*Best first* goes on from the configuration that got furthest, and so finds a linearization quickly
where there is one, because most choices do not matter. *Breadth first*, position by position,
proves quickly that there is none: it knows all configurations before a return when it looks at the
first, so it looks only at those that no other dominates. Each alone is complete and neither knows
of the other, so either may be given up when memory gets scarce, and the answer still holds.

Configurations are remembered exactly: by position, number of the state (which `automaton.py` gives
by equality) and both sets, never by a hash alone.
"""

import heapq
from collections import deque
from typing import Final

from liferaft.check.expansion import Expansion, Node
from liferaft.check.problem import Problem

SCANNED_MAX: Final = 64
"""How many configurations of one position and state are looked at for dominance; beyond that only
an equal one is found. Each look costs 0.1 microseconds."""

UNANSWERED_COST: Final = 50
"""How many events best first goes back rather than suppose that an unanswered operation happened.

Supposing too much uses up what a later answer needs: at 0, histories of 10 clients with values from
0 to 4 and 0.5 % without answer took ten times as long, at 1,000 twice as long.
"""

STEPS_ALONE_PER_EVENT: Final = 2
"""For how many steps per event best first goes alone: what a history without trouble needs."""

STEPS_ALONE_MIN: Final = 1000

NODE_BYTES: Final = 520
"""What a remembered configuration costs at most, without the digits of its two sets: the node, its
place in a list that has a dictionary's entry of its own, and its place in a queue."""


class BestFirst:
    """Goes on from what got furthest, counted without the unanswered operations it supposes."""

    def __init__(self, expansion: Expansion) -> None:
        self.admitted_count = 0
        self.deepest: Node | None = None
        self._expansion = expansion
        self._known: dict[tuple[int, int], list[tuple[int, int]]] = {}
        self._overflow: set[tuple[int, int, int, int]] = set()
        self._heap: list[tuple[int, int, Node, bool]] = []
        """The last: whether the operation that is about to return was tried. Before it a number
        that no two have, lower for later ones."""
        self._number = 0
        self._push(expansion.begin())

    def run(self, steps_max: int) -> bool | None:
        """Search on: return whether there is a linearization, None after `steps_max` steps."""
        expansion, heap = self._expansion, self._heap
        for _ in range(steps_max):
            if expansion.is_solved:
                return True
            if not heap:
                return False
            cost, _, node, was_tried = heapq.heappop(heap)
            if was_tried:
                self._push(expansion.after_others(node))
            else:
                if expansion.has_others(node):
                    self._number -= 1
                    heapq.heappush(heap, (cost + 1, self._number, node, True))
                self._push(expansion.after_returning(node))
        return None

    def dead_ends(self) -> list[Node]:
        """Return configurations that got as far as any did; only the first knows how it did."""
        assert self.deepest is not None
        others = [
            Node(position, state, must, can, False, False, None, -1)
            for (position, state), known in self._known.items()
            if position == self.deepest.position
            for must, can in known
        ]
        return [self.deepest, *others]

    def _push(self, nodes: list[Node]) -> None:
        for node in nodes:
            if self._is_new(node):
                self._number -= 1
                supposed = self._expansion.supposed_count(node)
                cost = UNANSWERED_COST * supposed - node.position
                heapq.heappush(self._heap, (cost, self._number, node, False))
                if self.deepest is None or node.position > self.deepest.position:
                    self.deepest = node

    def _is_new(self, node: Node) -> bool:
        """Remember a configuration, and return whether none that dominates it was before."""
        position, state, must, can = node[:4]
        known = self._known.get((position, state))
        if known is None:
            self._known[position, state] = [(must, can)]
        else:
            for other_must, other_can in known:
                if not ((other_must ^ must) | (other_can ^ can)) & ~(other_can & ~other_must):
                    return False
            if len(known) < SCANNED_MAX:
                known.append((must, can))
            else:
                key = (position, state, must, can)
                if key in self._overflow:
                    return False
                self._overflow.add(key)
        self.admitted_count += 1
        return True


class BreadthFirst:
    """Looks at all that is possible before one return, then at all that is before the next one."""

    def __init__(self, expansion: Expansion, seeds: list[Node] | None = None) -> None:
        self.admitted_count = 0
        self.position = -1
        self._expansion = expansion
        self._waiting: dict[int, dict[int, list[Node]]] = {}
        """By position and state: what no other dominates."""
        self._here: dict[int, list[Node]] = {}
        """The same at `position`; what was looked at stays, for what is yet to come."""
        self._queue: deque[Node] = deque()
        for node in expansion.begin() if seeds is None else seeds:
            self._add(node)

    def run(self, steps_max: int) -> bool | None:
        """Search on: return whether there is a linearization, None after `steps_max` steps."""
        expansion, queue = self._expansion, self._queue
        for _ in range(steps_max):
            if expansion.is_solved:
                return True
            if not queue and not self._go_on():
                return False
            node = queue.popleft()
            if not any(other is node for other in self._here[node.state]):
                continue  # something that dominates it came after it
            if expansion.has_others(node):
                for child in expansion.after_others(node):
                    self._add(child)
            for child in expansion.after_returning(node):
                self._add(child)
        return None

    def dead_ends(self) -> list[Node]:
        """Return the configurations that got as far as any did."""
        return [node for nodes in self._here.values() for node in nodes]

    def _go_on(self) -> bool:
        """Go on to the next position at which something waits, and return whether there is one."""
        if not self._waiting:
            return False
        self.position = min(self._waiting)
        self._here = self._waiting.pop(self.position)
        self._queue.extend(node for nodes in self._here.values() for node in nodes)
        return True

    def _add(self, node: Node) -> None:
        """Remember a configuration unless another one dominates it, and forget those it does."""
        position, state, must, can = node[:4]
        is_here = position == self.position
        by_state = self._here if is_here else self._waiting.setdefault(position, {})
        known = by_state.setdefault(state, [])
        is_worse = False
        for other in known:
            differing = (other.must ^ must) | (other.can ^ can)
            if not differing & ~(other.can & ~other.must):
                return
            is_worse = is_worse or not differing & ~(can & ~must)
        if is_worse:
            known[:] = [
                other
                for other in known
                if ((other.must ^ must) | (other.can ^ can)) & ~(can & ~must)
            ]
        known.append(node)
        self.admitted_count += 1
        if is_here:
            self._queue.append(node)


class Search:
    """The search of one object's history; it can be stopped after any step, and taken up again."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.expansion = Expansion(problem)
        self.answer: bool | None = None
        """Whether there is a linearization; None while that is not known."""
        self.dead_ends: list[Node] = []
        """Where there is none: the configurations that got as far as any did."""
        self._ways: deque[BestFirst | BreadthFirst] = deque([BestFirst(self.expansion)])
        """The next one that has its turn is the first."""
        self._is_alone = True
        """Whether breadth first has not begun yet."""
        self._steps_left_alone = STEPS_ALONE_PER_EVENT * len(problem.events) + STEPS_ALONE_MIN
        self._node_bytes = NODE_BYTES + 8 * (problem.bit_count // 30 + 1)

    @property
    def admitted_count(self) -> int:
        """Return how many configurations are remembered."""
        return sum(way.admitted_count for way in self._ways)

    @property
    def bytes_used(self) -> int:
        """Return about how much memory the search takes, never less than it does."""
        return self.problem.bytes_used + self._node_bytes * self.admitted_count

    @property
    def is_over(self) -> bool:
        """Return whether there is an answer, or will be none because both ways were given up."""
        return self.answer is not None or not self._ways

    def run(self, steps_max: int) -> None:
        """Search on for so many steps, or up to the answer."""
        assert not self.is_over
        if self._is_alone:
            self._steps_left_alone -= steps_max
            if self._steps_left_alone < 0:
                self._is_alone = False
                self._ways.append(BreadthFirst(self.expansion))
        way = self._ways[0]
        self._ways.rotate(-1)
        self.answer = way.run(steps_max)
        if self.answer is False:
            self.dead_ends = way.dead_ends()

    def give_up(self) -> None:
        """Forget the way that takes most memory; if it was the only one, there is no answer."""
        self._is_alone = False
        self._ways.remove(max(self._ways, key=lambda way: way.admitted_count))
