"""The state of a replicated object as bytes: what digests are taken of.

An object's state is what its `snapshot()` returns, where it has one, or else its attributes. It
must be made of what msgspec can encode. The order of a dictionary is part of the state, as methods
can see it, and the same on every replica; the order of a set is neither, and is fixed here.

These bytes are compared, never decoded: what is to come back is encoded by `restoring`.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from liferaft.errors import ConfigurationError
from liferaft.replicated.sessions import Session

ItemT = TypeVar("ItemT")

_encode: Final = msgspec.msgpack.Encoder().encode

OWN_STATE_METHODS: Final = frozenset({"snapshot", "restore"})
"""A class that has both says itself what its state is; clients cannot call them."""

_SCALARS: Final = (str, bytes, int, float, type(None))

DIGEST_BYTES: Final = 16
"""128 bits: two different states never meet by chance."""


def encoded_state(name: str, instance: object) -> bytes:
    """Return the state of the object `name` as bytes, the same for equal states.

    Raises `ConfigurationError` when its state cannot be encoded.
    """
    owner: Any = instance
    try:
        has_snapshot = callable(getattr(type(instance), "snapshot", None))
        return _encode(_ordered(owner.snapshot() if has_snapshot else vars(instance)))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _not_encodable(name, instance, error) from error


PIECE_ITEMS: Final = 1024
"""How much of a large dictionary or list is encoded at a time: a state of any size fits."""


def encoded_pieces(
    name: str, instance: object, shapes: Mapping[str, str]
) -> Iterator[tuple[str, bytes]]:
    """Yield the state of the object `name` in small pieces, each with the part that it is of.

    Equal states give equal pieces. A part is an attribute of one type, which `shapes` tells from
    others: of two versions of a class no more is compared than is the same in both. The order of
    attributes does not count, for one that a new version added is at the end where a snapshot was
    restored. Raises `ConfigurationError` as `encoded_state` does.
    """
    owner: Any = instance
    try:
        if callable(getattr(type(instance), "snapshot", None)):
            parts = {"snapshot()": owner.snapshot()}
        else:
            parts = dict(sorted(vars(instance).items()))
        for part, value in parts.items():
            named = f"{name}.{part}#{shapes.get(part, '')}"
            for piece in _pieces(value):
                yield named, piece
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _not_encodable(name, instance, error) from error


def encoded_sessions(sessions: Mapping[bytes, Session]) -> Iterator[bytes]:
    """Yield the sessions in small pieces: of their replies only that they are there."""
    for batch in _batches(sessions.items()):
        yield _encode(
            [
                (key, session.last_active_wall, session.acked_below, tuple(session.replies))
                for key, session in batch
            ]
        )


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        yield _encode(("items", len(value)))
        for batch in _batches(value.items()):
            yield _encode([(_ordered_key(key), _ordered(each)) for key, each in batch])
    elif isinstance(value, (list, tuple)):
        yield _encode(("elements", len(value)))
        for elements in _batches(value):
            yield _encode([_ordered(each) for each in elements])
    else:
        yield _encode(_ordered(value))


def _batches(items: Iterable[ItemT]) -> Iterator[list[ItemT]]:
    source = iter(items)
    while batch := list(islice(source, PIECE_ITEMS)):
        yield batch


def _not_encodable(name: str, instance: object, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"the state of {name} ({type(instance).__qualname__}) cannot be encoded: {error}; "
        "keep to types that msgspec knows, or give the class snapshot() and restore(state)"
    )


def has_own_state(instance: object) -> bool:
    """Return whether the class says itself what its state is, by `snapshot()` and `restore()`.

    Raises `ConfigurationError` when it has only one of them.
    """
    cls = type(instance)
    missing = [name for name in OWN_STATE_METHODS if not callable(getattr(cls, name, None))]
    if len(missing) == 1:
        (present,) = OWN_STATE_METHODS - set(missing)
        raise ConfigurationError(
            f"{cls.__qualname__} has {present}() and no {missing[0]}(): these two say "
            "what the state is and take it back; have both, or give the one another name"
        )
    return not missing


def digest_of(states: Mapping[str, bytes], sessions: Mapping[bytes, Session]) -> str:
    """Return one digest, in hex, of all objects' states and of the sessions."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    digest.update(_encode((states, sessions)))
    return digest.hexdigest()


def _ordered(value: Any) -> Any:
    """Return the value with each set in it as a list in the order of its elements' bytes."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, dict):
        return {_ordered_key(key): _ordered(each) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(_encode(_ordered(each)) for each in value)
    if isinstance(value, (list, tuple)):
        return [_ordered(each) for each in value]
    names = _field_names(value)
    return {name: _ordered(getattr(value, name)) for name in names} if names else value


def _ordered_key(key: Any) -> Any:
    """Return the key, as bytes where a set may be in it."""
    return key if isinstance(key, _SCALARS) else _encode(_ordered(key))


def _field_names(value: Any) -> tuple[str, ...]:
    """Return the names of the fields of a Struct or a dataclass; of anything else, none."""
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return tuple(field.name for field in dataclasses.fields(value))
    return ()
