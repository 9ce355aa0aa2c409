"""What is wrong with a history: how far it goes well, and what does not fit then."""

from collections.abc import Hashable, Sequence
from typing import Final

import msgspec

from liferaft.check.expansion import Node
from liferaft.check.history import UNKNOWN, Operation
from liferaft.check.model import Model
from liferaft.check.models import UNSEEN
from liferaft.check.search import BreadthFirst, Search
from liferaft.check.witness import order_to

UNPLACEABLE_MAX: Final = 20
"""How many operations that cannot be placed are named at most."""

STEPS_MAX: Final = 5_000
"""How far is looked for more of them."""

STATES_MAX: Final = 5
"""How many of the possible states are named at most."""

VALUE_CHARACTERS_MAX: Final = 200


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a history is not linearizable. Operations are given by their index."""

    key: Hashable
    """Which of the independent objects it is; None where there is only one."""
    prefix: tuple[int, ...]
    """The longest linearizable prefix: what has a place before the first of `unplaceable` returns,
    in an order that is legal.

    What operations that were open then were answered later, counts; and where dequeues of a queue
    have no answer, so does which values were dequeued later.
    """
    unplaceable: tuple[int, ...]
    """The first operation for which no order has a place before it returns; then those for which
    none has even if the ones before are left out, as far as that is quickly found."""
    states: tuple[str, ...]
    """In which states the object could be when the first of them returned, not all if many."""
    sentence: str


def explain(
    name: Hashable,
    operations: Sequence[Operation],
    indexes: Sequence[int],
    search: Search,
    *,
    model: Model,
    accepted: Sequence[Operation],
) -> Violation:
    """Return what is wrong with the object `name`, whose search found no linearization.

    `model` and `accepted` are as they were before the search made them simpler.
    """
    problem, dead_ends = search.problem, search.dead_ends
    first = _returning(search, dead_ends[0])
    numbers = [first, *_more(search, dead_ends)]
    unplaceable = tuple(indexes[problem.indexes[number]] for number in numbers)
    prefix = tuple(indexes[problem.indexes[number]] for number in order_to(problem, dead_ends[0]))
    found = [
        problem.automaton.state(number)
        for number in dict.fromkeys(node.state for node in dead_ends)
    ]
    if found[0] is UNSEEN:
        found[0] = _state_after(model, [accepted[index] for index in prefix])
    states = tuple(map(model.describe_state, found[:STATES_MAX]))
    more = ", or another one" if len(found) > STATES_MAX else ""
    where = "" if name is None else f"on {shown(name)}: "
    sentence = (
        f"{where}{describe(operations[unplaceable[0]])} has no place in any order; "
        f"the state could only be {' or '.join(states)}{more}"
    )
    return Violation(
        key=name, prefix=prefix, unplaceable=unplaceable, states=states, sentence=sentence
    )


def _state_after(model: Model, order: Sequence[Operation]) -> Hashable:
    """Return the state behind operations in a legal order: what the search did not tell apart."""
    state = model.initial()
    for operation in order:
        _, state = model.step(state, operation)
    return state


def describe(operation: Operation) -> str:
    """Return the operation as a person reads it."""
    argument = "" if operation.argument is None else f" {shown(operation.argument)}"
    if operation.returned_at is None or operation.result is UNKNOWN:
        answer = "without answer"
    elif operation.result is None:
        answer = "answered nil"
    elif operation.result == operation.argument:
        answer = "answered ok"  # Jepsen's answers repeat what was asked
    else:
        answer = f"answered {shown(operation.result)}"
    line = "" if operation.line is None else f", line {operation.line}"
    return f"{operation.function}{argument} {answer} (process {operation.process}{line})"


def shown(value: object) -> str:
    """Return a value as text that is not too long."""
    text = repr(value)
    if len(text) <= VALUE_CHARACTERS_MAX:
        return text
    half = VALUE_CHARACTERS_MAX // 2
    return f"{text[:half]} ... {text[-half:]}"


def _returning(search: Search, node: Node) -> int:
    level = search.problem.levels[node.position]
    assert level is not None
    return level.operation


def _more(search: Search, dead_ends: list[Node]) -> list[int]:
    """Return what else cannot be placed once what could not is left out."""
    found: list[int] = []
    steps = STEPS_MAX
    while len(found) < UNPLACEABLE_MAX - 1:
        seeds = [
            node for dead_end in dead_ends for node in search.expansion.after_leaving_out(dead_end)
        ]
        if search.expansion.is_solved:
            break
        way = BreadthFirst(search.expansion, seeds)
        if way.run(steps) is not False:
            break
        steps -= way.admitted_count
        dead_ends = way.dead_ends()
        found.append(_returning(search, dead_ends[0]))
    return found
