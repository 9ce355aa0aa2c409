"""What both sides know about an object: its methods, their parameters, and the marks on them.

An interface is any class with annotated public methods: a `Protocol`, an ABC or a plain class. How
it is reflected is told in `liferaft.rpc.reflection`. Nothing here runs a method, and nothing here
knows of connections.
"""

import functools
import inspect
import typing
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from liferaft.errors import InterfaceError
from liferaft.rpc.codec import ArgumentsCodec, ExceptionCodec, make_decoder
from liferaft.rpc.reference_types import ReferenceTarget, Take, Walk

DecoratedT = TypeVar("DecoratedT", bound=Callable[..., Any] | type)
MethodT = TypeVar("MethodT", bound=Callable[..., Any])

ONEWAY = "__liferaft_oneway__"
RAISES = "__liferaft_raises__"
IDEMPOTENT = "__liferaft_idempotent__"
ROLES = "__liferaft_roles__"
AWAITED = "__liferaft_awaited__"
_STREAMS: Mapping[Any, bool] = {
    abc.Iterator: False,
    abc.Iterable: False,
    abc.Generator: False,
    abc.AsyncIterator: True,
    abc.AsyncIterable: True,
    abc.AsyncGenerator: True,
}
"""What is annotated so is a stream; whether its items are awaited."""


def is_awaited(function: Callable[..., Any]) -> bool:
    """Return whether what a method gives must be awaited: an `async def`, or one of a stub."""
    return inspect.iscoroutinefunction(function) or hasattr(function, AWAITED)


def oneway(method: MethodT) -> MethodT:
    """Mark a method that returns None as one-way: sent once, never answered, maybe lost."""
    setattr(method, ONEWAY, True)
    return method


def idempotent(method: MethodT) -> MethodT:
    """Mark a method as harmless to repeat: resent to a host that restarted since.

    Without the mark the caller of a call that was under way gets `OutcomeUnknown`.
    """
    setattr(method, IDEMPOTENT, True)
    return method


def role(*names: str) -> Callable[[DecoratedT], DecoratedT]:
    """Let a method, or all methods of a class, be called with any one of these roles only.

    A method's own roles count instead of its class's. Roles come with tokens: a host without tokens
    asks nobody, and refuses nothing.
    """

    def mark(decorated: DecoratedT) -> DecoratedT:
        setattr(decorated, ROLES, frozenset(names))
        return decorated

    return mark


def raises(*exceptions: type[BaseException]) -> Callable[[DecoratedT], DecoratedT]:
    """Declare the exceptions of a method, or of all methods of a class.

    They are raised at the caller as these classes, with their annotated attributes, or else their
    `args`; `__init__` is not run there. A subclass arrives as the nearest declared class.
    """

    def mark(decorated: DecoratedT) -> DecoratedT:
        earlier: tuple[type[BaseException], ...] = vars(decorated).get(RAISES, ())
        setattr(decorated, RAISES, (*earlier, *exceptions))
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
        self.decode = make_decoder(stream.item).decode


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
        has_buffers: bool = False,
        gives_buffers: bool = False,
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
        # Whether an argument, or the result, may be a large buffer: see buffers.py.
        self.has_buffers = has_buffers
        self.gives_buffers = gives_buffers
        self.result_type = result_type
        self.decode_result = make_decoder(result_type).decode
        self.is_async = is_async
        # A method that is not async may return an async iterator, which is awaited item by item.
        self.is_awaited = is_async if is_awaited is None else is_awaited
        self.is_oneway = hasattr(function, ONEWAY)
        self.is_idempotent = hasattr(function, IDEMPOTENT)
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
        """Return what a class, or a generic one with its arguments, declares.

        Raises `InterfaceError` naming the fault.
        """
        from liferaft.rpc.reflection import reflect  # noqa: PLC0415 - it makes what is defined here

        return reflect(declaring)

    @staticmethod
    def of_target(target: ReferenceTarget) -> "Interface":
        """Return the interface that a reference must lead to; a function's has one method."""
        interface = Interface.of(target.interface_class)
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
