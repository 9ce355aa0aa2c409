"""A class reflected once into the signatures of its methods; every fault named Class.method(x).

Attributes, annotations, private names and nested classes are none of an interface's business. A
generic class is reflected with its arguments, and of a method's overloads the first counts. Nothing
here runs a method.
"""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from liferaft.errors import InterfaceError
from liferaft.rpc.buffers import may_be_large
from liferaft.rpc.codec import ArgumentsCodec, ExceptionCodec
from liferaft.rpc.interface import (
    ONEWAY,
    RAISES,
    ROLES,
    Interface,
    ItemCodec,
    MethodSignature,
    StreamType,
)
from liferaft.rpc.reference_types import CLASSES_KEPT, ReferenceTarget, Walk, replaced, walk_of
from liferaft.rpc.typetext import TypeWriter, UnsupportedType

_NOT_INTERFACES = (object, typing.Protocol, typing.Generic)
_KINDS_REFUSED = (property, functools.cached_property, staticmethod, classmethod)

Bindings = Mapping[Any, Any]
"""What stands for the type variables of a class."""


class _Found(NamedTuple):
    """A method as a class has it, and what its owner's type variables stand for."""

    function: Callable[..., Any]
    bindings: Bindings

    def hints(self, where: str) -> dict[str, Any]:
        """Return the resolved annotations; raises `InterfaceError`."""
        try:
            hints = typing.get_type_hints(self.function, include_extras=True)
        except (NameError, AttributeError, TypeError, SyntaxError) as error:
            raise InterfaceError(f"{where}: an annotation cannot be resolved: {error}") from error
        return {name: _bound(hint, self.bindings) for name, hint in hints.items()}


def reflect(declaring: Any) -> Interface:
    """Return the interface that a class declares, or a generic one with its arguments."""
    origin = typing.get_origin(declaring)
    if isinstance(origin, type):
        return _reflect(origin, typing.get_args(declaring))
    if not isinstance(declaring, type):
        raise InterfaceError(f"{declaring!r} is no class: an interface is a class with methods")
    return _reflect(declaring, ())


@functools.lru_cache(maxsize=CLASSES_KEPT)
def _reflect(cls: type, arguments: tuple[Any, ...]) -> Interface:
    methods = {
        name: _reflect_method(cls, name, found)
        for name, found in _functions(cls, arguments).items()
    }
    if not methods:
        raise InterfaceError(f"{cls.__name__} has no public methods: nothing could be called")
    return Interface(cls.__name__, cls, methods)


def _functions(cls: type, arguments: tuple[Any, ...] = ()) -> dict[str, _Found]:
    """Return the public methods of a class, those of its bases first."""
    bindings = _bindings_by_owner(cls, arguments)
    names: dict[str, type] = {}
    for owner in reversed(cls.__mro__):
        if owner not in _NOT_INTERFACES:
            names |= {n: owner for n in vars(owner) if not n.startswith("_")}
    found: dict[str, _Found] = {}
    for name, owner in names.items():
        value = vars(owner)[name]
        if _is_method(f"{cls.__name__}.{name}", value):
            found[name] = _Found(_first_overload(owner, name, value), bindings.get(owner, {}))
    return found


def _bindings_by_owner(cls: Any, arguments: tuple[Any, ...]) -> dict[type, Bindings]:
    """Return what the type variables of a class and its bases stand for, by the class."""
    parameters = getattr(cls, "__parameters__", ())
    own = dict(zip(parameters, arguments, strict=False))
    found: dict[type, Bindings] = {cls: own}
    for base in getattr(cls, "__orig_bases__", cls.__bases__):
        origin = typing.get_origin(base) or base
        if isinstance(origin, type) and origin not in _NOT_INTERFACES:
            given = tuple(_bound(each, own) for each in typing.get_args(base))
            found |= _bindings_by_owner(origin, given)
    return found


def _bound(hint: Any, bindings: Bindings) -> Any:
    """Return an annotation with what its type variables stand for."""
    if isinstance(hint, TypeVar):
        return bindings.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if isinstance(hint, type) or not parameters or not bindings:
        return hint
    return hint[tuple(bindings.get(each, each) for each in parameters)]


def _first_overload(owner: type, name: str, function: Any) -> Callable[..., Any]:
    """Return the first overload of a method; of one without overloads the method itself."""
    where = types.SimpleNamespace(
        __module__=owner.__module__, __qualname__=f"{owner.__qualname__}.{name}"
    )
    overloads: Sequence[Callable[..., Any]] = typing.get_overloads(where)  # type: ignore[arg-type] # by its names only
    return overloads[0] if overloads else function


def _is_method(where: str, value: object) -> bool:
    if isinstance(value, _KINDS_REFUSED):
        kind = type(value).__name__
        raise InterfaceError(f"{where} is a {kind}: an interface has plain methods only")
    if isinstance(value, functools.partialmethod):
        raise InterfaceError(f"{where} is a partialmethod: write it as a method")
    return inspect.isfunction(value)


def _reflect_method(cls: type, name: str, found: _Found) -> MethodSignature:
    where, function = f"{cls.__name__}.{name}", found.function
    hints = found.hints(where)
    parameters = _parameters(where, function, hints)
    if "return" not in hints:
        raise InterfaceError(f"{where}: the return type is not annotated")
    result_items, argument_items = _streams(where, parameters, hints["return"])
    result_walk, argument_walks = _references(where, parameters, hints["return"])
    is_async = inspect.iscoroutinefunction(function)
    _check_streams(where, function, result_items, argument_items, is_async=is_async)
    if (result_items or argument_items) and (result_walk or argument_walks):
        raise InterfaceError(f"{where} has a stream: it takes and gives no reference, then")
    is_oneway = hasattr(function, ONEWAY)
    if is_oneway and (argument_items or argument_walks or hints["return"] is not type(None)):
        result = _write(f"{where} -> return", TypeWriter(_write_target), hints["return"])
        raise InterfaceError(
            f"{where} is one-way: it must return None, not {result}, and take no stream, nor a"
            " reference"
        )
    writer = TypeWriter(_write_target)
    text = _method_text(where, name, parameters, hints["return"], writer) + writer.definitions()
    hints_sent = [
        type(None) if place in argument_items else replaced(hint, _as_number)
        for place, (_, hint) in enumerate(parameters, 1)
    ]
    return MethodSignature(
        name=name,
        text=f"oneway {text}" if is_oneway else text,
        signature=inspect.Signature(
            [parameter.replace(annotation=hint) for parameter, hint in parameters],
            return_annotation=hints["return"],
        ),
        arguments=ArgumentsCodec(where, [p.name for p, _ in parameters], hints_sent),
        result_type=(replaced(hints["return"], _as_number) if result_items is None else type(None)),
        is_async=is_async or (result_items is not None and result_items.is_async),
        is_awaited=is_async,
        function=function,
        declared=_declared(cls, where, function),
        result_items=result_items,
        argument_items=argument_items,
        result_walk=result_walk,
        argument_walks=argument_walks,
        roles=_roles(cls, function),
        has_buffers=any(map(may_be_large, hints_sent)),
        gives_buffers=may_be_large(hints["return"]),
    )


def _roles(cls: type, function: Callable[..., Any]) -> frozenset[str]:
    """Return the roles of a method: its own, or those of the nearest class that has some."""
    for owner in (function, *cls.__mro__):
        found: frozenset[str] | None = vars(owner).get(ROLES)
        if found is not None:
            return found
    return frozenset()


def _as_number(_: ReferenceTarget) -> Any:
    """Return what stands for a reference on the wire."""
    return int


def _as_marker(target: ReferenceTarget) -> Any:
    return target.marker


def _references(
    where: str, parameters: Sequence[tuple[inspect.Parameter, Any]], result: Any
) -> tuple[Walk | None, dict[int, Walk]]:
    """Return what walks over the references in the result, and in the parameters."""
    try:
        argument_walks = {
            place: walk
            for place, (_, hint) in enumerate(parameters, 1)
            if (walk := walk_of(hint)) is not None
        }
        result_walk = walk_of(result)
    except TypeError as error:
        raise InterfaceError(f"{where}: {error}") from error
    return result_walk, argument_walks


def _write_target(writer: TypeWriter, target: ReferenceTarget) -> str:
    """Return the methods of an interface that travels by reference, or a function's signature."""
    texts = []
    for name, found in _functions(target.interface_class).items():
        where, function = f"{target.name}.{name}", found.function
        hints = found.hints(where)
        parameters = _parameters(where, function, hints)
        if "return" not in hints:
            raise InterfaceError(f"{where}: the return type is not annotated")
        text = _method_text(where, name, parameters, hints["return"], writer)
        texts.append(f"oneway {text}" if hasattr(function, ONEWAY) else text)
    if target.is_function:
        return f"Callable{texts[0].removeprefix('call')}"
    return f"{{{'; '.join(texts)}}}"


def _method_text(
    where: str,
    name: str,
    parameters: Sequence[tuple[inspect.Parameter, Any]],
    result: Any,
    writer: TypeWriter,
) -> str:
    written = [
        parameter.replace(annotation=_Text(_write(f"{where}({parameter.name})", writer, hint)))
        for parameter, hint in parameters
    ]
    return _signature_text(name, where, written, _write(f"{where} -> return", writer, result))


def _streams(
    where: str, parameters: Sequence[tuple[inspect.Parameter, Any]], result: Any
) -> tuple[ItemCodec | None, dict[int, ItemCodec]]:
    """Return the codecs of the streams of a method: its result's, and its parameters'."""
    returned = StreamType.of(result)
    argument_items = {
        place: ItemCodec(f"{where}({parameter.name})", stream)
        for place, (parameter, hint) in enumerate(parameters, 1)
        if (stream := StreamType.of(hint)) is not None
    }
    return returned and ItemCodec(f"{where} -> return", returned), argument_items


def _check_streams(
    where: str,
    function: Callable[..., Any],
    result_items: ItemCodec | None,
    argument_items: Mapping[int, ItemCodec],
    *,
    is_async: bool,
) -> None:
    """Raise `InterfaceError` where who must wait for what is not clear."""
    is_generator = inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function)
    if is_generator and result_items is None:
        raise InterfaceError(f"{where} is a generator: annotate what it returns as an iterator")
    waits = is_async or (result_items is not None and result_items.is_async)
    for items in (*argument_items.values(), *((result_items,) if result_items else ())):
        if items.is_async != waits:
            how, wanted = ("is awaited", "AsyncIterator") if waits else ("blocks", "Iterator")
            raise InterfaceError(f"{items.where}: this method {how}: annotate it {wanted}[...]")


def _parameters(
    where: str, function: Callable[..., Any], hints: Mapping[str, Any]
) -> list[tuple[inspect.Parameter, Any]]:
    """Return the parameters but for `self`, each with its resolved annotation."""
    found = list(inspect.signature(function).parameters.values())
    if not found or found[0].kind in (found[0].VAR_KEYWORD, found[0].KEYWORD_ONLY):
        raise InterfaceError(f"{where} has no self parameter")
    if found[0].kind is found[0].VAR_POSITIONAL:
        raise InterfaceError(
            f"{where}(*{found[0].name}): a method needs a parameter for each value"
        )
    for parameter in found[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise InterfaceError(
                f"{where}({stars}{parameter.name}): an open list of arguments has no signature"
            )
        if parameter.name not in hints:
            raise InterfaceError(f"{where}({parameter.name}): the parameter is not annotated")
    return [(parameter, hints[parameter.name]) for parameter in found[1:]]


def _write(where: str, writer: TypeWriter, hint: Any) -> str:
    if isinstance(hint, TypeVar) or getattr(hint, "__parameters__", None):
        raise InterfaceError(f"{where}: {hint} leaves a type open; an interface names its types")
    stream = StreamType.of(hint)
    try:
        if stream is not None:
            return f"Iterator[{writer.write(stream.item)}]"
        return writer.write(replaced(hint, _as_marker))
    except UnsupportedType as error:
        raise InterfaceError(f"{where}: {error}") from error


class _Text:
    """Text that `inspect.Signature` prints as it is, without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _signature_text(
    name: str, where: str, written: Sequence[inspect.Parameter], result: str
) -> str:
    shown = [
        parameter
        if parameter.default is parameter.empty
        else parameter.replace(
            default=_Text(_default_text(f"{where}({parameter.name})", parameter.default))
        )
        for parameter in written
    ]
    return f"{name}{inspect.Signature(shown)} -> {result}"


def _default_text(where: str, default: object) -> str:
    """Return a default as text. A repr may hold an address, which differs between processes."""
    if type(default) in (type(None), bool, int, float, str, bytes):
        return repr(default)
    try:
        return msgspec.json.encode(default, order="deterministic").decode()
    except (TypeError, ValueError, OverflowError) as error:
        raise InterfaceError(f"{where}: the default cannot be sent: {error}") from error


def _declared(cls: type, where: str, function: Callable[..., Any]) -> list[ExceptionCodec]:
    """Return codecs for the exceptions of the method and of the classes that it belongs to."""
    found: list[type[BaseException]] = list(vars(function).get(RAISES, ()))
    for owner in cls.__mro__:
        found += vars(owner).get(RAISES, ())
    codecs: dict[str, ExceptionCodec] = {}
    for exception in dict.fromkeys(found):
        if exception.__name__ in codecs:
            raise InterfaceError(f"{where} declares two exceptions named {exception.__name__}")
        codecs[exception.__name__] = ExceptionCodec(exception, _exception_fields(where, exception))
    return list(codecs.values())


def _exception_fields(where: str, exception: Any) -> dict[str, Any]:
    if not (isinstance(exception, type) and issubclass(exception, Exception)):
        raise InterfaceError(f"{where} declares {exception!r}, which is no exception class")
    try:
        hints = typing.get_type_hints(exception, include_extras=True)
    except (NameError, TypeError) as error:
        raise InterfaceError(f"{where} raises {exception.__name__}: {error}") from error
    fields = {
        name: hint
        for name, hint in hints.items()
        if not name.startswith("_") and typing.get_origin(hint) is not typing.ClassVar
    }
    for name, hint in fields.items():
        if walk_of(hint) is not None:
            raise InterfaceError(f"{where} raises {exception.__name__}.{name}: no reference can be")
        _write(f"{where} raises {exception.__name__}.{name}", TypeWriter(_write_target), hint)
    return fields
