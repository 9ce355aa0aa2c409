"""Whether a state that was encoded and decoded is what it was, in values, types, order and sharing.

Encodings forget: a `defaultdict` comes back as a dict, a date in Rome as one in UTC, and an object
that was reached from two places comes back as two. A replica that went on from there would give
other answers than one that has the original. So every snapshot is decoded again before anybody
relies on it, and compared; once it was taken the log is gone, and it would be too late.

One thing is remembered instead of refused, for everybody does it: an int where a float is declared,
`balance: float = 0`. It would come back as a float, so the snapshot says which floats were ints:
by their numbers, in the order in which both walks of this module meet the floats of a state.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from liferaft.errors import ConfigurationError

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
"""What msgpack itself knows: equal types mean equal values, for they come from the same bytes."""

_MISSING: Final = object()

Place: TypeAlias = str | tuple["Place", str, object]
"""Where in a state something is: put into words only where something is wrong."""

_ITEM, _KEY, _MEMBER, _FIELD = "{}[{!r}]", "the key {1!r} of {0}", "{1!r} in {0}", "{}.{}"


_Records: TypeAlias = Collection[object]


class _Kind(NamedTuple):
    """What is the same for all values of one type."""

    fields: tuple[str, ...]
    is_mutable: bool
    check: Callable[..., None]
    """The method of `Likeness` that compares two of them."""
    parts: Callable[[_Records], Iterable[object]] | None
    """Yields the fields of many records, one record after the other; None where there are none."""


class _Kinds:
    """Looks each type up once."""

    def __init__(self) -> None:
        self._known: dict[type, _Kind] = {}

    def of(self, found: type) -> _Kind:
        """Return what is the same for all values of the type."""
        kind = self._known.get(found)
        if kind is None:
            fields = tuple(_field_names(found))
            check = _check_for(found, fields)
            parts = _parts_of(found, fields) if check is Likeness.check_fields else None
            kind = _Kind(fields, _is_mutable(found), check, parts)
            self._known[found] = kind
        return kind


class Likeness:
    """Compares, over all of one snapshot: what two parts of the state share would be parted.

    The objects that it is given must live as long as it does. `may_share` is for a state whose
    class puts together again by itself what was one.
    """

    def __init__(self, *, may_share: bool = False) -> None:
        self._may_share = may_share
        self._seen: set[int] = set()
        self._kinds = _Kinds()
        self._floats = 0
        self._ints: dict[int, int] = {}

    def compare(self, before: object, after: object, place: str) -> dict[int, int]:
        """Return the ints in `before` that are floats in `after`, by the numbers of those.

        Raises `ConfigurationError` when `after`, decoded from what encodes `before`, differs in
        anything else.
        """
        self._floats, self._ints = 0, {}
        self._check(before, after, place)
        return self._ints

    def _check(self, before: object, after: object, place: Place) -> None:
        found = type(before)
        if isinstance(before, int) and found is int and type(after) is float:
            self._ints[self._floats] = before
            self._floats += 1
            return
        if found is not type(after):
            came_back = type(after).__qualname__
            raise _unlike(place, f"is of the type {found.__qualname__}, comes back as {came_back}")
        if found in _PLAIN:
            self._floats += found is float
            return
        kind = self._kinds.of(found)
        if kind.is_mutable:
            self.note(before, place)
        kind.check(self, before, after, place)

    def note(self, value: object, place: Place) -> None:
        """Raise `ConfigurationError` when `value`, which can be changed, was met before."""
        if id(value) in self._seen and not self._may_share:
            raise _unlike(
                place,
                f"is a {type(value).__qualname__} that another part of the state holds too, and "
                "comes back as one of its own",
            )
        self._seen.add(id(value))

    def check_dicts(
        self, before: dict[object, object], after: dict[object, object], place: Place
    ) -> None:
        """Compare two dicts."""
        self._check_elements(tuple(before), tuple(after), place, _KEY)
        if not self._are_alike(before.values(), after.values()):
            for (key, one), other in zip(before.items(), after.values(), strict=True):
                self._check(one, other, (place, _ITEM, key))

    def check_sequences(
        self, before: Collection[object], after: Collection[object], place: Place
    ) -> None:
        """Compare two lists or tuples."""
        self._check_elements(before, after, place, _ITEM)

    def _check_elements(
        self, before: Collection[object], after: Collection[object], place: Place, words: str
    ) -> None:
        _check_length(before, after, place)
        if self._are_alike(before, after):
            return
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            self._check(one, other, (place, words, one if words is _KEY else index))

    def check_sets(
        self,
        before: set[object] | frozenset[object],
        after: set[object] | frozenset[object],
        place: Place,
    ) -> None:
        """Compare two sets."""
        _check_length(before, after, place)
        # The order of a set is no part of the state, so equal members are what belongs together.
        by_value = {each: each for each in after}
        ints = len(self._ints)
        for each in before:
            other = by_value.get(each, _MISSING)
            if other is _MISSING:
                raise _unlike(place, f"comes back without {each!r}")
            self._check(each, other, (place, _MEMBER, each))
        if len(self._ints) > ints:
            raise _unlike(place, "has an int where a float is declared, which a set does not keep")

    def check_fields(self, before: object, after: object, place: Place) -> None:
        """Compare two records."""
        names = _names_in(self._kinds.of(type(before)), before, after)
        ones = [getattr(before, name, _MISSING) for name in names]
        others = [getattr(after, name, _MISSING) for name in names]
        if self._are_plain(ones, others):
            return
        for name, one, other in zip(names, ones, others, strict=True):
            self._check(one, other, (place, _FIELD, name))

    def check_texts(self, before: object, after: object, place: Place) -> None:
        """Compare what its text says all of: a date with its zone, a member of an enum."""
        if repr(before) != repr(after):
            raise _unlike(place, f"is {before!r}, comes back as {after!r}")

    def _are_alike(self, before: Collection[object], after: Collection[object]) -> bool:
        """Return whether all is as it was, at the speed of C; False where that takes longer."""
        return self._are_plain(before, after) or self._are_plain_records(before, after)

    def _are_plain_records(self, before: _Records, after: _Records) -> bool:
        found = type(next(iter(before)))
        kind = self._kinds.of(found)
        if kind.parts is None or {*map(type, before), *map(type, after)} != {found}:
            return False
        seen = set(map(id, before)) if kind.is_mutable else set()
        if kind.is_mutable and (len(seen) < len(before) or not seen.isdisjoint(self._seen)):
            return False
        try:
            ones, others = [*kind.parts(before)], [*kind.parts(after)]
        except (AttributeError, KeyError):
            return False
        if not self._are_plain(ones, others):
            return False
        self._seen |= seen
        return True

    def _are_plain(self, before: Collection[object], after: Collection[object]) -> bool:
        """Return whether all is plain and as it was."""
        kinds = list(map(type, before))
        if not _PLAIN.issuperset(kinds) or kinds != list(map(type, after)):
            return False
        self._floats += kinds.count(float)
        return True


def restore_ints(value: object, ints: Mapping[int, int]) -> object:
    """Return a decoded state with those of its floats as ints that `compare` told of."""
    return _Restorer(ints).restored(value) if ints else value


class _Restorer:
    """Walks as `Likeness` does."""

    def __init__(self, ints: Mapping[int, int]) -> None:
        self._ints = ints
        self._kinds = _Kinds()
        self._floats = 0

    def restored(self, value: object) -> object:
        """Return the value itself, changed, or where it cannot be changed another one."""
        if type(value) is float:
            self._floats += 1
            return self._ints.get(self._floats - 1, value)
        if isinstance(value, dict):
            keys, values = self._all(value), self._all(value.values())
            value.clear()
            value.update(zip(keys, values, strict=True))
        elif isinstance(value, list):
            value[:] = self._all(value)
        elif isinstance(value, tuple):
            parts = self._all(value)
            return type(value)._make(parts) if hasattr(value, "_make") else tuple(parts)
        elif isinstance(value, set | frozenset):
            self._all(value)  # only to go on with the right number
        elif self._kinds.of(type(value)).fields:
            self._restore_fields(value)
        return value

    def _all(self, values: Collection[object]) -> list[object]:
        return [self.restored(each) for each in values]

    def _restore_fields(self, value: object) -> None:
        for name in _names_in(self._kinds.of(type(value)), value):
            part = self.restored(getattr(value, name))
            # What is frozen is frozen for those who use it.
            if isinstance(value, msgspec.Struct):
                msgspec.structs.force_setattr(value, name, part)
            else:
                object.__setattr__(value, name, part)


def _unlike(place: Place, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"a snapshot would not bring the state back as it is: {_in_words(place)} {what}"
    )


def _in_words(place: Place) -> str:
    if isinstance(place, str):
        return place
    parent, words, part = place
    return words.format(_in_words(parent), part)


def _check_length(before: Collection[object], after: Collection[object], place: Place) -> None:
    if len(before) != len(after):
        raise _unlike(place, f"has {len(before)} elements, comes back with {len(after)}")


def _names_in(kind: _Kind, *values: object) -> tuple[str, ...]:
    """Return the names of the declared fields, and of what was put beside them."""
    beside = {name for value in values for name in getattr(value, "__dict__", ())}
    beside.difference_update(kind.fields)
    return (*kind.fields, *sorted(beside)) if beside else kind.fields


def _field_names(found: type) -> Iterator[str]:
    if issubclass(found, msgspec.Struct):
        yield from found.__struct_fields__
    elif dataclasses.is_dataclass(found):
        yield from (field.name for field in dataclasses.fields(found))
    else:
        yield from (field.name for field in getattr(found, "__attrs_attrs__", ()))


def _check_for(found: type, fields: tuple[str, ...]) -> Callable[..., None]:
    if issubclass(found, dict):
        return Likeness.check_dicts
    if issubclass(found, (list, tuple)):
        return Likeness.check_sequences
    if issubclass(found, (set, frozenset)):
        return Likeness.check_sets
    return Likeness.check_fields if fields else Likeness.check_texts


def _parts_of(found: type, fields: tuple[str, ...]) -> Callable[[_Records], Iterable[object]]:
    """Return what yields the fields of records.

    It raises `AttributeError` or `KeyError` where one has not all of them, or has others beside.
    """
    if not found.__dictoffset__:
        get = attrgetter(*fields)
        return lambda records: _flat(map(get, records), fields)
    take = itemgetter(*fields)

    def parts(records: _Records) -> Iterable[object]:
        attributes = [vars(record) for record in records]
        if {*map(len, attributes)} != {len(fields)}:
            raise AttributeError("a record has more attributes than fields, or fewer")
        return _flat(map(take, attributes), fields)

    return parts


def _flat(rows: Iterable[Any], fields: tuple[str, ...]) -> Iterable[object]:
    # Of a single field these getters give the value itself.
    return rows if len(fields) == 1 else chain.from_iterable(rows)


def _is_mutable(found: type) -> bool:
    if issubclass(found, msgspec.Struct):
        return not found.__struct_config__.frozen
    if dataclasses.is_dataclass(found):
        return not getattr(getattr(found, "__dataclass_params__", None), "frozen", False)
    return found.__hash__ is None
