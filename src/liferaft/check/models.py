"""The models that ship: registers, a key-value store, a counter and a set; and all of them by name.

What a history may say of each is in docs/check.md. The queue is in `fifo.py`, the lock and the
to-do list are in `ordered.py`.
"""

import bisect
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import ClassVar, Final, cast

import msgspec

from liferaft.check.fifo import Queue
from liferaft.check.history import UNKNOWN, HistoryError, Operation
from liferaft.check.model import Model, Trait, accepted
from liferaft.check.ordered import Lock, TodoList
from liferaft.check.values import elements, exact, number, told_truth


class _Unseen:
    """The type of `UNSEEN`."""

    def __repr__(self) -> str:
        return "a value that no answer mentions"


UNSEEN: Final = _Unseen()
"""Stands for all values that no operation of the history can tell from each other."""


class Register(Model):
    """A value. `read` answers it, None while it is unset; `write` sets it to its argument."""

    functions: ClassVar[tuple[str, ...]] = ("read", "write")
    uses_process: ClassVar[bool] = False

    def __init__(
        self,
        initial: object = None,
        *,
        seen: frozenset[Hashable] | None = None,
        has_refusals: bool = False,
    ) -> None:
        """Begin with `initial`; the rest is for `specialize`."""
        self._initial = exact(initial)
        self._seen = seen
        self._has_refusals = has_refusals

    def initial(self) -> Hashable:
        """Return the initial value."""
        return self._shown(self._initial)

    def dead_end(self) -> Hashable:
        """Return the value that nobody asks for, unless being another value is asked for."""
        return UNKNOWN if self._seen is None or self._has_refusals else UNSEEN

    def accept(self, operation: Operation) -> Operation:
        """Return the operation with values that can be compared."""
        return accepted(
            self, operation, argument=exact(operation.argument), result=exact(operation.result)
        )

    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Return whether a read answered the value, and what was written."""
        if operation.function == "write":
            return True, self._shown(operation.argument)
        return operation.result in (UNKNOWN, state), state

    def traits(self, operation: Operation) -> Trait:
        """Return that reads read and writes overwrite."""
        return Trait.READS_ONLY if operation.function == "read" else Trait.OVERWRITES

    def specialize(self, operations: Sequence[Operation]) -> tuple["Register", Sequence[Operation]]:
        """Return a register in which all values are one that no operation asks for."""
        special = type(self)(
            self._initial,
            seen=frozenset(self._asked(operation) for operation in operations),
            has_refusals=any(
                each.function == "cas" and told_truth(each.result) is False for each in operations
            ),
        )
        return special, [special.coarse(operation) for operation in operations]

    def coarse(self, operation: Operation) -> Operation:
        """Return the operation; a value that nobody asks for stands for all that it could write."""
        if operation.function != "write":
            return operation
        return msgspec.structs.replace(operation, argument=self._shown(operation.argument))

    def _asked(self, operation: Operation) -> Hashable:
        """Return the value that the operation can tell from others, if there is one."""
        return operation.result if operation.function == "read" else UNKNOWN

    def _shown(self, value: object) -> Hashable:
        is_seen = self._seen is None or value in self._seen
        return value if is_seen else UNSEEN


class CasRegister(Register):
    """A register that also has `cas` with [old, new]: answered False when it was not `old`."""

    functions: ClassVar[tuple[str, ...]] = ("read", "write", "cas")

    def accept(self, operation: Operation) -> Operation:
        """Return the operation; a cas has a pair as its argument."""
        argument = exact(operation.argument)
        if operation.function == "cas" and not (isinstance(argument, tuple) and len(argument) == 2):
            raise HistoryError(
                f"a cas takes [old, new], not {operation.argument!r}", line=operation.line
            )
        return accepted(self, operation, argument=argument, result=exact(operation.result))

    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Return as a register does; a cas is legal when its answer tells the truth of `old`."""
        if operation.function != "cas":
            return super().step(state, operation)
        old, new = cast(tuple[object, object], operation.argument)
        if operation.result is UNKNOWN:
            return True, self._shown(new) if state == old else state
        if told_truth(operation.result) is False:
            return state != old, state
        return state == old, self._shown(new)

    def traits(self, operation: Operation) -> Trait:
        """Return what holds of the operation: a cas that was refused has changed nothing."""
        if operation.function != "cas":
            return super().traits(operation)
        if operation.result is UNKNOWN:
            return Trait.ALWAYS_LEGAL
        return Trait.READS_ONLY if told_truth(operation.result) is False else Trait.NONE

    def coarse(self, operation: Operation) -> Operation:
        """Return the operation; what a cas asks for stays as it is."""
        if operation.function != "cas":
            return super().coarse(operation)
        old, new = cast(tuple[object, object], operation.argument)
        return msgspec.structs.replace(operation, argument=(old, self._shown(new)))

    def _asked(self, operation: Operation) -> Hashable:
        if operation.function == "cas":
            return cast(tuple[Hashable, object], operation.argument)[0]
        return super()._asked(operation)


class KeyValue(Model):
    """Keys with values: `get`, `put`, `append` (of texts) and `delete`.

    A key that is unset is answered by None or by "", and appended to like "". A delete that
    answers True or False tells whether the key was set; other answers tell nothing.
    """

    functions: ClassVar[tuple[str, ...]] = ("get", "put", "append", "delete")
    uses_process: ClassVar[bool] = False

    def __init__(
        self,
        initial: object = None,
        *,
        answers: frozenset[Hashable] | None = None,
        texts: Sequence[str] = (),
        tells_being_set: bool = False,
    ) -> None:
        """Begin with `initial` for each key; the rest is for `specialize`."""
        self._initial = exact(initial)
        self._answers = answers
        self._texts = texts
        """The answers that are texts, sorted; only where there are appends."""
        self._tells_being_set = tells_being_set

    def initial(self) -> Hashable:
        """Return the initial value of each key."""
        return self._shown(self._initial)

    def dead_end(self) -> Hashable:
        """Return the value that no answer is, unless some answer tells that there was one."""
        return UNKNOWN if self._answers is None or self._tells_being_set else UNSEEN

    def accept(self, operation: Operation) -> Operation:
        """Return the operation; it needs a key, and an append a text."""
        if operation.key is None:
            raise HistoryError(f"a {operation.function} needs a key", line=operation.line)
        if operation.function == "append" and not isinstance(operation.argument, str):
            raise HistoryError(
                f"an append takes a text, not {operation.argument!r}", line=operation.line
            )
        argument = None if operation.function == "get" else exact(operation.argument)
        return accepted(self, operation, argument=argument, result=exact(operation.result))

    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Return whether a get answered the value, and the value after."""
        result = operation.result
        match operation.function:
            case "get":
                is_empty = result in (None, "") and state in (None, "")
                return is_empty or result in (UNKNOWN, state), state
            case "put":
                return True, self._shown(operation.argument)
            case "append":
                if state is UNSEEN:
                    return True, UNSEEN
                return True, self._shown(f"{'' if state is None else state}{operation.argument}")
            case _:
                told = told_truth(result)
                return told is None or told == (state is not None), None

    def traits(self, operation: Operation) -> Trait:
        """Return what holds of the operation."""
        match operation.function:
            case "get":
                return Trait.READS_ONLY
            case "put":
                return Trait.OVERWRITES
            case "append":
                return Trait.ALWAYS_LEGAL
            case _:
                told = told_truth(operation.result)
                return {None: Trait.OVERWRITES, True: Trait.NONE, False: Trait.READS_ONLY}[told]

    def specialize(self, operations: Sequence[Operation]) -> tuple["KeyValue", Sequence[Operation]]:
        """Return a store in which all values are one that no answer is, or begins with.

        A value that no answer begins with stays one, whatever is appended to it.
        """
        answers = frozenset(each.result for each in operations if each.function == "get")
        has_appends = any(each.function == "append" for each in operations)
        texts = {answer for answer in answers if isinstance(answer, str)} if has_appends else ()
        special = type(self)(
            self._initial,
            answers=answers,
            texts=sorted(texts),
            tells_being_set=any(
                each.function == "delete" and told_truth(each.result) for each in operations
            ),
        )
        return special, [special.coarse(operation) for operation in operations]

    def coarse(self, operation: Operation) -> Operation:
        """Return the operation; a value that no answer is stands for all that it could put."""
        if operation.function != "put":
            return operation
        return msgspec.structs.replace(operation, argument=self._shown(operation.argument))

    def _shown(self, value: object) -> Hashable:
        if value is None or self._answers is None or value in self._answers:
            return value
        text = str(value)
        place = bisect.bisect_left(self._texts, text)
        is_beginning = place < len(self._texts) and self._texts[place].startswith(text)
        return value if is_beginning else UNSEEN


class Counter(Model):
    """A number: `add`, `increment`, `decrement` (by 1 without an argument) and `read` or `get`.

    `add_and_get` answers the number after; what the others answer to a change is not looked at.
    """

    functions: ClassVar[tuple[str, ...]] = (
        "add",
        "increment",
        "decrement",
        "add_and_get",
        "read",
        "get",
    )
    uses_process: ClassVar[bool] = False

    def __init__(self, initial: object = 0) -> None:
        self._initial = number(initial, "the initial value")

    def initial(self) -> Hashable:
        """Return the initial number."""
        return self._initial

    def accept(self, operation: Operation) -> Operation:
        """Return the operation with the number that it adds."""
        if operation.function in ("read", "get"):
            return accepted(self, operation, argument=0, result=operation.result)
        argument = 1 if operation.argument is None else operation.argument
        amount = number(argument, f"the argument of {operation.function}", line=operation.line)
        sign = -1 if operation.function == "decrement" else 1
        return accepted(self, operation, argument=sign * amount, result=operation.result)

    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Return whether the number was answered, and the number after."""
        after = cast(float, state) + cast(float, operation.argument)
        is_told = operation.function in ("read", "get", "add_and_get")
        return not is_told or operation.result in (UNKNOWN, after), after

    def traits(self, operation: Operation) -> Trait:
        """Return that reads read, and that nobody can refuse a change whose answer is not told."""
        if operation.function in ("read", "get"):
            return Trait.READS_ONLY
        is_told = operation.function == "add_and_get" and operation.result is not UNKNOWN
        return Trait.NONE if is_told else Trait.ALWAYS_LEGAL


class Set(Model):
    """A set: `add`, `remove` and `contains` an element, and `read` all of them.

    An add or remove that answers True or False tells whether it changed the set; other answers
    tell nothing.
    """

    functions: ClassVar[tuple[str, ...]] = ("add", "remove", "contains", "read")
    uses_process: ClassVar[bool] = False

    def __init__(self, initial: object = ()) -> None:
        self._initial = elements(initial, "the initial value")

    def initial(self) -> Hashable:
        """Return the initial set."""
        return self._initial

    def accept(self, operation: Operation) -> Operation:
        """Return the operation; a read that was answered was answered with a list."""
        if operation.function != "read":
            told = told_truth(operation.result)
            if (
                operation.function == "contains"
                and operation.result is not UNKNOWN
                and told is None
            ):
                raise HistoryError("a contains answers true or false", line=operation.line)
            return accepted(
                self, operation, argument=exact(operation.argument), result=operation.result
            )
        result = operation.result
        if result is not UNKNOWN:
            result = elements(result, "the answer to a read", line=operation.line)
        return accepted(self, operation, argument=None, result=result)

    def step(self, state: Hashable, operation: Operation) -> tuple[bool, Hashable]:
        """Return whether the answer is right, and the set after."""
        members = cast(frozenset[object], state)
        if operation.function == "read":
            return operation.result in (UNKNOWN, members), members
        told = told_truth(operation.result)
        is_there = operation.argument in members
        if operation.function == "contains":
            return told in (None, is_there), members
        one = frozenset((operation.argument,))
        after = members | one if operation.function == "add" else members - one
        return told is None or told == (after != members), after

    def traits(self, operation: Operation) -> Trait:
        """Return what holds of the operation."""
        told = told_truth(operation.result)
        if operation.function in ("read", "contains") or told is False:
            return Trait.READS_ONLY
        return Trait.NONE if told else Trait.ALWAYS_LEGAL

    def partition(self, operations: Sequence[Operation]) -> Mapping[Hashable, list[int]]:
        """Return the operations by key, and by element where nobody reads the whole set."""
        whole = {each.key for each in operations if each.function == "read"}
        parts: dict[Hashable, list[int]] = {}
        for position, each in enumerate(operations):
            name = each.key if each.key in whole else (each.key, each.argument)
            parts.setdefault(name, []).append(position)
        return parts


MODELS: Final[Mapping[str, type[Model]]] = {
    "register": Register,
    "cas-register": CasRegister,
    "kv": KeyValue,
    "queue": Queue,
    "lock": Lock,
    "counter": Counter,
    "set": Set,
    "todo": TodoList,
}
"""By the names that `liferaft check --model` knows them by."""


def model_named(name: str, **arguments: object) -> Model:
    """Return the model of that name, made with `initial=...` if it is given.

    Raises `HistoryError` for a name that is none, and for an initial value that does not fit.
    """
    if name not in MODELS:
        raise HistoryError(f"there is no model {name!r}: there are {', '.join(MODELS)}")
    make: Callable[..., Model] = MODELS[name]
    return make(**arguments)
