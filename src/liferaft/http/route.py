"""One method as a route: a JSON object to arguments, a call of the object, a result to JSON.

It knows nothing of ASGI, and nothing of where the object really is: a stub is an object like any
other.
"""

import asyncio
import contextvars
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from liferaft.errors import InvalidArgument
from liferaft.rpc.interface import MethodSignature

encode: Final = msgspec.json.encode


class Route:
    """A method that is called with the members of a JSON object as its arguments."""

    def __init__(
        self,
        object_name: str,
        method: MethodSignature,
        function: Callable[..., Any],
        *,
        is_stub: bool,
        threads: ThreadPoolExecutor,
    ) -> None:
        self.path = f"/{object_name}/{method.name}"
        self.object_name = object_name
        self.method = method
        self.is_streaming = method.result_items is not None
        self.takes_lines = bool(method.argument_items)
        self.arguments_type = _arguments_type(object_name, method)
        self._function = function
        self._threads = threads
        is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
        self._is_blocking = not is_async and not (is_stub and method.is_async)
        self._decoder = msgspec.json.Decoder(self.arguments_type)

    def decode(self, body: bytes) -> tuple[Any, ...]:
        """Return the arguments that a body gives; raises `InvalidArgument`, naming the member."""
        if self.takes_lines:
            return (self._items(body),)
        try:
            given = self._decoder.decode(body or b"{}")
        except msgspec.ValidationError as error:
            raise InvalidArgument(f"{self.method.name}: {error}") from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise InvalidArgument(f"{self.method.name}: the body is no JSON: {error}") from error
        except Exception as error:  # a user's class may raise anything at all when it is made
            raise InvalidArgument(f"{self.method.name}: {error}") from error
        values = []
        for name, parameter in self.method.signature.parameters.items():
            value = getattr(given, name)
            values.append(parameter.default if value is msgspec.UNSET else value)
        return tuple(values)

    async def call(self, arguments: tuple[Any, ...]) -> Any:
        """Return what the method returns; for a result that is a stream, an async iterator."""
        call = self.method.prepare(self._function, arguments)
        if self._is_blocking:
            result = await self._in_thread(call)
        else:
            result = call()
            if inspect.isawaitable(result):
                result = await result
        if self.is_streaming and not hasattr(result, "__aiter__"):
            return self._asked_in_threads(iter(result))
        return result

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        # The deadline goes along in the context.
        run = contextvars.copy_context().run
        return await asyncio.get_running_loop().run_in_executor(self._threads, run, call)

    async def _asked_in_threads(self, items: Iterator[Any]) -> AsyncIterator[Any]:
        try:
            while (item := await self._in_thread(lambda: next(items, _END))) is not _END:
                yield item
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                await asyncio.shield(self._in_thread(close))

    def _items(self, body: bytes) -> Any:
        """Return the items of a body with one on each line."""
        (place,) = self.method.argument_items
        parameter = list(self.method.signature.parameters.values())[place - 1]
        hint = item_type(parameter.annotation)
        try:
            items = [msgspec.json.decode(line, type=hint) for line in body.splitlines() if line]
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"{self.method.name}({parameter.name}): {error}") from error
        return iter(items) if self._is_blocking else _given(items)


async def _given(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


_END: Final = object()


def item_type(hint: Any) -> Any:
    """Return the annotation of the items of a stream."""
    return hint.__args__[0]


def _arguments_type(object_name: str, method: MethodSignature) -> Any:
    """Return a Struct with a field for each parameter; those with defaults may be left out."""
    if method.argument_items:
        return dict[str, Any]
    fields: list[Any] = [
        (parameter.name, parameter.annotation)
        if parameter.default is parameter.empty
        else (parameter.name, parameter.annotation | msgspec.UnsetType, msgspec.UNSET)
        for parameter in method.signature.parameters.values()
    ]
    return msgspec.defstruct(
        f"{object_name}.{method.name}", fields, kw_only=True, forbid_unknown_fields=True
    )
