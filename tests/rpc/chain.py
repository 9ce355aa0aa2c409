"""Hosts in processes of their own, one behind the other: `python -m tests.rpc.chain [ADDRESS]`.

Without an address it does the work; with one it passes each call on to there. It prints its own
address, and serves until its standard input ends.
"""

import asyncio
import sys
import threading
from typing import Protocol

import liferaft
from liferaft.rpc import deadline

BLINK = 0.002


class Worker(Protocol):
    async def work(self) -> None: ...
    async def time_left(self) -> float | None: ...
    async def counts(self) -> tuple[int, int]: ...


class FarWorker:
    """Works on one thread, for as long as it is wanted; `counts` waits for that thread."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    def work(self) -> None:
        self.begun += 1
        print("begun", flush=True)  # noqa: T201 - whoever cancels the call waits for it
        while not liferaft.cancelled():
            threading.Event().wait(BLINK)
        self.ended += 1

    def time_left(self) -> float | None:
        return deadline.time_left()

    def counts(self) -> tuple[int, int]:
        return self.begun, self.ended


class Between:
    """Passes calls on."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def work(self) -> None:
        await self._worker.work()

    async def time_left(self) -> float | None:
        return await self._worker.time_left()

    async def counts(self) -> tuple[int, int]:
        return await self._worker.counts()


async def main(addresses: list[str]) -> None:
    """Serve until the input ends."""
    workers = [await liferaft.aconnect(Worker, address) for address in addresses]
    object_ = Between(workers[0]) if workers else FarWorker()
    async with await liferaft.aserve(object_, Worker, "127.0.0.1:0", threads=1) as host:
        print(host.address, flush=True)  # noqa: T201 - this is how the address is told
        await asyncio.to_thread(sys.stdin.read)
    for worker in workers:
        await liferaft.aclose(worker)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
