"""What stands around calls at either side: interceptors, in the style of ASGI middleware.

An interceptor takes a call and what goes on with it, and gives its result: it may look, change,
answer by itself, raise, or call again. At the caller it stands between stub and connection, at the
host between session and method: a call that is repeated on the way is seen once. Calls of stubs
and hosts without interceptors do not come through here.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from liferaft.rpc import deadline as ambient
from liferaft.rpc.interface import Interface, MethodSignature
from liferaft.rpc.later_stream import (
    Follow,
    LaterStream,
    StartedStream,
    Tasks,
    begin_later,
    cannot_be_made_again,
    spawn,
)


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
        self._tasks: Tasks = {}

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
    ) -> LaterStream:
        """See `Connection`; the interceptors see the call end when its stream does."""

        def begin(follow: Follow) -> Awaitable[Any]:
            def send(invocation: Invocation) -> Awaitable[None]:
                return follow(
                    lambda: self._inner.start_streaming(
                        method,
                        invocation.arguments,
                        time_left=time_left,
                        metadata=invocation.metadata,
                    )
                )

            return self._through(method, arguments, metadata, send)

        return begin_later(begin, tasks=self._tasks, is_closed=lambda: self.is_closed)

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

        spawn(self._through(method, arguments, metadata, send), self._tasks)

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


def _bounded(
    time_left: float | None, timeout: float | None
) -> contextlib.AbstractContextManager[None]:
    """Bound the whole way through the interceptors, so that one that calls again has an end."""
    if time_left is None and ambient.time_left() is None:
        time_left = timeout
    return contextlib.nullcontext() if time_left is None else ambient.deadline(time_left)
