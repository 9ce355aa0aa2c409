"""Processes that look on, and are never kept waiting themselves: their priority is the highest.

    python -m tests.cluster.onlookers processor NUMBER
    python -m tests.cluster.onlookers node ADDRESS

The first sees when the machine itself stood still, as one does whose host shares its processors
out: it wakes on that processor every millisecond, and where it wakes late nobody else ran there
either. The second asks a node for its status every few milliseconds, and sees how long each answer
took. Needs Linux, and the right to such a priority.
"""

import asyncio
import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import uvloop

import liferaft
from liferaft.cluster.admin import ADMIN_OBJECT, NodeAdmin

NAP_SECONDS = 0.001
LATE_SECONDS = 0.003
ASK_SECONDS = 0.003
PRIORITY = 50
"""Of who watches a processor; who asks a node comes after it."""

Interval = tuple[float, float]
"""When something began and ended, in seconds of `time.perf_counter`, the same in all processes."""


class Seen:
    """What an onlooker has seen."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def intervals(self) -> list[Interval]:
        """Return what was seen until now."""
        with self._path.open() as lines:
            whole = [line.split() for line in lines if line.endswith("\n")]
        return [(float(began), float(ended)) for began, ended in whole]


@contextmanager
def onlooker(kind: str, what: str) -> Iterator[Seen]:
    """Look on while the block runs."""
    with NamedTemporaryFile() as seen:
        command = [sys.executable, "-m", __name__, kind, what]
        with subprocess.Popen(command, stdout=seen.file) as process:
            try:
                yield Seen(Path(seen.name))
            finally:
                process.kill()


def merged(*seen: Seen) -> list[Interval]:
    """Return when any of them saw something, in order and without overlaps."""
    found: list[Interval] = []
    for began, ended in sorted(interval for each in seen for interval in each.intervals()):
        if found and began <= found[-1][1]:
            found[-1] = found[-1][0], max(ended, found[-1][1])
        else:
            found.append((began, ended))
    return found


def watch(processor: int) -> None:
    """Tell each interval in which the processor stood still."""
    os.sched_setaffinity(0, {processor})
    come_first(PRIORITY)
    last = time.perf_counter()
    while True:
        time.sleep(NAP_SECONDS)
        now = time.perf_counter()
        if now - last > LATE_SECONDS:
            tell(last, now)
        last = now


async def ask(address: str) -> None:
    """Tell how long each answer of the node took."""
    node = await liferaft.aconnect(NodeAdmin, address, name=ADMIN_OBJECT)
    await node.status()
    come_first(PRIORITY - 1)
    while True:
        began = time.perf_counter()
        await node.status()
        tell(began, time.perf_counter())
        await asyncio.sleep(ASK_SECONDS)


def come_first(priority: int) -> None:
    """Never wait for a processor from now on, nor for the garbage collector."""
    gc.disable()
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))


def tell(began: float, ended: float) -> None:
    """Print an interval, at once."""
    print(began, ended, flush=True)  # noqa: T201


if __name__ == "__main__":
    if sys.argv[1] == "processor":
        watch(int(sys.argv[2]))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask(sys.argv[2]))
