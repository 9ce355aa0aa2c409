"""Annotations of what travels by reference: interfaces, and functions as `Callable`.

A reference may be a parameter, a result, or lie within lists, tuples and dictionaries of them. On
the wire it is an integer. `Walk` finds the references in a value that has such an annotation;
whoever walks says what becomes of each. Nothing here knows of stubs or connections.
"""

import functools
import inspect
import types
import typing
from collections import abc
from collections.abc import Callable
from typing import Any, Final

from msgspec import inspect as msgspec_types

Take = Callable[["ReferenceTarget", Any], Any]
"""Is given each reference with what it must be, and gives what is to stand in its place."""

Walk = Callable[[Any, Take], Any]
"""Gives a value with other references in it."""

CLASSES_KEPT: Final = 1_024
"""Interfaces that are reflected once; whoever takes in more, described by hosts, must not grow."""

_MANY: Final = (list, abc.Sequence, abc.Collection, abc.MutableSequence)
_MAPS: Final = (dict, abc.Mapping, abc.MutableMapping)
_AWAITED: Final = (abc.Awaitable, abc.Coroutine)


class ReferenceTarget:
    """What a reference must lead to: an object with an interface, or a function.

    `interface_class` declares it; a function's has one method, `call`.
    """

    def __init__(self, name: str, interface_class: type, *, is_function: bool) -> None:
        self.name = name
        self.interface_class = interface_class
        self.is_function = is_function
        # Stands for the target where types are written as text; see `liferaft.rpc.typetext`.
        self.marker = type(name, (Marker,), {"target": self})

    @staticmethod
    def of(hint: Any) -> "ReferenceTarget | None":
        """Return what an annotation of a reference says, or None for another annotation."""
        if typing.get_origin(hint) is abc.Callable and _is_closed(hint):
            return _function_target(hint)
        if isinstance(hint, type) and typing.get_origin(hint) is None:
            return _class_target(hint)
        return None


class Marker:
    """The base of the classes that stand for references in written types."""

    target: ReferenceTarget


@functools.lru_cache(maxsize=CLASSES_KEPT)
def _class_target(cls: type) -> ReferenceTarget | None:
    try:
        known = msgspec_types.type_info(cls)
    except (TypeError, ValueError, NameError, RecursionError):
        return None  # it cannot travel as a value either, which is said elsewhere
    if not isinstance(known, msgspec_types.CustomType) or not _has_methods(cls):
        return None
    return ReferenceTarget(cls.__name__, cls, is_function=False)


def _has_methods(cls: type) -> bool:
    """Return whether a class may be an interface: it has annotated public methods of Python."""
    owners = [each for each in cls.__mro__ if each not in (object, typing.Protocol, typing.Generic)]
    return any(
        inspect.isfunction(value) and "return" in value.__annotations__
        for owner in owners
        for name, value in vars(owner).items()
        if not name.startswith("_")
    )


def _is_closed(hint: Any) -> bool:
    parts = typing.get_args(hint)
    return len(parts) == 2 and isinstance(parts[0], list)


@functools.lru_cache(maxsize=CLASSES_KEPT)
def _function_target_of(parameters: tuple[Any, ...], result: Any) -> ReferenceTarget:
    is_async = typing.get_origin(result) in _AWAITED
    if is_async:
        result = typing.get_args(result)[-1]

    async def awaited(self: object, /, *_args: object) -> Any:
        raise NotImplementedError

    def blocking(self: object, /, *_args: object) -> Any:
        raise NotImplementedError

    call: Any = awaited if is_async else blocking
    names = [f"value{number}" for number in range(1, len(parameters) + 1)]
    kind = inspect.Parameter.POSITIONAL_ONLY
    listed = [inspect.Parameter("self", kind)]
    listed += [
        inspect.Parameter(name, kind, annotation=hint)
        for name, hint in zip(names, parameters, strict=True)
    ]
    call.__name__, call.__qualname__ = "call", "Callable.call"
    call.__annotations__ = dict(zip(names, parameters, strict=True)) | {"return": result}
    signature = inspect.Signature(listed, return_annotation=result)
    call.__signature__ = signature
    return ReferenceTarget("Callable", type("Callable", (), {"call": call}), is_function=True)


def _function_target(hint: Any) -> ReferenceTarget:
    parameters, result = typing.get_args(hint)
    key: Any = type(None) if result is None else result
    return _function_target_of(tuple(parameters), key)


def walk_of(hint: Any) -> Walk | None:  # noqa: PLR0911 - one return for each kind of annotation
    """Return what walks over the references in values of `hint`, or None where there are none.

    Raises `TypeError` for an annotation that has references where they cannot be.
    """
    target = ReferenceTarget.of(hint)
    if target is not None:
        return lambda value, take: take(target, value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return walk_of(arguments[0])
    walks = [None if each is Ellipsis else walk_of(each) for each in arguments]
    if not any(walks):
        return None
    if origin in (typing.Union, types.UnionType):
        return _optional(hint, walks)
    if origin in _MANY or (origin is tuple and arguments[-1] is Ellipsis):
        (walk, *_) = walks
        assert walk is not None
        return lambda value, take: [walk(each, take) for each in value]
    if origin is tuple:
        return lambda value, take: [
            each if walk is None else walk(each, take)
            for each, walk in zip(value, walks, strict=True)
        ]
    if origin in _MAPS and walks[0] is None and walks[1] is not None:
        return _map_walk(walks[1])
    raise TypeError(f"{hint} has references where they cannot be")


def _map_walk(walk: Walk) -> Walk:
    return lambda value, take: {key: walk(each, take) for key, each in value.items()}


def _optional(hint: Any, walks: list[Walk | None]) -> Walk:
    walk, *others = [each for each in walks if each is not None]
    if others or len(walks) != 2 or type(None) not in typing.get_args(hint):
        raise TypeError(f"{hint}: what travels by reference can be left out, but nothing else")
    return lambda value, take: None if value is None else walk(value, take)


def replaced(hint: Any, replace: Callable[[ReferenceTarget], Any]) -> Any:
    """Return `hint` with something in the place of each annotation of a reference."""
    target = ReferenceTarget.of(hint)
    if target is not None:
        return replace(target)
    if walk_of(hint) is None:
        return hint
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return replaced(arguments[0], replace)
    parts = tuple(each if each is Ellipsis else replaced(each, replace) for each in arguments)
    if origin in (typing.Union, types.UnionType):
        return typing.Union[parts]  # noqa: UP007 - of as many as there are
    return origin[parts]
