"""Streams two gigabytes from one process to another, whose reader sleeps now and then.

Prints how many bytes came, and by how many bytes the resident memory of either process grew.
"""

import asyncio
import multiprocessing
import resource
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from typing import Protocol

import liferaft

BLOB_BYTES = 1024 * 1024
COUNT = 2048
PAUSE_EVERY = 64


class Source(Protocol):
    """Gives blobs."""

    def blobs(self, count: int) -> AsyncIterator[bytes]:
        """Give so many blobs."""
        ...


class SourceObject:
    """The implementation."""

    async def blobs(self, count: int) -> AsyncIterator[bytes]:
        """Give so many blobs."""
        for number in range(count):
            yield bytes([number % 256]) * BLOB_BYTES


def peak_bytes() -> int:
    """Return the largest resident memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def host(pipe: Connection) -> None:
    """Serve until told to end, and tell the growth then."""

    async def scene() -> None:
        async with await liferaft.aserve(SourceObject(), Source, "127.0.0.1:0") as stub:
            before = peak_bytes()
            pipe.send(stub.address)
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
            pipe.send(peak_bytes() - before)

    asyncio.run(scene())


async def read(address: str) -> tuple[int, int]:
    """Return how many bytes came, and the growth."""
    source = await liferaft.aconnect(Source, address)
    before, streamed = peak_bytes(), 0
    number = 0
    async for blob in source.blobs(COUNT):
        streamed += len(blob)
        number += 1
        if not number % PAUSE_EVERY:
            await asyncio.sleep(0.01)
    await liferaft.aclose(source)
    return streamed, peak_bytes() - before


def main() -> None:
    """Stream, and print the figures."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=host, args=(theirs,))
    process.start()
    streamed, growth = asyncio.run(read(ours.recv()))
    ours.send(None)
    print(streamed, growth, ours.recv())  # noqa: T201 - this is how the figures are told
    process.join()


if __name__ == "__main__":
    main()
