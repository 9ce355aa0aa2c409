"""A child process that ends when this process does, however this process ends.

- The child's standard input is a pipe that we hold. When we are gone, even by SIGKILL, the pipe
  ends, and the child, which watches it, stops.
- The child has a process group of its own, so that Ctrl-C in a terminal reaches only us; and when
  we die while the child is stopped by SIGSTOP, the system ends it with SIGHUP, as it does with
  every stopped group that nobody can continue any more.

Only processes that were started here are ever signalled, and each is waited for.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Self

TERMINATE_TIMEOUT = 5.0
"""Seconds that a child is given after SIGTERM before it is killed."""


class ChildProcess:
    """One child. Made by `start`, ended by `stop` or `kill`."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        self._process = process
        self._stdout = process.stdout
        self._stdin = process.stdin

    @classmethod
    async def start(cls, arguments: Sequence[str], *, log: Path | None = None) -> Self:
        """Start a process; its stderr is appended to the file `log`, or is ours without one."""
        with contextlib.ExitStack() as stack:
            stderr = None if log is None else stack.enter_context(log.open("ab"))
            return cls(
                await asyncio.create_subprocess_exec(
                    *arguments,
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=stderr,
                    preexec_fn=os.setpgrp,  # uvloop has no process_group=0
                )
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while the process lives."""
        return self._process.returncode

    async def read_line(self) -> str:
        """Return the next line of its stdout without the line's end, empty when there is none."""
        return (await self._stdout.readline()).decode(errors="replace").rstrip("\n")

    async def lines(self) -> AsyncIterator[str]:
        """Give the lines of its stdout until that ends."""
        async for line in self._stdout:
            yield line.decode(errors="replace").rstrip("\n")

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; to a process that has ended, nothing."""
        if self._process.returncode is not None:
            return
        # Not Process.send_signal: it polls before, and when the child has just ended, it takes the
        # exit status away from asyncio, which then reports 255. The id is still the child's: it is
        # free only once the child was waited for, and of that we hear in the next turn of the loop.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def write_line(self, line: str) -> None:
        """Give it a line on its standard input; to a process that has ended, nothing."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._stdin.write(f"{line}\n".encode())
            await self._stdin.drain()

    def close_stdin(self) -> None:
        """End its standard input, which asks it to finish what it does and to end."""
        self._stdin.close()

    async def wait(self) -> int:
        """Wait until it has ended and return its exit status."""
        status = await self._process.wait()
        self._stdin.close()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await self._stdin.wait_closed()
        return status

    async def kill(self) -> int:
        """End it at once with SIGKILL, and wait for it."""
        self.send_signal(signal.SIGKILL)
        return await self.wait()

    async def stop(self, timeout: float = TERMINATE_TIMEOUT) -> int:  # noqa: ASYNC109 - then killed
        """End it with SIGTERM, also when it is paused; with SIGKILL if it takes too long."""
        self.send_signal(signal.SIGTERM)
        self.send_signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(timeout):
                return await self.wait()
        except TimeoutError:
            return await self.kill()
