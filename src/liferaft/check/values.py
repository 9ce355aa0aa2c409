"""Values of histories in a form that can be compared, hashed and kept in states."""

import enum
from collections.abc import Hashable, Iterator, Mapping
from typing import Final

from liferaft.check.history import HistoryError


class Truth(enum.Enum):
    """True and False as values of an object: Python's own are equal to 1 and 0."""

    TRUE = "true"
    FALSE = "false"

    def __repr__(self) -> str:
        return self.value

    def __bool__(self) -> bool:
        return self is Truth.TRUE


class FrozenMap(Mapping[str, object]):
    """A dictionary that can be part of a state."""

    __slots__ = ("_hash", "_items")

    def __init__(self, items: Mapping[str, object]) -> None:
        self._items: Final = dict(items)
        self._hash: Final = hash(frozenset(self._items.items()))

    def __getitem__(self, name: str) -> object:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FrozenMap) and self._items == other._items

    def __repr__(self) -> str:
        return repr(self._items)


def frozen(value: object) -> object:
    """Return the value with tuples for lists and `FrozenMap`s for dictionaries, all through."""
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return tuple(frozen(part) for part in value)
    if isinstance(value, set | frozenset):
        return frozenset(frozen(part) for part in value)
    if isinstance(value, Mapping) and not isinstance(value, FrozenMap):
        return FrozenMap({str(name): frozen(part) for name, part in value.items()})
    return value


def exact(value: object) -> object:
    """Return the value frozen, and with `Truth` for True and False; 1 and 1.0 stay one number."""
    if isinstance(value, bool):
        return Truth.TRUE if value else Truth.FALSE
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, list | tuple):
        return tuple(exact(part) for part in value)
    if isinstance(value, set | frozenset):
        return frozenset(exact(part) for part in value)
    if isinstance(value, Mapping) and not isinstance(value, FrozenMap):
        return FrozenMap({str(name): exact(part) for name, part in value.items()})
    return value


def told_truth(result: object) -> bool | None:
    """Return the truth value that an operation was answered with; None: its answer is no such."""
    return bool(result) if isinstance(result, bool | Truth) else None


def number(value: object, what: str, *, line: int | None = None) -> int | float:
    """Return the value. Raises `HistoryError` when it is not a number."""
    if isinstance(value, bool | Truth) or not isinstance(value, int | float):
        raise HistoryError(f"{what} is {value!r}: it must be a number", line=line)
    return value


def elements(value: object, what: str, *, line: int | None = None) -> frozenset[Hashable]:
    """Return the elements of a list. Raises `HistoryError` when it is none."""
    if not isinstance(value, list | tuple | set | frozenset):
        raise HistoryError(f"{what} is {value!r}: it must be a list", line=line)
    parts = exact(tuple(value))
    assert isinstance(parts, tuple)
    return frozenset(parts)


def typed(value: object) -> Hashable:
    """Return the value so that only the same value of the same type equals it: True is not 1.

    What cannot be hashed is returned as it is.
    """
    if isinstance(value, bool | float):
        return (type(value), value)
    if isinstance(value, tuple):
        return (tuple, *map(typed, value))
    return value
