"""Streams for asyncio: items are awaited here, and encoded and decoded.

What travels is decided in `liferaft.rpc.stream`. A reader lets more come as its items are taken; a
writer waits until there is room. Both live on one event loop and belong to one call.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from liferaft.rpc.codec import encode
from liferaft.rpc.stream import Receiver, Sender


class Progress:
    """Wakes those who wait for anything to happen to the streams of one call."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        """Wait until something has happened."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(waiter)
        await waiter

    def wake(self) -> None:
        """Say that something has happened."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class StreamReader(AsyncIterator[Any]):
    """The items of a stream, decoded one by one as they are taken.

    `is_over` says whether no item will come that is not there yet, and raises what ended the call
    early. `unfit` makes the error for an item that is of another type than the interface says.
    """

    def __init__(
        self,
        receiver: Receiver,
        decode: Callable[[msgspec.Raw], Any],
        *,
        progress: Progress,
        flush: Callable[[], None],
        is_over: Callable[[], bool],
        unfit: Callable[[Exception], Exception],
    ) -> None:
        self._receiver = receiver
        self._decode = decode
        self._progress = progress
        self._flush = flush
        self._is_over = is_over
        self._unfit = unfit

    async def __anext__(self) -> Any:
        """Return the next item; raises `StopAsyncIteration` at the end."""
        while not self._receiver.is_ready:
            if self._receiver.is_closed or self._receiver.is_at_end or self._is_over():
                raise StopAsyncIteration
            await self._progress.wait()
        return self._take()

    async def some(self, count_max: int) -> list[Any]:
        """Return the items that are there, at least one; none at the end."""
        try:
            items = [await self.__anext__()]
        except StopAsyncIteration:
            return []
        while len(items) < count_max and self._receiver.is_ready:
            items.append(self._take())
        return items

    async def aclose(self) -> None:
        """Want nothing more: whoever writes is told."""
        self.close()

    def close(self) -> None:
        """Want nothing more; for callers on the loop's thread."""
        self._receiver.close()
        self._flush()
        self._progress.wake()

    def _take(self) -> Any:
        item = self._receiver.pop()
        if self._receiver.needs_credit:
            self._flush()
        try:
            return self._decode(item)
        except Exception as error:  # a user's class may raise anything at all when it is made
            self.close()
            raise self._unfit(error) from error


async def send_all(
    items: AsyncIterator[Any], sender: Sender, *, progress: Progress, flush: Callable[[], None]
) -> None:
    """Send what an iterator gives, as fast as the reader takes it, until either end closes.

    Raises what the iterator raises, and closes it in the end.
    """
    try:
        while not sender.is_closed:
            try:
                item = await anext(items)
            except StopAsyncIteration:
                break
            raw = msgspec.Raw(encode(item))
            while not sender.has_room and not sender.is_closed:
                flush()
                await progress.wait()
            sender.offer(raw)
            flush()
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()
