"""The streams of calls that a host executes: what their methods read and write.

A method that is awaited gets and gives async iterators. One that blocks gets iterators that wait in
its own thread, and gives one that is asked for its items on the worker threads, a few at a time, so
that no thread is held while the reader has enough. Nothing here knows of sessions and links.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import msgspec

from liferaft.errors import ConnectionLost, InvalidArgument, LiferaftError
from liferaft.rpc import cancellation
from liferaft.rpc.codec import encode
from liferaft.rpc.dispatch import Request
from liferaft.rpc.interface import ItemCodec, MethodSignature
from liferaft.rpc.stream import CHUNK_BYTES, RESULT, CallStreams, Sender
from liferaft.rpc.streaming import Progress, StreamReader, send_all
from liferaft.rpc.wire import Chunk, Credit
from liferaft.rpc.workers import Job, Workers

ITEMS_AT_ONCE_MAX: Final = 64
"""How many items a blocking iterator is asked for before others have their turn on its thread."""
SILENCE_MAX: Final = 60.0
"""Seconds without a word of the caller, after which its streams are given up."""
LOOK_INTERVAL: Final = 10.0
"""Seconds between looks whether the caller still speaks."""


class HostedStreams:
    """The streams of one call that is being executed; lives on the host's loop.

    `request` tells where the frames go, `heard_at` when the caller was last heard, and `give_up`
    is called when that is too long ago. Each stream holds a `window` of bytes at most. The frames
    of a call that a host made of its caller say so (`is_called_back`).
    """

    def __init__(
        self,
        signature: MethodSignature,
        *,
        request: Callable[[], Request],
        heard_at: Callable[[], float],
        give_up: Callable[[LiferaftError], None],
        window: int,
        is_called_back: bool = False,
    ) -> None:
        has_result = signature.result_items is not None
        self._streams = CallStreams(
            sending=(RESULT,) if has_result else (),
            receiving=signature.argument_items,
            window=window,
        )
        self._signature = signature
        self._sign = -1 if is_called_back else 1
        self._request = request
        self._heard_at = heard_at
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._progress = Progress()
        self._timer: asyncio.TimerHandle | None = None
        self._is_flush_due = False
        self._failure: BaseException | None = None
        self._arm()

    def take(self, frame: Chunk | Credit) -> None:
        """Take what the caller sent; raises `ProtocolError`."""
        self._streams.take(frame)
        self._progress.wake()
        self._flush_soon()

    def fail(self, reason: BaseException) -> None:
        """Have everybody who waits for an item raise `reason`: the call ends early."""
        self._failure = reason
        self._progress.wake()

    def end(self) -> None:
        """Hold nothing more; the call's answer says that nothing more is wanted."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._streams.close()
        if self._failure is None:
            self._failure = ConnectionLost("the call that the stream belongs to has ended")
        self._progress.wake()

    def arguments(self, values: tuple[Any, ...], *, is_blocking: bool) -> tuple[Any, ...]:
        """Return a method's arguments, with iterators in the place of those that are streams."""
        filled = list(values)
        for place, items in self._signature.argument_items.items():
            reader = self._reader(place, items)
            filled[place - 1] = BlockingReader(reader, self._loop) if is_blocking else reader
        return tuple(filled)

    async def send_result(self, items: AsyncIterator[Any]) -> None:
        """Send the items of the result; returns, or raises, when the caller has them all."""
        sender = self._streams.senders[RESULT]
        try:
            await send_all(items, sender, progress=self._progress, flush=self._flush_soon)
        except Exception:
            await self._drain(sender)
            raise
        await self._drain(sender)

    async def _drain(self, sender: Sender) -> None:
        while not sender.is_drained and self._failure is None:
            self._flush_soon()
            await self._progress.wait()

    def _reader(self, place: int, items: ItemCodec) -> StreamReader:
        return StreamReader(
            self._streams.receivers[place],
            items.decode,
            progress=self._progress,
            flush=self._flush_soon,
            is_over=self._is_over,
            unfit=lambda error: InvalidArgument(f"{items.where}: an item: {error}"),
        )

    def _is_over(self) -> bool:
        if self._failure is not None:
            raise self._failure
        return False

    def _flush_soon(self) -> None:
        """Send what there is at the end of this turn: many small items travel together."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._timer is None:
            return  # the call has ended
        request = self._request()
        for frame in self._streams.frames(self._sign * request.call.number, self._loop.time()):
            request.push(frame)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        now = self._loop.time()
        due = self._streams.due()
        at = now + LOOK_INTERVAL if due is None else min(max(due, now), now + LOOK_INTERVAL)
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        if self._loop.time() - self._heard_at() > SILENCE_MAX:
            self._give_up(ConnectionLost("the caller was not heard of for too long"))
        self._flush()


class BlockingReader(Iterator[Any]):
    """An argument that is a stream, for a method that blocks: waits in the method's own thread."""

    def __init__(self, reader: StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        self._reader = reader
        self._loop = loop
        self._items: list[Any] = []

    def __next__(self) -> Any:
        """Return the next item; raises `StopIteration` at the end."""
        if not self._items:
            work = self._reader.some(ITEMS_AT_ONCE_MAX)
            found = asyncio.run_coroutine_threadsafe(work, self._loop).result()
            self._items = found[::-1]
        if not self._items:
            raise StopIteration
        return self._items.pop()

    def close(self) -> None:
        """Want nothing more: the caller is told."""
        self._loop.call_soon_threadsafe(self._reader.close)


async def run_streaming(
    streams: HostedStreams,
    call: Callable[[], Any],
    *,
    job: Job,
    is_blocking: bool,
    workers: Workers,
) -> None:
    """Call a method whose result is a stream, and send that, as the task of `job`."""
    cancellation.executing(job)
    if is_blocking:
        produced = await asyncio.wrap_future(workers.submit(call))
    else:
        produced = call()
        if inspect.isawaitable(produced):
            produced = await produced
    if hasattr(produced, "__aiter__"):
        await streams.send_result(aiter(produced))
    else:
        await streams.send_result(_AskedInThreads(iter(produced), workers))


class _AskedInThreads(AsyncIterator[Any]):
    """A blocking iterator, asked on the worker threads.

    Each item comes over as soon as it is there. After some, the thread is free for others, and asks
    on when they were taken.
    """

    def __init__(self, items: Iterator[Any], workers: Workers) -> None:
        self._items = items
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._ready: deque[msgspec.Raw] = deque()
        self._progress = Progress()
        self._is_asking = False
        self._is_closed = False
        self._outcome: BaseException | None = None

    async def __anext__(self) -> Any:
        """Return the next item, encoded, which its thread may take its time to make."""
        while not self._ready:
            if self._outcome is not None:
                raise self._outcome
            if not self._is_asking:
                self._is_asking = True
                self._workers.submit(self._ask)
            await self._progress.wait()
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Close the iterator, now or as soon as it is not at work."""
        self._is_closed = True
        if not self._is_asking:
            self._workers.submit(self._close)

    def _ask(self) -> None:
        """Take items, in a worker thread."""
        tell = self._loop.call_soon_threadsafe
        size_bytes = count = 0
        try:
            for item in self._items:
                raw = msgspec.Raw(encode(item))
                tell(self._arrived, raw)
                size_bytes += len(memoryview(raw))
                count += 1
                if self._is_closed or size_bytes >= CHUNK_BYTES or count >= ITEMS_AT_ONCE_MAX:
                    tell(self._asked, None)
                    return
        except BaseException as error:  # noqa: BLE001 - whatever it raises is the call's outcome
            tell(self._asked, error)
        else:
            tell(self._asked, StopAsyncIteration())

    def _close(self) -> None:
        close = getattr(self._items, "close", None)
        if close is not None:
            close()

    def _arrived(self, item: msgspec.Raw) -> None:
        self._ready.append(item)
        self._progress.wake()

    def _asked(self, outcome: BaseException | None) -> None:
        self._is_asking = False
        self._outcome = outcome
        if self._is_closed and outcome is None:
            self._workers.submit(self._close)
        self._progress.wake()
