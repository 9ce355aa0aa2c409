"""What stands around calls at either side: interceptors, in the style of ASGI middleware.

An interceptor takes a call and what goes on with it, and gives its result: it may look, change,
answer by itself, raise, or call again. At the caller it stands between stub and connection, at the
host between session and method: a call that is repeated on the way is seen once. Calls of stubs
and hosts without interceptors do not come through here.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from liferaft.errors import ConfigurationError
from liferaft.rpc import deadline as ambient
from liferaft.rpc.interface import Interface, MethodSignature


class Invocation(msgspec.Struct, frozen=True):
    """A call, as interceptors see it; `replace` makes one that differs.

    `arguments` has a value for every parameter in order; one that is a stream is an async iterator
    at the caller. `metadata` travels from the caller to the host beside the arguments: short texts
    such as a trace's. `peer` is the other side's address, as far as it is known. A call that
    `has_streams`, arguments or result, can be made once: what was read of them is gone.
    """

    interface: str
    object: str
    method: str
    arguments: tuple[Any, ...]
    metadata: Mapping[str, str]
    peer: str
    is_idempotent: bool
    is_oneway: bool
    has_streams: bool = False

    def replace(
        self,
        *,
        arguments: tuple[Any, ...] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> "Invocation":
        """Return the same call with other arguments, or with other metadata."""
        return msgspec.structs.replace(
            self,
            arguments=self.arguments if arguments is None else arguments,
            metadata=self.metadata if metadata is None else metadata,
        )


Proceed = Callable[[Invocation], Awaitable[Any]]
"""Goes on with a call, and gives its result; None, at its end, for a result that is a stream."""

Interceptor = Callable[[Invocation, Proceed], Awaitable[Any]]
"""Stands around calls; the first of several is outermost."""


def cannot_be_made_again() -> ConfigurationError:
    """Return the error for an interceptor that lets a call with streams go on twice."""
    return ConfigurationError("a call with a stream has begun: it cannot be made again")


def chained(interceptors: Sequence[Interceptor], innermost: Proceed) -> Proceed:
    """Return what goes through all interceptors, the first of them first."""
    proceed = innermost
    for interceptor in reversed(interceptors):
        proceed = _around(interceptor, proceed)
    return proceed


def _around(interceptor: Interceptor, proceed: Proceed) -> Proceed:
    def through(invocation: Invocation) -> Awaitable[Any]:
        return interceptor(invocation, proceed)

    return through


class StartedStream(Protocol):
    """A call that has begun, and whose result is a stream."""

    def reader(self) -> AsyncIterator[Any]:
        """Return the result."""

    async def ended(self) -> None:
        """Wait until the call has ended; raises what it raised. Cancelling does not end it."""

    def cancel(self) -> None:
        """Give the call up, if it has not ended."""


class Connection(Protocol):
    """What a stub calls over: one connection, several, or one of them with interceptors before it.

    What the methods take and raise is told at `liferaft.rpc.connection.CallerConnection`.
    """

    interface: Interface
    timeout: float | None

    @property
    def address_text(self) -> str:
        """The addresses, as a user writes them."""

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""

    @property
    def takes_values(self) -> bool:
        """Whether arguments must come as they are, not encoded."""

    def open(self) -> None:
        """Begin to connect."""

    async def wait_bound(self) -> None:
        """Wait until calls can be sent."""

    async def call(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the result of a call."""

    async def call_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the result of a call whose arguments have streams."""

    def start_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None,
        metadata: Mapping[str, str] | None = None,
    ) -> StartedStream:
        """Begin a call whose result is a stream."""

    def notify(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Send a one-way call."""

    def close(self) -> None:
        """End the connection."""

    async def aclose(self) -> None:
        """Close, and wait until the sockets are closed."""


class InterceptedConnection:
    """A connection whose calls go through interceptors first; see `Connection`."""

    def __init__(self, inner: Connection, interceptors: Sequence[Interceptor]) -> None:
        self.interface = inner.interface
        self.timeout = inner.timeout
        self._inner = inner
        self._interceptors = tuple(interceptors)
        self._tasks: dict[asyncio.Task[Any], None] = {}

    @property
    def address_text(self) -> str:
        """See `Connection`."""
        return self._inner.address_text

    @property
    def is_closed(self) -> bool:
        """See `Connection`."""
        return self._inner.is_closed

    @property
    def takes_values(self) -> bool:
        """See `Connection`."""
        return True

    def open(self) -> None:
        """See `Connection`."""
        self._inner.open()

    async def wait_bound(self) -> None:
        """See `Connection`."""
        await self._inner.wait_bound()

    async def call(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """See `Connection`."""

        def send(invocation: Invocation) -> Awaitable[Any]:
            return self._inner.call(method, invocation.arguments, metadata=invocation.metadata)

        with _bounded(time_left, self.timeout):
            return await self._through(method, arguments, metadata, send)

    async def call_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """See `Connection`."""
        is_begun = False

        def send(invocation: Invocation) -> Awaitable[Any]:
            nonlocal is_begun
            if is_begun:
                raise cannot_be_made_again()
            is_begun = True
            return self._inner.call_streaming(
                method, invocation.arguments, time_left=time_left, metadata=invocation.metadata
            )

        return await self._through(method, arguments, metadata, send)

    def start_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None,
        metadata: Mapping[str, str] | None = None,
    ) -> "InterceptedStream":
        """See `Connection`; the interceptors see the call end when its stream does."""
        items: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def send(invocation: Invocation) -> None:
            if items.done():
                raise cannot_be_made_again()
            started = self._inner.start_streaming(
                method, invocation.arguments, time_left=time_left, metadata=invocation.metadata
            )
            items.set_result(started.reader())
            try:
                await started.ended()
            except asyncio.CancelledError:
                started.cancel()
                raise

        call = self._spawn(self._through(method, arguments, metadata, send))
        call.add_done_callback(functools.partial(_stream_ended, items))
        return InterceptedStream(call, items)

    def notify(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """See `Connection`; what an interceptor raises is the loop's to report."""

        async def send(invocation: Invocation) -> None:
            self._inner.notify(method, invocation.arguments, metadata=invocation.metadata)

        self._spawn(self._through(method, arguments, metadata, send))

    def close(self) -> None:
        """See `Connection`."""
        for task in self._tasks:
            task.cancel()
        self._inner.close()

    async def aclose(self) -> None:
        """See `Connection`."""
        for task in self._tasks:
            task.cancel()
        await self._inner.aclose()

    def _spawn(self, work: Awaitable[Any]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(_awaited(work))
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)
        return task

    def _through(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        metadata: Mapping[str, str] | None,
        send: Proceed,
    ) -> Awaitable[Any]:
        assert isinstance(arguments, tuple), "takes_values says so"
        invocation = Invocation(
            self.interface.name,
            "",
            method.name,
            arguments,
            metadata or {},
            self.address_text,
            method.is_idempotent,
            method.is_oneway,
            method.has_streams,
        )
        return chained(self._interceptors, send)(invocation)


class InterceptedStream(AsyncIterator[Any]):
    """A result that is a stream, once the interceptors have let its call through.

    Who drops it ends it, as with any other stream.
    """

    def __init__(self, call: "asyncio.Task[None]", items: "asyncio.Future[Any]") -> None:
        self._call = call
        self._items = items

    def reader(self) -> "InterceptedStream":
        """See `StartedStream`."""
        return self

    async def ended(self) -> None:
        """See `StartedStream`."""
        await asyncio.shield(self._call)

    def cancel(self) -> None:
        """See `StartedStream`."""
        self._call.cancel()

    async def __anext__(self) -> Any:
        """Return the next item; raises what the call raised, as the interceptors let it."""
        items = await asyncio.shield(self._items)
        try:
            if items is not None:
                return await anext(items)
        except StopAsyncIteration:
            pass
        await asyncio.wait([self._call])  # so that it is not cut short when this is dropped
        raise StopAsyncIteration

    async def some(self) -> list[Any]:
        """Return the items that are there, at least one; none at the end."""
        items = await asyncio.shield(self._items)
        found: list[Any] = [] if items is None else await items.some()
        if not found:
            await asyncio.wait([self._call])  # as above
        return found

    async def aclose(self) -> None:
        """End the stream. May be called again."""
        self._call.cancel()

    def __del__(self) -> None:
        # Whoever collects garbage may be another thread, and the loop may have ended.
        if not self._call.done():
            with contextlib.suppress(RuntimeError):
                self._call.get_loop().call_soon_threadsafe(self._call.cancel)


def _stream_ended(items: "asyncio.Future[Any]", call: "asyncio.Task[None]") -> None:
    """Tell a reader that has no items yet how the call ended; with items it hears from them."""
    error = None if call.cancelled() else call.exception()
    if items.done():
        return
    if error is None:
        items.set_result(None)  # an interceptor answered by itself, or it was closed
    else:
        items.set_exception(error)
        items.exception()  # it is the reader's to raise, if there is one


def _bounded(
    time_left: float | None, timeout: float | None
) -> contextlib.AbstractContextManager[None]:
    """Bound the whole way through the interceptors, so that one that calls again has an end."""
    if time_left is None and ambient.time_left() is None:
        time_left = timeout
    return contextlib.nullcontext() if time_left is None else ambient.deadline(time_left)


async def _awaited(work: Awaitable[Any]) -> None:
    await work
