"""The client processes of the demonstration, and what they report."""

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from liferaft.demo.client import CALL_TIMEOUT, ClientOptions
from liferaft.demo.ledger import Ledger
from liferaft.demo.options import DemoOptions
from liferaft.demo.reports import decode_report
from liferaft.ops.child import ChildProcess

FINISH_TIMEOUT: Final = CALL_TIMEOUT + 5.0
"""Seconds for a client to end its last call, whatever becomes of it, and to leave."""


class Crew:
    """The clients, all alike but for their names and their chances."""

    def __init__(self, options: DemoOptions, address: str, directory: Path) -> None:
        self.names: Final = tuple(f"client {n}" for n in range(1, options.clients + 1))
        self.ledger: Final = Ledger(self.names)
        self._options = options
        self._address = address
        self._directory = directory
        self._children: dict[str, ChildProcess] = {}
        self._readers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every client; from now on the ledger fills."""
        for number, name in enumerate(self.names, start=1):
            child = await ChildProcess.start(
                self._command(number, name), log=self._directory / f"client-{number}.log"
            )
            self._children[name] = child
            self._readers.append(asyncio.create_task(self._read(name, child)))

    async def finish(self) -> tuple[str, ...]:
        """Let every client end its call and leave; return a sentence for each that failed to."""
        for child in self._children.values():
            child.close_stdin()
        # Who does not leave in time is ended below, and its exit status shows it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_TIMEOUT):
                await asyncio.gather(*self._readers)
        problems: list[str] = []
        for name, child in self._children.items():
            status = await child.stop()
            if status != 0:
                problems.append(f"{name} ended with status {status}: see its log")
        return tuple(problems)

    async def stop(self) -> None:
        """End every client at once; does nothing after `finish`."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for child in self._children.values():
            await child.kill()

    async def _read(self, name: str, child: ChildProcess) -> None:
        loop = asyncio.get_running_loop()
        async for line in child.lines():
            self.ledger.record(name, decode_report(line), loop.time())

    def _command(self, number: int, name: str) -> Sequence[str]:
        options = ClientOptions(
            name=name,
            address=self._address,
            seed=self._options.seed * 1000 + number,
            loss=self._options.loss,
            delay=self._options.delay,
            duplicate=self._options.duplicate,
        )
        encoded = msgspec.json.encode(options).decode()
        return (sys.executable, "-m", "liferaft.demo.client", encoded)
