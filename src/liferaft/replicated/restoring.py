"""The state of one object, piece by piece: encoded for a snapshot, decoded, and put back.

A plain object's pieces are its attributes, each with its declared type. A class with `snapshot()`
and `restore(state)` of its own has one piece, with the type of `restore`'s parameter. Either is
tried on the first state: what would not come back is refused before the node starts.

Invariant: an object that was put back has the same pieces in the same order as when it was encoded.
"""

import inspect
import zlib
from collections.abc import Iterator
from typing import Any, Final, TypeAlias, get_type_hints

import msgspec

from liferaft.errors import ConfigurationError, InvariantViolated
from liferaft.replicated.annotations import declared_types, shared_by_all
from liferaft.replicated.likeness import Likeness, restore_ints
from liferaft.replicated.state import encoded_state, has_own_state
from liferaft.replicated.state_types import WHAT_TO_DO, refuse_unfaithful
from liferaft.rpc.typetext import TypeWriter, UnsupportedType

Pieces: TypeAlias = dict[str, object]
"""The decoded pieces of one object, by their names, in their order."""

OWN_STATE: Final = "snapshot()"
"""The name of the one piece of a class that says itself what its state is."""

_Decoder: TypeAlias = msgspec.msgpack.Decoder[tuple[Any, dict[int, int]]]
"""A piece is a value, and which of its floats are ints: see `likeness`."""

_encode: Final = msgspec.msgpack.Encoder().encode

_NUMBER: Final = bool | int | float
_TYPE_OF_FIRST_VALUE: Final[dict[type, object]] = {
    bool: _NUMBER,
    int: _NUMBER,
    float: _NUMBER,
    str: str,
    bytes: bytes,
}
"""What an attribute without annotation may hold: a count that begins as 0 may become 0.5."""

_HEAP_TYPE: Final = 1 << 9
"""The flag of a class that was made by a class statement (Py_TPFLAGS_HEAPTYPE)."""


class PlainState:
    """The attributes of an object whose class says nothing else."""

    def __init__(self, instance: object) -> None:
        self._instance: Final = instance
        self.class_name: Final = type(instance).__qualname__
        _refuse_what_vars_does_not_show(instance)
        self._hints: Final = declared_types(type(instance))
        self._decoders: Final[dict[str, _Decoder]] = {}
        for name, value in vars(instance).items():
            self._add_type(name, value)
        for name in self._hints.keys() - self._decoders.keys():
            # An attribute that is not there yet: its type counts when it comes.
            self._decoders[name] = self._decoder(name)
        self.shapes: Final = {name: _shape(self._hints[name]) for name in self._decoders}
        """What tells one type from another, for each piece that there may be."""
        self.first: Final = _first_of(self)

    def names(self) -> tuple[str, ...]:
        """Return the names of the pieces, in their order."""
        return tuple(vars(self._instance))

    def absent(self) -> tuple[str, ...]:
        """Return the names of the attributes that could be there and are not."""
        return tuple(sorted(self._decoders.keys() - vars(self._instance).keys()))

    def pieces(self, likeness: Likeness) -> Iterator[bytes]:
        """Yield the pieces, encoded, in the order of `names`.

        Raises `ConfigurationError` when one would not come back as it is.
        """
        likeness.note(self._instance, self.class_name)
        for name, value in vars(self._instance).items():
            where = f"{self.class_name}.{name}"
            decoder = self._decoders.get(name)
            if decoder is None:
                raise ConfigurationError(
                    f"{where} came after the object was made, and has no type: {WHAT_TO_DO}"
                )
            yield _proven(value, decoder, where, likeness)

    def decode(self, name: str, body: bytes) -> object:
        """Return one piece; raises `ConfigurationError` when the class has none such."""
        decoder = self._decoders.get(name)
        if decoder is None:
            raise ConfigurationError(
                f"the snapshot has {self.class_name}.{name}, and the class has no such attribute "
                "here: start the node with the class that the snapshot was made with"
            )
        return _decode(decoder, body, f"{self.class_name}.{name}")

    def install(self, pieces: Pieces) -> None:
        """Replace the attributes; whoever holds the object sees the new ones."""
        attributes = vars(self._instance)
        attributes.clear()
        attributes.update(pieces)

    def _add_type(self, name: str, value: object) -> None:
        if name not in self._hints and type(value) in _TYPE_OF_FIRST_VALUE:
            self._hints[name] = _TYPE_OF_FIRST_VALUE[type(value)]
        if name not in self._hints:
            raise ConfigurationError(
                f"{self.class_name}.{name} could not be restored from a snapshot, for it is a "
                f"{type(value).__qualname__} without annotation: {WHAT_TO_DO}"
            )
        self._decoders[name] = self._decoder(name)

    def _decoder(self, name: str) -> _Decoder:
        return _decoder_for(f"{self.class_name}.{name}", self._hints[name])


class OwnState:
    """What a class with `snapshot()` and `restore(state)` says that its state is."""

    def __init__(self, instance: Any) -> None:
        self._instance: Final = instance
        self.class_name: Final = type(instance).__qualname__
        self._where: Final = f"{self.class_name}.{OWN_STATE}"
        restored = _restored_type(type(instance))
        self._decoder: Final = _decoder_for(self._where, restored)
        self.shapes: Final = {OWN_STATE: _shape(restored)}
        self.first: Final = _first_of(self)
        self._try_to_restore()

    def names(self) -> tuple[str, ...]:
        """Return the name of the only piece."""
        return (OWN_STATE,)

    def absent(self) -> tuple[str, ...]:
        """Return nothing: the piece is always there."""
        return ()

    def pieces(self, likeness: Likeness) -> Iterator[bytes]:
        """Yield what `snapshot()` says, encoded.

        Raises `ConfigurationError` when that would not come back as it is.
        """
        likeness.note(self._instance, self.class_name)
        try:
            state = self._instance.snapshot()
        except Exception as error:
            raise ConfigurationError(f"{self._where} failed: {error!r}") from error
        # What its parts share is known to restore(), which puts them together.
        yield _proven(state, self._decoder, self._where, Likeness(may_share=True))

    def decode(self, name: str, body: bytes) -> object:
        """Return the only piece; raises `ConfigurationError` when the snapshot has another."""
        if name != OWN_STATE:
            raise ConfigurationError(
                f"the snapshot has {self.class_name}.{name}, and the class has {OWN_STATE} here: "
                "start the node with the class that the snapshot was made with"
            )
        return _decode(self._decoder, body, self._where)

    def install(self, pieces: Pieces) -> None:
        """Call `restore(state)`; where that fails, nobody knows what the object's state is."""
        try:
            self._instance.restore(pieces[OWN_STATE])
        except Exception as error:
            raise InvariantViolated(
                f"{self.class_name}.restore() failed on what {OWN_STATE} gave: {error!r}"
            ) from error

    def _try_to_restore(self) -> None:
        before = encoded_state(self.class_name, self._instance)
        try:
            self.install({OWN_STATE: self.decode(OWN_STATE, self.first[OWN_STATE])})
        except InvariantViolated as error:
            raise ConfigurationError(str(error)) from error
        if encoded_state(self.class_name, self._instance) != before:
            raise ConfigurationError(
                f"{self.class_name}.restore() does not bring back what {OWN_STATE} gave: after it, "
                "the first state is another one"
            )


ObjectState: TypeAlias = PlainState | OwnState


def state_of(instance: object) -> ObjectState:
    """Return what encodes and restores an object.

    Raises `ConfigurationError` when the object, in its first state, could not be restored.
    """
    return OwnState(instance) if has_own_state(instance) else PlainState(instance)


def _first_of(state: ObjectState) -> dict[str, bytes]:
    return dict(zip(state.names(), state.pieces(Likeness()), strict=True))


def _decoder_for(where: str, hint: Any) -> _Decoder:
    refuse_unfaithful(where, hint)
    return msgspec.msgpack.Decoder(tuple[hint, dict[int, int]])


def _shape(hint: object) -> str:
    """Return what is the same for equal types, fields of records included, in every process.

    Empty for a type that cannot be written down as text.
    """
    writer = TypeWriter(_no_reference)
    try:
        text = writer.write(hint) + writer.definitions()
    except UnsupportedType:
        return ""
    return f"{zlib.crc32(text.encode()):08x}"


def _no_reference(_writer: TypeWriter, _target: object) -> str:
    raise UnsupportedType("a state has no references")


def _proven(value: object, decoder: _Decoder, where: str, likeness: Likeness) -> bytes:
    """Return the value as a piece, after making sure that it comes back as it is."""
    try:
        body = _encode((value, {}))
        after, _ = decoder.decode(body)
        ints = likeness.compare(value, after, where)
        return _encode((value, ints)) if ints else body
    except ConfigurationError:
        raise
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigurationError(
            f"{where} could not be restored from a snapshot: {error}; {WHAT_TO_DO}"
        ) from error


def _decode(decoder: _Decoder, body: bytes, where: str) -> object:
    try:
        return restore_ints(*decoder.decode(body))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"the snapshot's {where} does not fit the class: {error}; start the node with the "
            "class that the snapshot was made with"
        ) from error


def _restored_type(cls: type) -> object:
    """Return the annotation of `restore`'s only parameter."""
    where = f"{cls.__qualname__}.restore"
    restore = inspect.getattr_static(cls, "restore")
    try:
        _, parameter = inspect.signature(restore).parameters.values()
        return get_type_hints(restore, include_extras=True)[parameter.name]
    except (TypeError, ValueError, KeyError, NameError) as error:
        raise ConfigurationError(
            f"{where} must be a method restore(self, state: ...) whose parameter is annotated "
            f"with the type of what snapshot() returns: {error!r}"
        ) from error


def _refuse_what_vars_does_not_show(instance: object) -> None:
    """Raise `ConfigurationError` when part of the object's state is elsewhere than in `vars`."""
    cls = type(instance)
    hidden = ""
    if any(map(_is_container, cls.__mro__)):
        hidden = "in a built-in type that it derives from: hold one in an attribute instead"
    elif any(map(_slots_of, cls.__mro__)) or not hasattr(instance, "__dict__"):
        hidden = "in __slots__: take them out"
    else:
        for name in shared_by_all(cls) - vars(instance).keys():
            hidden = f"in {name}, which all of its objects share: make it in __init__"
    if hidden:
        raise ConfigurationError(
            f"{cls.__qualname__} keeps state {hidden}, or give the class snapshot() and "
            "restore(state)"
        )


def _slots_of(cls: type) -> set[str]:
    slots = vars(cls).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else slots
    return set(names) - {"__dict__", "__weakref__"}


def _is_container(cls: type) -> bool:
    """Return whether the class is built in, or in msgspec, and holds more than attributes."""
    is_built_in = not cls.__flags__ & _HEAP_TYPE
    return cls is msgspec.Struct or (is_built_in and cls.__basicsize__ > object.__basicsize__)
