"""Models in which it matters who an operation comes from, or what came before: lock, to-do list."""

from collections.abc import Hashable, Mapping
from typing import ClassVar, cast

from liferaft.check.history import UNKNOWN, HistoryError, Operation
from liferaft.check.model import Model, Trait, accepted
from liferaft.check.values import told_truth


class Lock(Model):
    """A lock that one process holds: `acquire` and `release`, answered False when refused.

    It is not reentrant: whoever holds it is refused, too. Only its holder can release it.
    """

    functions: ClassVar[tuple[str, ...]] = ("acquire", "release")

    def __init__(self, initial: object = None) -> None:
        self._initial = initial

    def initial(self) -> Hashable:
        """Return the process that holds it at first; None: nobody."""
        return self._initial

    def accept(self, operation: Operation) -> Operation:
        """Return the operation; of its answer only the truth value counts."""
        result = operation.result
        if result is not UNKNOWN:
            result = told_truth(result) is not False
        return accepted(self, operation, argument=None, result=result)

    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Return whether the answer is right, and who holds the lock after."""
        process = operation.process
        can_do = state is None if operation.function == "acquire" else state == process
        after = process if operation.function == "acquire" else None
        is_right = operation.result in (UNKNOWN, can_do)
        return is_right, after if can_do else state

    def traits(self, operation: Operation) -> Trait:
        """Return what holds of the operation."""
        if operation.result is UNKNOWN:
            return Trait.ALWAYS_LEGAL
        return Trait.NONE if operation.result else Trait.READS_ONLY

    def describe_state(self, state: Hashable) -> str:
        """Return who holds the lock."""
        return "free" if state is None else f"held by {state}"


class TodoList(Model):
    """The to-do list of `liferaft.recipes.todo`: `add`, `complete` and `items`.

    Times are not compared: they are the leader's, and nobody else can tell them.
    """

    functions: ClassVar[tuple[str, ...]] = ("add", "complete", "items")
    uses_process: ClassVar[bool] = False

    def __init__(self, initial: object = ()) -> None:
        if not isinstance(initial, list | tuple):
            raise HistoryError(f"a to-do list begins with a list of items, not with {initial!r}")
        self._initial = tuple(item_of(item) for item in initial)

    def initial(self) -> Hashable:
        """Return the items that are there at first, each as (id, text, added_by, done_by)."""
        return self._initial

    def accept(self, operation: Operation) -> Operation:
        """Return the operation with its argument as a pair, and items as tuples."""
        line, argument, result = operation.line, operation.argument, operation.result
        is_answered = result is not UNKNOWN
        if operation.function == "items":
            argument = None
            if is_answered and not isinstance(result, list | tuple):
                raise HistoryError(f"items answers a list, not {result!r}", line=line)
            if isinstance(result, list | tuple):
                result = tuple(item_of(item, line=line) for item in result)
        else:
            first = "text" if operation.function == "add" else "item_id"
            argument = _pair(argument, first, line=line)
            if is_answered:
                result = None if _is_no_such_item(result) else item_of(result, line=line)
        return accepted(self, operation, argument=argument, result=result)

    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Return whether the answer is right, and the items after."""
        items = cast(tuple[Hashable, ...], state)
        if operation.function == "items":
            return operation.result in (UNKNOWN, items), items
        first, by = cast(tuple[Hashable, str], operation.argument)
        if operation.function == "add":
            item: Hashable = (len(items) + 1, first, by, "")
            return operation.result in (UNKNOWN, item), (*items, item)
        if not (isinstance(first, int) and 1 <= first <= len(items)):
            return operation.result in (UNKNOWN, None), items
        number, text, added_by, done_by = cast(tuple[int, str, str, str], items[first - 1])
        item = (number, text, added_by, done_by or by or "somebody")
        after = (*items[: first - 1], item, *items[first:]) if not done_by else items
        return operation.result in (UNKNOWN, item), after

    def traits(self, operation: Operation) -> Trait:
        """Return what holds of the operation."""
        if operation.function == "items" or operation.result is None:
            return Trait.READS_ONLY
        return Trait.ALWAYS_LEGAL if operation.result is UNKNOWN else Trait.NONE

    def describe_state(self, state: Hashable) -> str:
        """Return how many items there are, and the last ones."""
        items = cast(tuple[tuple[int, str, str, str], ...], state)
        last = ", ".join(
            f"{number}: {text!r}{' done' if done_by else ''}"
            for number, text, _, done_by in items[-5:]
        )
        return f"{len(items)} items{', the last: ' + last if last else ''}"


def item_of(value: object, *, line: int | None = None) -> Hashable:
    """Return an item as (id, text, added_by, done_by), from a mapping or from an object."""
    fields = ("id", "text", "added_by", "done_by")
    if isinstance(value, Mapping):
        parts = [value.get(name, "") for name in fields]
    else:
        parts = [getattr(value, name, "") for name in fields]
    if not isinstance(parts[0], int) or not all(isinstance(part, str) for part in parts[1:]):
        raise HistoryError(f"{value!r} is no item of a to-do list", line=line)
    return tuple(parts)


def _pair(argument: object, first: str, *, line: int | None) -> tuple[Hashable, str]:
    """Return what an add or a complete was given: alone, as a pair, or by name; and by whom."""
    value, by = argument, cast(object, "")
    if isinstance(argument, Mapping):
        value, by = argument.get(first), argument.get("by", "")
    elif isinstance(argument, list | tuple) and len(argument) == 2:
        value, by = argument
    if not isinstance(value, str | int) or not isinstance(by, str):
        raise HistoryError(f"{argument!r} is no {first}, nor one with a name", line=line)
    return value, by


def _is_no_such_item(result: object) -> bool:
    if isinstance(result, Mapping):
        return result.get("error") == "NoSuchItem"
    return type(result).__name__ == "NoSuchItem"
