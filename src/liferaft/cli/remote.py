"""Objects that are known from their hosts' descriptions alone, called with arguments as text.

What `liferaft call` and `liferaft shell` share. It parses JSON and Python literals, and runs
neither: there is no eval here, and no import by a name that came over the wire.
"""

import difflib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import msgspec

from liferaft.api import aclose, aconnect
from liferaft.cli.access import Access
from liferaft.errors import ConfigurationError, InvalidArgument, NoSuchObject
from liferaft.rpc.description import Description, MethodDescription, Stream
from liferaft.rpc.directory import DIRECTORY_OBJECT, Directory, read_description
from liferaft.rpc.interface import Interface, MethodSignature, StreamType
from liferaft.rpc.synthesis import interface_class
from liferaft.rpc.views import Reads


class RemoteObject:
    """One object at a host, all of whose methods are awaited."""

    def __init__(self, description: Description, stub: object, interface: Interface) -> None:
        self.description = description
        self.methods = {method.name: method for method in description.methods}
        self.interface = interface
        self.stub = stub

    def method(self, name: str) -> MethodSignature:
        """Return a method; raises `ConfigurationError` that names those that there are."""
        if name not in self.methods:
            known = ", ".join(self.methods)
            guess = difflib.get_close_matches(name, self.methods, n=1)
            hint = f"did you mean {guess[0]}?" if guess else f"it has {known}"
            raise ConfigurationError(f"{self.description.object} has no method {name!r}: {hint}")
        return self.interface.methods[name]

    async def call(
        self, name: str, positional: Sequence[Any], named: Mapping[str, Any]
    ) -> AsyncIterator[Any]:
        """Yield what a method returns, or item by item what its result streams.

        Raises `InvalidArgument` when the arguments do not fit, and what the method raises.
        """
        method = self.method(name)
        try:
            outcome = getattr(self.stub, name)(*positional, **named)
        except TypeError as error:
            raise InvalidArgument(str(error)) from error
        if method.result_items is None:
            yield await outcome
            return
        async for item in outcome:
            yield item


class Host:
    """The objects at one address, each connected to when it is first asked for."""

    def __init__(
        self, address: str, access: Access | None = None, reads: Reads = "linearizable"
    ) -> None:
        access = access or Access()
        self.address = address
        self.timeout = access.timeout
        self._reads = reads
        self._connect = partial(
            aconnect,
            timeout=access.timeout,
            tls=access.credentials(),
            token=access.token(),
            is_insecure=access.insecure,
        )
        self._objects: dict[str, RemoteObject] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        objects, self._objects = self._objects, {}
        for each in objects.values():
            await aclose(each.stub)

    async def names(self) -> list[str]:
        """Return the names of the objects."""
        directory: Directory = await self._connect(Directory, self.address, name=DIRECTORY_OBJECT)
        try:
            return await directory.objects()
        finally:
            await aclose(directory)

    async def describe(self, name: str) -> Description:
        """Return what the host tells of an object; raises `NoSuchObject`."""
        directory: Directory = await self._connect(Directory, self.address, name=DIRECTORY_OBJECT)
        try:
            return read_description(await directory.describe(name))
        finally:
            await aclose(directory)

    async def object(self, name: str = "") -> RemoteObject:
        """Return an object by its name, or the only one there is.

        Upper and lower case are the same where that leaves no doubt. Raises `NoSuchObject`.
        """
        if name not in self._objects:
            self._objects[name] = await self._connected(name)
        return self._objects[name]

    async def _connected(self, name: str) -> RemoteObject:
        try:
            described = await self.describe(name)
        except NoSuchObject:
            alike = [each for each in await self.names() if each.lower() == name.lower()]
            if len(alike) != 1 or alike[0] == name:
                raise
            described = await self.describe(alike[0])
        cls = interface_class(_awaited(described))
        stub: object = await self._connect(
            cls, self.address, name=described.object, reads=self._reads
        )
        return RemoteObject(described, stub, Interface.of(cls))

    async def find(self, path: str) -> tuple[RemoteObject, str]:
        """Return the object and the name of the method in "todo.add", or in "add"."""
        name, _, method = path.rpartition(".")
        return await self.object(name), method


def _awaited(description: Description) -> Description:
    """Return the description with every method awaited: the signatures are the same."""
    methods = [_awaited_method(method) for method in description.methods]
    return msgspec.structs.replace(description, methods=methods)


def _awaited_method(method: MethodDescription) -> MethodDescription:
    def awaited(described: Any) -> Any:
        if isinstance(described, Stream):
            return msgspec.structs.replace(described, is_async=True)
        return described

    return msgspec.structs.replace(
        method,
        parameters=[
            msgspec.structs.replace(each, type=awaited(each.type)) for each in method.parameters
        ],
        result=awaited(method.result),
        is_async=not isinstance(method.result, Stream),
    )


def hint_of(method: MethodSignature, place: int | str) -> Any:
    """Return the annotation of a parameter, by its place or its name.

    Raises `InvalidArgument` when there is no such parameter.
    """
    parameters = method.signature.parameters
    names = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    if isinstance(place, int):
        if place >= len(names):
            raise InvalidArgument(
                f"{method.name} takes {len(names)} arguments by their place: {method.text}"
            )
        return parameters[names[place]].annotation
    if place not in parameters:
        raise InvalidArgument(f"{method.name} has no parameter {place!r}: {method.text}")
    return parameters[place].annotation


def is_stream(hint: Any) -> bool:
    """Return whether an annotation is that of a stream."""
    return StreamType.of(hint) is not None


def read_json(text: str | bytes, hint: Any, where: str) -> Any:
    """Return a value that is written as JSON, or as plain text where a string is wanted.

    Raises `InvalidArgument` when it does not fit the annotation.
    """
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        try:
            return msgspec.convert(text, hint)  # milk rather than '"milk"'
        except msgspec.ValidationError:
            raise InvalidArgument(f"{where}: {text!r} is no JSON: {error}") from error
    try:
        return msgspec.json.decode(text, type=hint)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{where}: {error}") from error


def read_literal(value: object, hint: Any, where: str) -> Any:
    """Return a literal as its annotation has it; raises `InvalidArgument` when it does not fit."""
    if is_stream(hint):
        return _items(value, hint, where)
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"{where}: {error}") from error


def _items(value: object, hint: Any, where: str) -> AsyncIterator[Any]:
    stream = StreamType.of(hint)
    if stream is None or not isinstance(value, (list, tuple)):
        raise InvalidArgument(f"{where}: give the items of a stream as a list")
    items = [read_literal(item, stream.item, where) for item in value]

    async def give() -> AsyncIterator[Any]:
        for item in items:
            yield item

    return give()
