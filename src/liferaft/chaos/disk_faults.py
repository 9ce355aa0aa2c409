"""Faults of disks: full, slow, failing, without power; and kills in the middle of a write."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from liferaft.chaos.needs import Need
from liferaft.chaos.points import CALLS
from liferaft.chaos.power import cut_power
from liferaft.chaos.stage import Fault, Lane, Stage
from liferaft.chaos.strace import Meddling, Trace
from liferaft.ops.processes import POLL_INTERVAL
from liferaft.raft.types import NodeId

HIT_TIMEOUT: Final = 20.0
"""Seconds for a node to meet what was laid for it: to make a call, or to need space."""

DAMAGED_STATUS: Final = 6
"""`liferaft.cli.exits.ExitStatus.DAMAGED`, with which a node ends whose disk failed."""

KILLED: Final = -9

LATE_SYNC: Final = 0.2
"""Seconds that a sync is held up, long enough that the power goes in the middle of one."""

_AT_EACH_WRITE: Final = ("pwrite64", "fdatasync")
_AT_EACH_FILE: Final = ("openat", "ftruncate", "fallocate", "fsync")
"""Calls that a node at work makes whenever its log goes on to another file."""


async def _fill(stage: Stage) -> bool:
    """Leave no space until the node's log waits for some, and a while longer."""
    node = await stage.pick()
    disk = stage.disks[node]
    with stage.marked("disk full", node):
        disk.fill()
        try:
            is_made = await _waits_for_space(stage.cluster.data(node))
            if is_made:
                stage.tell(f"the disk of {node} is full, and its log waits for space")
                await stage.hold(0.2, 1.5)
        finally:
            disk.free()
        if not stage.cluster.is_running(node):
            stage.complain(f"{node} ended on a full disk: {stage.cluster.last_words(node)}")
            await stage.start(node)
    return is_made


async def _waits_for_space(data: Path) -> bool:
    """Wait until the newest segment could not be made for want of space."""
    for _ in range(round(HIT_TIMEOUT / POLL_INTERVAL)):
        if _is_out_of_space(data):
            return True
        await asyncio.sleep(POLL_INTERVAL)
    return False


def _is_out_of_space(data: Path) -> bool:
    """Return whether there is none, and a segment of the log that was begun cannot be made."""
    return os.statvfs(data).f_bavail == 0 and any(data.glob("*.log.new"))


async def _fail_sync(stage: Stage) -> bool:
    """Let one sync fail: the node must end, say why, and never try it again."""
    node = await stage.pick()
    said = stage.cluster.log_file(node).stat().st_size
    with stage.marked("its disk fails", node):
        meddling = Meddling(CALLS["fdatasync"], "error=EIO", 1)
        is_hit, status = await _meddle_until_ended(stage, node, meddling)
        if status is None:
            # One of a snapshot may fail: then there is none, and the node goes on with its log.
            if is_hit and not _has_failed_a_snapshot(stage.cluster.log_file(node), said):
                stage.complain(f"{node} went on after a sync had failed")
            return False
        stage.tell(f"a sync of {node} failed with EIO")
        words = stage.cluster.last_words(node)
        if status != DAMAGED_STATUS or not words.startswith("liferaft: "):
            stage.complain(f"{node} ended with status {status} after a failed sync: {words}")
        await stage.start(node)
    return True


def _has_failed_a_snapshot(log: Path, said: int) -> bool:
    """Return whether a node has told so behind what it had said before, in bytes."""
    return b"no snapshot could be taken" in log.read_bytes()[said:]


async def _kill_at_call(stage: Stage) -> bool:
    """Kill a node as it is about to make some call that changes its disk."""
    node = await stage.pick()
    call = stage.random.choice((*_AT_EACH_WRITE, *_AT_EACH_FILE))
    number = stage.random.randint(1, 30 if call in _AT_EACH_WRITE else 2)
    with stage.marked("killed", node):
        meddling = Meddling((call,), "signal=SIGKILL", number)
        _, status = await _meddle_until_ended(stage, node, meddling)
        if status is None:
            return False  # it does not make such a call now
        stage.tell(f"{node} is killed before its next {call} number {number}")
        if status != KILLED:
            words = stage.cluster.last_words(node)
            stage.complain(f"{node} ended with status {status}: {words}")
        await stage.start(node)
    return True


async def _meddle_until_ended(
    stage: Stage, node: NodeId, meddling: Meddling
) -> tuple[bool, int | None]:
    """Return whether the meddling gave an error, and the node's exit status, None if it goes on."""
    trace = await Trace.attach(stage.cluster.pid(node), meddling, stage.trace_file())
    status = None
    try:
        async with asyncio.timeout(HIT_TIMEOUT):
            status = await stage.cluster.wait_ended(node)
    except TimeoutError:
        pass  # the status stays None, which is the answer
    finally:
        await trace.detach()
    return trace.has_injected(), status


async def _slow_down(stage: Stage) -> bool:
    """Let every sync of a node take long."""
    node = await stage.pick()
    seconds = stage.random.uniform(0.02, 0.3)
    meddling = Meddling(CALLS["fdatasync"], f"delay_exit={round(seconds * 1e6)}")
    with stage.marked("slow disk", node):
        trace = await Trace.attach(stage.cluster.pid(node), meddling, stage.trace_file())
        try:
            await stage.hold(1.0, 3.0)
        finally:
            await trace.detach()
    if is_made := trace.has_injected():
        stage.tell(f"each sync of {node} took {seconds:.2f} s longer for a while")
    return is_made


async def _cut_power(stage: Stage) -> bool:
    node = await stage.pick()
    await _cut_power_of(stage, node)
    return True


async def _cut_all_power(stage: Stage) -> bool:
    await _cut_power_of(stage, *stage.cluster.nodes)
    return True


async def _cut_power_before_syncs(stage: Stage) -> bool:
    """Hold up every sync before it is made, and cut the power of all nodes in the middle of that.

    An answer that does not wait for its sync is then the answer to a write that is gone.
    """
    nodes = stage.cluster.nodes
    meddling = Meddling(CALLS["fdatasync"], f"delay_enter={round(LATE_SYNC * 1e6)}")
    traces: list[Trace] = []
    async with AsyncExitStack() as stack:
        for node in nodes:
            pid = stage.cluster.pid(node)
            trace = await Trace.attach(pid, meddling, stage.trace_file())
            stack.push_async_callback(trace.detach)
            traces.append(trace)
        with stage.marked("slow disk", *nodes):
            await stage.hold(0.5, 1.5)
        await _cut_power_of(stage, *nodes)
    return any(trace.has_injected() for trace in traces)


async def _cut_power_of(stage: Stage, *nodes: NodeId) -> None:
    with stage.marked("no power", *nodes):
        await cut_power(stage.cluster, {node: stage.disks[node] for node in nodes})
        stage.tell(f"the power of {', '.join(nodes)} is cut: what was not synced is gone")
        await stage.start(*nodes)


_LOOP: Final = (Need.LOOP,)
_STRACE: Final = (Need.STRACE,)

FAULTS: Final = (
    Fault("full", Lane.NODES, "a disk without space until the log waits for it", _fill, _LOOP),
    Fault("fsync", Lane.NODES, "a sync that fails with EIO", _fail_sync, _STRACE),
    Fault("slow", Lane.NODES, "syncs that take up to 0.3 s longer", _slow_down, _STRACE),
    Fault("crash-point", Lane.NODES, "SIGKILL before a call to the disk", _kill_at_call, _STRACE),
    Fault("power", Lane.NODES, "the power of a node, with all not synced", _cut_power, _LOOP),
    Fault("power-all", Lane.NODES, "the power of all nodes at once", _cut_all_power, _LOOP),
    Fault(
        "power-late",
        Lane.NODES,
        "the power of all nodes while their syncs are held up",
        _cut_power_before_syncs,
        (*_LOOP, *_STRACE),
    ),
)
