"""The streams of a call at its caller: what it writes, and the iterator that it gets.

A call whose result is a stream is under way until the stream has ended; who drops the iterator, or
closes it, cancels the call. Nothing here knows of links and frames.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from typing import Any, Final, Self

from liferaft.errors import LiferaftError, ProtocolError
from liferaft.rpc import wire
from liferaft.rpc.bridge import Bridge
from liferaft.rpc.codec import decode_failure
from liferaft.rpc.interface import MethodSignature
from liferaft.rpc.stream import RESULT, CallStreams
from liferaft.rpc.streaming import Progress, StreamReader, send_all

ITEMS_AT_ONCE_MAX: Final = 64
"""How many items that are there already cross to a blocking caller at a time."""

Outcome = wire.Reply | wire.Failure | LiferaftError


class StreamedCall:
    """A call with streams that is under way; lives on the connection's loop.

    `flush` has the connection send what the streams have, `cancel` give the call up.
    """

    def __init__(
        self, method: MethodSignature, *, flush: Callable[[], None], cancel: Callable[[], None]
    ) -> None:
        has_result = method.result_items is not None
        self.streams = CallStreams(
            sending=method.argument_items, receiving=(RESULT,) if has_result else ()
        )
        self.method = method
        self.progress = Progress()
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._flush_now = flush
        self._cancel_call = cancel
        self._is_flush_due = False
        self._writers: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self.outcome.add_done_callback(self._ended)

    def write(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """Begin to send the arguments that are streams; return the others in their places."""
        rest = list(arguments)
        for place in self.method.argument_items:
            items, rest[place - 1] = aiter(arguments[place - 1]), None
            self._writers.append(self._loop.create_task(self._write(place, items)))
        return tuple(rest)

    def flush(self) -> None:
        """Send what there is at the end of this turn: many small items travel together."""
        if not self._is_flush_due and not self.outcome.done():
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    async def result(self) -> Any:
        """Wait for the reply and return it, still encoded; cancelling cancels the call."""
        try:
            outcome = await asyncio.shield(self.outcome)
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self._failure is not None:
            raise self._failure
        return outcome

    async def ended(self) -> None:
        """Wait until the call has ended; raises what it raised. Cancelling does not end it."""
        await asyncio.wait([self.outcome])
        self.is_over()

    def cancel(self) -> None:
        """Give the call up, if it has not ended."""
        if not self.outcome.done():
            self._cancel_call()
            self.outcome.cancel()

    def reader(self) -> "ResultStream":
        """Return the result, which is a stream."""
        return ResultStream(self)

    def is_over(self) -> bool:
        """Whether no item of the result will come any more; raises what ended it early."""
        if self._failure is not None:
            raise self._failure
        if not self.outcome.done():
            return False
        if self.outcome.cancelled():
            return True
        outcome = self.outcome.result()
        if isinstance(outcome, wire.Reply):
            return True
        if isinstance(outcome, wire.Failure):
            raise decode_failure(outcome, self.method.declared)
        raise outcome

    async def _write(self, place: int, items: AsyncIterator[Any]) -> None:
        sender = self.streams.senders[place]
        try:
            await send_all(items, sender, progress=self.progress, flush=self.flush)
        except Exception as error:  # noqa: BLE001 - the caller's own iterator broke: it is told
            self._failure = error
            if not self.outcome.done():
                self._cancel_call()
                self.outcome.set_result(ProtocolError("an argument's iterator broke"))
        else:
            sender.end()
            self.flush()

    def _flush(self) -> None:
        self._is_flush_due = False
        if not self.outcome.done():
            self._flush_now()

    def _ended(self, _: "asyncio.Future[Outcome]") -> None:
        for writer in self._writers:
            writer.cancel()
        self.progress.wake()


class ResultStream(AsyncIterator[Any]):
    """What a caller gets for a result that is a stream: `async for`, and `aclose` to end it early.

    Who drops it ends it, too.
    """

    def __init__(self, call: StreamedCall) -> None:
        items = call.method.result_items
        assert items is not None
        self._call = call
        self._reader = StreamReader(
            call.streams.receivers[RESULT],
            items.decode,
            progress=call.progress,
            flush=call.flush,
            is_over=call.is_over,
            unfit=lambda error: ProtocolError(f"{items.where}: an item does not fit: {error}"),
        )
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<stream of {self._call.method.name}>"

    async def __anext__(self) -> Any:
        """Return the next item; raises what the method raised, once its items were taken."""
        try:
            return await self._reader.__anext__()
        except StopAsyncIteration:
            raise
        except Exception:
            self._call.cancel()
            raise

    async def some(self) -> list[Any]:
        """Return the items that are there, at least one; none at the end."""
        return await self._reader.some(ITEMS_AT_ONCE_MAX)

    async def aclose(self) -> None:
        """End the stream: its writer is told. May be called again."""
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # Whoever collects garbage may be another thread, and the loop may have ended.
        if not self._call.outcome.done():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._call.cancel)


class BlockingStream(Iterator[Any]):
    """The same for a caller that blocks: `for`, and `close` to end it early."""

    def __init__(self, stream: ResultStream, bridge: Bridge) -> None:
        self._stream = stream
        self._bridge = bridge
        self._items: list[Any] = []

    def __repr__(self) -> str:
        return repr(self._stream)

    def __next__(self) -> Any:
        """Return the next item; raises what the method raised, once its items were taken."""
        if not self._items:
            self._items = self._bridge.run(self._stream.some())[::-1]
        if not self._items:
            raise StopIteration
        return self._items.pop()

    def close(self) -> None:
        """End the stream: its writer is told. May be called again."""
        self._bridge.run(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BridgedStream(AsyncIterator[Any]):
    """The same for a caller whose loop is another than the connection's."""

    def __init__(self, stream: ResultStream, bridge: Bridge) -> None:
        self._stream = stream
        self._bridge = bridge
        self._items: list[Any] = []

    def __repr__(self) -> str:
        return repr(self._stream)

    async def __anext__(self) -> Any:
        """Return the next item; raises what the method raised, once its items were taken."""
        if not self._items:
            found = await asyncio.wrap_future(self._bridge.submit(self._stream.some()))
            self._items = found[::-1]
        if not self._items:
            raise StopAsyncIteration
        return self._items.pop()

    async def aclose(self) -> None:
        """End the stream: its writer is told. May be called again."""
        await asyncio.wrap_future(self._bridge.submit(self._stream.aclose()))


class AwaitedIterator(AsyncIterator[Any]):
    """A blocking caller's argument that is a stream: asked on a thread of its own.

    The thread ends with the stream, at the latest when the iterator gives its next item.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        self._thread = futures.ThreadPoolExecutor(1, "liferaft-argument")

    async def __anext__(self) -> Any:
        """Return the next item, which the iterator may take its time to make."""
        item = await asyncio.get_running_loop().run_in_executor(self._thread, _next, self._items)
        if item is _END:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Close the iterator when it is not at work, and end the thread; waits for neither."""
        close = getattr(self._items, "close", None)
        if close is not None:
            self._thread.submit(close)
        self._thread.shutdown(wait=False)


class ElsewhereIterator(AsyncIterator[Any]):
    """An argument that is a stream, of a caller whose loop is another than the connection's."""

    def __init__(self, items: AsyncIterator[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._items = items
        self._loop = loop

    async def __anext__(self) -> Any:
        """Return the next item, awaited on the caller's loop."""
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(_anext(self._items), self._loop)
        )

    async def aclose(self) -> None:
        """Close the iterator, on the caller's loop."""
        close = getattr(self._items, "aclose", None)
        if close is not None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(close(), self._loop))


async def _anext(items: AsyncIterator[Any]) -> Any:
    return await anext(items)


_END: Final = object()


def _next(items: Iterator[Any]) -> Any:
    return next(items, _END)
