"""The client processes under faults, and the files in which they record what they do."""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from liferaft.chaos.client import CALL_TIMEOUT, ClientOptions
from liferaft.chaos.history import Call, calls_of, read_events
from liferaft.link.leak import Leak
from liferaft.ops.child import ChildProcess

FINISH_TIMEOUT: Final = 6 * CALL_TIMEOUT
"""Seconds for a client to end its last call, whatever becomes of it, and to leave."""

HISTORIES: Final = "history-*.ndjson"

LEAK: Final = Leak(loss=0.02, delay_max=0.002, duplicate=0.02)
"""What each client's own links do all along: answers are lost and calls come twice."""


class Crew:
    """The clients. One that is killed is replaced by another, with its own number and file."""

    def __init__(self, size: int, address: str, directory: Path, *, seed: int) -> None:
        self._size = size
        self._address = address
        self._directory = directory
        self._seed = seed
        self._started = 0
        self._children: dict[int, ChildProcess] = {}

    @property
    def numbers(self) -> tuple[int, ...]:
        """The clients that were started and not killed."""
        return tuple(self._children)

    async def start(self) -> None:
        """Start every client, and wait until all are connected or have failed to be."""
        for _ in range(self._size):
            await self._start_one()
        for child in self._children.values():
            await child.read_line()

    async def _start_one(self) -> None:
        self._started += 1
        number = self._started
        options = ClientOptions(
            number=number,
            address=self._address,
            history=str(self.history_file(number)),
            seed=self._seed * 1000 + number,
            leak=LEAK,
        )
        encoded = msgspec.json.encode(options).decode()
        self._children[number] = await ChildProcess.start(
            (sys.executable, "-m", "liferaft.chaos.client", encoded),
            log=self._directory / f"client-{number}.log",
        )

    async def replace(self, number: int) -> None:
        """Kill a client in the middle of whatever it does, and start another."""
        await self._children.pop(number).kill()
        await self._start_one()

    async def finish(self) -> tuple[str, ...]:
        """Let every client end its call and leave; return a sentence for each that failed to."""
        for child in self._children.values():
            child.close_stdin()
        # Who does not leave in time is ended below, and its exit status shows it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_TIMEOUT):
                await asyncio.gather(*(child.wait() for child in self._children.values()))
        problems: list[str] = []
        for number, child in self._children.items():
            status = await child.stop()
            if status != 0:
                problems.append(f"client {number} ended with status {status}: see its log")
        return tuple(problems)

    async def stop(self) -> None:
        """End every client at once; does nothing after `finish`."""
        for child in self._children.values():
            await child.kill()

    def history_file(self, number: int) -> Path:
        """Where a client's history is."""
        return self._directory / HISTORIES.replace("*", str(number))

    def recorded_bytes(self) -> int:
        """Return how much all clients recorded so far."""
        return sum(file.stat().st_size for file in self._files())

    def calls(self) -> list[Call]:
        """Return all calls of all clients that may have been executed."""
        return [call for file in self._files() for call in calls_of(read_events(file))]

    def _files(self) -> Sequence[Path]:
        return sorted(self._directory.glob(HISTORIES))
