"""A node writes its snapshots in a copy of itself, which must be in nobody's way afterwards."""

import asyncio
import os
import random
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest

from liferaft import api
from liferaft.chaos.loop_disk import ToolFailed
from liferaft.chaos.narrator import SilentNarrator
from liferaft.chaos.options import ChaosOptions
from liferaft.chaos.run import ChaosRound, chaos_cluster
from liferaft.chaos.strace import Meddling, Trace
from liferaft.errors import LiferaftError
from liferaft.ops.processes import LocalCluster, copies_of, has_ended

pytestmark = [pytest.mark.slow, pytest.mark.processes]

VALUE_BYTES = 1_000_000
KEYS = 20
"""So that a snapshot takes some tenths of a second to write."""

DELAY = 600.0
"""Seconds that the copy is held up where it asks whether its node lives: until it is let go of."""


class AsyncStore(Protocol):
    """The key-value object as this test uses it."""

    async def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""


@asynccontextmanager
async def writing(cluster: LocalCluster) -> AsyncIterator[None]:
    """Let a client write while the block lasts."""

    async def write() -> None:
        store = await api.aconnect(AsyncStore, cluster.address, name="KeyValue")
        try:
            while True:
                key = b"%d" % random.randrange(KEYS)
                with suppress(LiferaftError):
                    await store.put(key, random.randbytes(VALUE_BYTES))
        finally:
            await api.aclose(store)

    task = asyncio.ensure_future(write())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def watched(pid: int) -> Iterator[int]:
    """Give a descriptor that can be read once the process has ended."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def files_of(pid: int) -> list[str]:
    """Return what a process has open."""
    return [str(name.readlink()) for name in Path(f"/proc/{pid}/fd").iterdir()]


async def delayed_copy(cluster: LocalCluster, place: Path) -> tuple[int, list[str], Trace]:
    """Hold a copy up in the midst of a snapshot; return it, what it has open, and what holds it.

    A signal would not do: a stopped process whose parent ends is ended by the system.
    """
    slow = Meddling(("getppid",), f"delay_enter={round(DELAY * 1e6)}")
    while True:
        await asyncio.sleep(0.001)
        for copy in copies_of(cluster.pid("n1")):
            with suppress(ToolFailed, OSError):
                trace = await Trace.attach(copy, slow, place / f"trace-{copy}", has_threads=False)
                held = files_of(copy)
                if any("snapshots" in each for each in held):  # so it is not done yet
                    return copy, held, trace
                await trace.detach()


@pytest.mark.usefixtures("strace")
async def test_a_copy_that_outlives_its_node_holds_nothing_of_it_and_ends(tmp_path: Path) -> None:
    objects = ["KeyValue=liferaft.recipes.kv:KeyValue"]
    options = ("--snapshot-entries=5",)
    cluster = LocalCluster(1, objects=objects, directory=tmp_path, options=options)
    async with asyncio.timeout(60), cluster:
        async with writing(cluster):
            copy, held, trace = await delayed_copy(cluster, tmp_path)
            await cluster.kill("n1")
            await cluster.start("n1")  # which needs the port and the lock
            was_there = not has_ended(copy)
            with watched(copy) as end:
                await trace.detach()
                await asyncio.to_thread(select.select, [end], [], [])
        await cluster.wait_leader()

    data = str(cluster.data("n1"))
    assert was_there
    assert [] == [each for each in held if each.startswith("socket:")]
    assert [] == [each for each in held if each.startswith(data) and "snapshots" not in each]


async def test_nodes_are_killed_as_they_write_replaced_and_hand_over(tmp_path: Path) -> None:
    """A round of what concerns snapshots and members; the new node began with a snapshot."""
    options = ChaosOptions(seconds=0.0, faults=("kill-snapshot", "replace", "transfer"))
    async with chaos_cluster(options, tmp_path) as (cluster, disks):
        report = await ChaosRound(options, cluster, disks, SilentNarrator()).run()
        new = next(node for node in cluster.nodes if node not in ("n1", "n2", "n3"))
        snapshots = list((cluster.data(new) / "snapshots").glob("*.snapshot"))

    assert () == report.problems
    assert {"kill-snapshot", "replace", "transfer"} == {k for k, n in report.faults.items() if n}
    assert snapshots
