"""A class reflected once into the signatures of its methods; every fault named Class.method(x).

An interface is any class with annotated public methods: a `Protocol`, an ABC or a plain class. Its
attributes, annotations, private names and nested classes are none of an interface's business.
Nothing here runs a method, and nothing here knows of connections.
"""

import functools
import inspect
import typing
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from liferaft.errors import InterfaceError
from liferaft.rpc.codec import ArgumentsCodec, ExceptionCodec
from liferaft.rpc.reference_types import ReferenceTarget, Take, Walk, replaced, walk_of
from liferaft.rpc.typetext import TypeWriter, UnsupportedType

DecoratedT = TypeVar("DecoratedT", bound=Callable[..., Any] | type)
MethodT = TypeVar("MethodT", bound=Callable[..., Any])

_ONEWAY = "__liferaft_oneway__"
_RAISES = "__liferaft_raises__"
_IDEMPOTENT = "__liferaft_idempotent__"
_ROLES = "__liferaft_roles__"
_NOT_INTERFACES = (object, typing.Protocol, typing.Generic)
_KINDS_REFUSED = (property, functools.cached_property, staticmethod, classmethod)
_STREAMS: Mapping[Any, bool] = {
    abc.Iterator: False,
    abc.Iterable: False,
    abc.Generator: False,
    abc.AsyncIterator: True,
    abc.AsyncIterable: True,
    abc.AsyncGenerator: True,
}
"""What is annotated so is a stream; whether its items are awaited."""


def oneway(method: MethodT) -> MethodT:
    """Mark a method that returns None as one-way: sent once, never answered, maybe lost."""
    setattr(method, _ONEWAY, True)
    return method


def idempotent(method: MethodT) -> MethodT:
    """Mark a method as harmless to repeat: resent to a host that restarted since.

    Without the mark the caller of a call that was under way gets `OutcomeUnknown`.
    """
    setattr(method, _IDEMPOTENT, True)
    return method


def role(*names: str) -> Callable[[DecoratedT], DecoratedT]:
    """Let a method, or all methods of a class, be called with any one of these roles only.

    A method's own roles count instead of its class's. Roles come with tokens: a host without tokens
    asks nobody, and refuses nothing.
    """

    def mark(decorated: DecoratedT) -> DecoratedT:
        setattr(decorated, _ROLES, frozenset(names))
        return decorated

    return mark


def raises(*exceptions: type[BaseException]) -> Callable[[DecoratedT], DecoratedT]:
    """Declare the exceptions of a method, or of all methods of a class.

    They are raised at the caller as these classes, with their annotated attributes, or else their
    `args`; `__init__` is not run there. A subclass arrives as the nearest declared class.
    """

    def mark(decorated: DecoratedT) -> DecoratedT:
        earlier: tuple[type[BaseException], ...] = vars(decorated).get(_RAISES, ())
        setattr(decorated, _RAISES, (*earlier, *exceptions))
        return decorated

    return mark


class StreamType(typing.NamedTuple):
    """An annotation such as `AsyncIterator[int]`."""

    item: Any
    is_async: bool

    @staticmethod
    def of(hint: Any) -> "StreamType | None":
        """Return what an annotation of a stream says, or None for another annotation."""
        origin = typing.get_origin(hint) or hint
        if origin not in _STREAMS:
            return None
        arguments = typing.get_args(hint)
        return StreamType(arguments[0] if arguments else Any, _STREAMS[origin])


class ItemCodec:
    """The items of one stream."""

    def __init__(self, where: str, stream: StreamType) -> None:
        self.where = where
        self.is_async = stream.is_async
        self.decode = msgspec.msgpack.Decoder(stream.item).decode


class MethodSignature:
    """What both sides know about one method.

    `result_items` are those of a result that is a stream, and `argument_items` those of the
    parameters that are, by their places, from 1 on; `result_walk` and `argument_walks` are the same
    for what travels by reference.
    """

    def __init__(
        self,
        *,
        name: str,
        text: str,
        signature: inspect.Signature,
        arguments: ArgumentsCodec,
        result_type: Any,
        is_async: bool,
        is_awaited: bool | None = None,
        function: Callable[..., Any],
        declared: Sequence[ExceptionCodec],
        result_items: ItemCodec | None = None,
        argument_items: Mapping[int, ItemCodec] | None = None,
        result_walk: Walk | None = None,
        argument_walks: Mapping[int, Walk] | None = None,
        roles: frozenset[str] = frozenset(),
    ) -> None:
        self.result_walk = result_walk
        self.argument_walks = dict(argument_walks or {})
        self.has_references = bool(self.argument_walks) or result_walk is not None
        self.result_items = result_items
        self.argument_items = dict(argument_items or {})
        self.has_streams = bool(self.argument_items) or result_items is not None
        self.name = name
        self.text = text
        self.signature = signature
        self.full_signature = inspect.signature(function)
        self.arguments = arguments
        self.result_type = result_type
        self.decode_result = msgspec.msgpack.Decoder(result_type).decode
        self.is_async = is_async
        # A method that is not async may return an async iterator, which is awaited item by item.
        self.is_awaited = is_async if is_awaited is None else is_awaited
        self.is_oneway = hasattr(function, _ONEWAY)
        self.is_idempotent = hasattr(function, _IDEMPOTENT)
        self.roles: frozenset[str] = roles
        self.declared = tuple(declared)
        self.function = function
        parameters = tuple(signature.parameters.values())
        self.positional_count = sum(1 for p in parameters if p.kind is not p.KEYWORD_ONLY)
        self.keyword_only = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)

    def flatten(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the value of every parameter in order, defaults filled in.

        Raises `TypeError`, worded as Python words it, when the call does not fit the signature.
        """
        if not kwargs and not self.keyword_only and len(args) == self.positional_count:
            return args
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}() {error}") from None
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def walk_arguments(self, values: tuple[Any, ...], take: Take) -> tuple[Any, ...]:
        """Return the arguments with what `take` gives in the place of each reference."""
        walked = list(values)
        for place, walk in self.argument_walks.items():
            walked[place - 1] = walk(values[place - 1], take)
        return tuple(walked)

    def walk_result(self, value: Any, take: Take) -> Any:
        """Return the result with what `take` gives in the place of each reference."""
        return value if self.result_walk is None else self.result_walk(value, take)

    def prepare(self, method: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[], Any]:
        """Return a call of `method` with arguments in the order of the signature, to be made."""
        if not self.keyword_only:
            return functools.partial(method, *arguments)
        names = self.keyword_only
        keywords = dict(zip(names, arguments[self.positional_count :], strict=True))
        return functools.partial(method, *arguments[: self.positional_count], **keywords)


class Interface:
    """What a caller and a host agree on."""

    def __init__(self, name: str, cls: type, methods: Mapping[str, MethodSignature]) -> None:
        self.name = name
        self.cls = cls
        self.methods = dict(methods)
        self.is_function = False
        self.signatures = {method.name: method.text for method in self.methods.values()}

    @staticmethod
    def of(declaring: Any) -> "Interface":
        """Return what the class `declaring` declares; raises `InterfaceError` naming the fault."""
        if not isinstance(declaring, type):
            raise InterfaceError(f"{declaring!r} is no class: an interface is a class with methods")
        return _reflect(declaring)

    @staticmethod
    def of_target(target: ReferenceTarget) -> "Interface":
        """Return the interface that a reference must lead to; a function's has one method."""
        interface = _reflect(target.interface_class)
        interface.is_function = target.is_function
        return interface

    def __repr__(self) -> str:
        return f"<Interface {self.name}: {', '.join(self.methods)}>"

    def check_implementation(self, implementation: object) -> None:
        """Raise `InterfaceError` unless `implementation` can take the calls of every method."""
        for method in self.methods.values():
            where = f"{type(implementation).__name__}.{method.name}"
            found = getattr(implementation, method.name, None)
            if not callable(found):
                raise InterfaceError(f"{where} is missing: {self.name} declares {method.text}")
            filler = (None,) * len(method.signature.parameters)
            try:
                method.prepare(inspect.signature(found).bind, filler)()
            except TypeError as error:
                raise InterfaceError(f"{where}: {error}; {self.name} has {method.text}") from error


@functools.cache
def _reflect(cls: type) -> Interface:
    methods = {
        name: _reflect_method(cls, name, function) for name, function in _functions(cls).items()
    }
    if not methods:
        raise InterfaceError(f"{cls.__name__} has no public methods: nothing could be called")
    return Interface(cls.__name__, cls, methods)


def _functions(cls: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods of a class, those of its bases first."""
    names: dict[str, type] = {}
    for owner in reversed(cls.__mro__):
        if owner not in _NOT_INTERFACES:
            names |= {n: owner for n in vars(owner) if not n.startswith("_")}
    found = {name: vars(owner)[name] for name, owner in names.items()}
    return {n: value for n, value in found.items() if _is_method(f"{cls.__name__}.{n}", value)}


def _is_method(where: str, value: object) -> bool:
    if isinstance(value, _KINDS_REFUSED):
        kind = type(value).__name__
        raise InterfaceError(f"{where} is a {kind}: an interface has plain methods only")
    if isinstance(value, functools.partialmethod):
        raise InterfaceError(f"{where} is a partialmethod: write it as a method")
    return inspect.isfunction(value)


def _hints(where: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise InterfaceError(f"{where}: an annotation cannot be resolved: {error}") from error


def _reflect_method(cls: type, name: str, function: Callable[..., Any]) -> MethodSignature:
    where = f"{cls.__name__}.{name}"
    hints = _hints(where, function)
    parameters = _parameters(where, function, hints)
    if "return" not in hints:
        raise InterfaceError(f"{where}: the return type is not annotated")
    result_items, argument_items = _streams(where, parameters, hints["return"])
    result_walk, argument_walks = _references(where, parameters, hints["return"])
    is_async = inspect.iscoroutinefunction(function)
    _check_streams(where, function, result_items, argument_items, is_async=is_async)
    if (result_items or argument_items) and (result_walk or argument_walks):
        raise InterfaceError(f"{where} has a stream: it takes and gives no reference, then")
    is_oneway = hasattr(function, _ONEWAY)
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
    )


def _roles(cls: type, function: Callable[..., Any]) -> frozenset[str]:
    """Return the roles of a method: its own, or those of the nearest class that has some."""
    for owner in (function, *cls.__mro__):
        found: frozenset[str] | None = vars(owner).get(_ROLES)
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
    for name, function in _functions(target.interface_class).items():
        where = f"{target.name}.{name}"
        hints = _hints(where, function)
        parameters = _parameters(where, function, hints)
        if "return" not in hints:
            raise InterfaceError(f"{where}: the return type is not annotated")
        text = _method_text(where, name, parameters, hints["return"], writer)
        texts.append(f"oneway {text}" if hasattr(function, _ONEWAY) else text)
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
    found: list[type[BaseException]] = list(vars(function).get(_RAISES, ()))
    for owner in cls.__mro__:
        found += vars(owner).get(_RAISES, ())
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
