"""A result that is a stream, of a call that is not begun at once: what it waits for comes first.

So it is where interceptors stand before a call, and where no host is there yet. It decides neither
when a call begins nor where.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from liferaft.errors import ConfigurationError, StubClosed


class StartedStream(Protocol):
    """A call that has begun, and whose result is a stream."""

    def reader(self) -> AsyncIterator[Any]:
        """Return the result."""

    async def ended(self) -> None:
        """Wait until the call has ended; raises what it raised. Cancelling does not end it."""

    def cancel(self) -> None:
        """Give the call up, if it has not ended."""


Tasks = dict["asyncio.Future[Any]", None]
"""Those that a connection must cancel when it is closed."""

Follow = Callable[[Callable[[], StartedStream]], Awaitable[None]]
"""Begins a call, has its items read, and returns when it has ended, or raises what it raised."""


def cannot_be_made_again() -> ConfigurationError:
    """Return the error for an interceptor that lets a call with streams go on twice."""
    return ConfigurationError("a call with a stream has begun: it cannot be made again")


def begin_later(
    begin: Callable[[Follow], Awaitable[Any]],
    *,
    tasks: Tasks,
    is_closed: Callable[[], bool],
) -> "LaterStream":
    """Return the stream of a call that `begin` begins in a task of its own, one of `tasks`.

    `is_closed` tells, once that was cancelled, whether it was because the stub is closed.
    """
    items: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def follow(start: Callable[[], StartedStream]) -> None:
        if items.done():
            raise cannot_be_made_again()
        started = start()
        items.set_result(started.reader())
        try:
            await started.ended()
        except asyncio.CancelledError:
            started.cancel()
            raise

    call = spawn(begin(follow), tasks)
    call.add_done_callback(functools.partial(_ended, items, is_closed))
    return LaterStream(call, items)


def spawn(work: Awaitable[Any], tasks: Tasks) -> "asyncio.Future[Any]":
    """Have work done in a task that is one of `tasks` until it has ended."""
    task = asyncio.ensure_future(work)
    tasks[task] = None
    task.add_done_callback(tasks.pop)
    return task


def _ended(
    items: "asyncio.Future[Any]", is_closed: Callable[[], bool], call: "asyncio.Future[Any]"
) -> None:
    """Tell a reader that has no items yet how the call ended; with items it hears from them."""
    error: BaseException | None = None
    if not call.cancelled():
        error = call.exception()
    elif is_closed():
        error = StubClosed("the stub was closed before the call had begun")
    if items.done():
        return
    if error is None:
        items.set_result(None)  # an interceptor answered by itself, or the reader has closed it
    else:
        items.set_exception(error)
        items.exception()  # it is the reader's to raise, if there is one


class LaterStream(AsyncIterator[Any]):
    """What a caller gets for such a result.

    Who drops it ends it, as with any other stream: so the task of the call must not hold it.
    """

    def __init__(self, call: "asyncio.Future[Any]", items: "asyncio.Future[Any]") -> None:
        self._call = call
        self._items = items

    def reader(self) -> "LaterStream":
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
