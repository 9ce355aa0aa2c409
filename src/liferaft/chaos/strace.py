"""strace, attached to a process to meddle with its system calls: to fail, to delay, to kill.

A trace is of one meddling. strace counts the calls of each thread apart, from when it attaches.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from liferaft.chaos.loop_disk import ToolFailed
from liferaft.ops.child import ChildProcess

_TO_STDOUT: Final = 'exec "$@" 2>&1'
"""strace says on stderr that it is attached; its parent reads its stdout."""


class Meddling(msgspec.Struct, frozen=True):
    """What is done at which system calls: `effect` as strace writes it, such as "error=EIO".

    `at` is which call of each thread it hits, counted from 1; 0 is every one. Without an effect the
    calls are only noted.
    """

    calls: tuple[str, ...]
    effect: str = ""
    at: int = 0

    def arguments(self) -> tuple[str, ...]:
        """Return the options for strace."""
        # A name that this machine's kernel does not have is skipped by the question mark.
        names = ",".join(f"?{call}" for call in self.calls)
        if not self.effect:
            return ("-e", f"trace={names}")
        when = f":when={self.at}" if self.at else ""
        return ("-e", f"trace={names}", "-e", f"inject={names}:{self.effect}{when}")


class Trace:
    """One strace at work. Made by `attach`, ended by `detach` or by the end of what it traces."""

    def __init__(self, child: ChildProcess, output: Path) -> None:
        self._child = child
        self._output = output

    @classmethod
    async def attach(
        cls, pid: int, meddling: Meddling, output: Path, *, has_threads: bool = True
    ) -> Self:
        """Attach to a process and all its threads, or to the one thread with that id.

        `output` is where the calls are noted. Raises `ToolFailed`.
        """
        threads = ("-f",) if has_threads else ()
        strace = ("strace", *threads, "-p", str(pid), "-o", str(output), *meddling.arguments())
        child = await ChildProcess.start(("/bin/sh", "-c", _TO_STDOUT, "sh", *strace))
        answer = await child.read_line()
        if "attached" not in answer:
            await child.stop()
            raise ToolFailed(f"strace could not attach: {answer or 'it said nothing'}")
        return cls(child, output)

    async def detach(self) -> None:
        """Let the process go on unharmed; does nothing when it has ended."""
        await self._child.stop()

    async def wait_ended(self) -> None:
        """Wait until the traced process or thread has ended."""
        await self._child.wait()

    def counts(self) -> Counter[str]:
        """Return how many of each call were begun so far."""
        return count_calls(self._lines())

    def has_injected(self) -> bool:
        """Whether an error was given or a call delayed."""
        return any("(INJECTED)" in line or "(DELAYED)" in line for line in self._lines())

    def _lines(self) -> Sequence[str]:
        return self._output.read_text(errors="replace").splitlines()


def count_calls(lines: Sequence[str]) -> Counter[str]:
    """Return how many of each call a trace without `-f` begins."""
    return Counter(name for line in lines if (name := line.partition("(")[0]).isidentifier())
