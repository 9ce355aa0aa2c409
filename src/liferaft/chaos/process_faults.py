"""Faults of processes: nodes and clients that are killed, stopped and frozen."""

import asyncio
import contextlib
from typing import Final

from liferaft.chaos.stage import Fault, Lane, Stage
from liferaft.errors import LiferaftError
from liferaft.ops.processes import copies_of, has_ended
from liferaft.raft.types import NodeId
from liferaft.rpc.deadline import deadline

COPY_TIMEOUT: Final = 10.0
"""Seconds to wait for a node that was asked for a snapshot to begin with it."""

COPY_POLL_INTERVAL: Final = 0.001
"""Seconds: a small state is written within some."""

COPY_ENDS_WITHIN: Final = 5.0
"""Seconds that a copy may take to see that it is alone; it looks before each piece it writes."""

START_CUT_OFF_MAX: Final = 0.8
"""Seconds after which a node that starts is killed again: it may have recovered by then, or not."""

STARVED_RUNS: Final = 0.01
STARVED_WAITS: Final = 0.09
"""Seconds that a starved node runs and waits by turns: it has a tenth of a core."""


async def _kill(stage: Stage) -> bool:
    node = await stage.pick()
    with stage.marked("killed", node):
        await stage.cluster.kill(node)
        stage.tell(f"{node} is killed with SIGKILL")
        await stage.hold(0.0, 2.0)
        await stage.start(node)
    return True


async def _kill_while_writing(stage: Stage) -> bool:
    """Kill a node while a copy of it writes a snapshot; no copy may outlive it, nor be in the way.

    So the node is started again at once, when the copy may still be there. The leader is asked for
    a snapshot: by themselves nodes take fewer the larger their state is.
    """
    node = (await stage.cluster.wait_leader()).node_id
    asking = asyncio.create_task(_ask_for_snapshot(stage, node))
    try:
        copy = await _next_copy(stage.cluster.pid(node))
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    if copy is None:
        return False  # another node leads by now, or the system does not tell of copies
    with stage.marked("killed", node):
        await stage.cluster.kill(node)
        stage.tell(f"{node} is killed with SIGKILL while a copy of it writes a snapshot")
        await stage.start(node)
        if not await _ends(copy):
            stage.complain(f"a copy of {node}, process {copy}, goes on without it")
    return True


async def _ask_for_snapshot(stage: Stage, node: NodeId) -> None:
    # That there is no answer is what is wanted.
    with contextlib.suppress(LiferaftError), deadline(COPY_TIMEOUT):
        await (await stage.cluster.admin(node)).take_snapshot()


async def _next_copy(pid: int) -> int | None:
    """Return the next copy that a process makes of itself, as soon as it is there."""
    for _ in range(round(COPY_TIMEOUT / COPY_POLL_INTERVAL)):
        if copies := copies_of(pid):
            return copies[0]
        await asyncio.sleep(COPY_POLL_INTERVAL)
    return None


async def _ends(pid: int) -> bool:
    """Wait until a process has ended, for a while at most; return whether it has."""
    for _ in range(round(COPY_ENDS_WITHIN / COPY_POLL_INTERVAL)):
        if has_ended(pid):
            return True
        await asyncio.sleep(COPY_POLL_INTERVAL)
    return False


async def _kill_all(stage: Stage) -> bool:
    nodes = stage.cluster.nodes
    with stage.marked("killed", *nodes):
        await stage.cluster.kill(*nodes)
        stage.tell("all nodes are killed with SIGKILL at once")
        await stage.start(*nodes)
    return True


async def _restart(stage: Stage) -> bool:
    node = await stage.pick()
    with stage.marked("stopped", node):
        status = await stage.cluster.stop_node(node)
        stage.tell(f"{node} is stopped with SIGTERM")
        if status != 0:
            stage.complain(f"{node} was asked to stop, and ended with status {status}")
        await stage.start(node)
    return True


async def _pause(stage: Stage) -> bool:
    """Freeze some nodes, at times all of them: for clients and peers, time passes."""
    count = stage.random.randint(1, len(stage.cluster.nodes))
    nodes = stage.random.sample(stage.cluster.nodes, count)
    with stage.marked("paused", *nodes):
        for node in nodes:
            stage.cluster.pause(node)
        stage.tell(f"{', '.join(nodes)} paused with SIGSTOP")
        try:
            await stage.hold(0.2, 2.5)
        finally:
            for node in nodes:
                stage.cluster.resume(node)
    return True


async def _crash_loop(stage: Stage) -> bool:
    """Kill a node again and again as it starts: each recovery finds what the one before left."""
    node = await stage.pick()
    times = stage.random.randint(3, 5)
    with stage.marked("crash loop", node):
        await stage.cluster.kill(node)
        for _ in range(times):
            await stage.cluster.spawn(node)
            await stage.hold(0.1, START_CUT_OFF_MAX)
            await stage.cluster.kill(node)
        stage.tell(f"{node} is killed with SIGKILL, and {times} times more as it starts")
        await stage.start(node)
    return True


async def _starve(stage: Stage) -> bool:
    """Let one node up to all of them have a tenth of a core each, in slices of 10 ms."""
    nodes = stage.random.sample(
        stage.cluster.nodes, stage.random.randint(1, len(stage.cluster.nodes))
    )
    turns = stage.random.randint(10, 30)
    with stage.marked("starved", *nodes):
        stage.tell(f"a tenth of a core is left to {', '.join(nodes)}")
        await asyncio.gather(*(_run_by_turns(stage, node, turns) for node in nodes))
    return True


async def _run_by_turns(stage: Stage, node: NodeId, turns: int) -> None:
    try:
        for _ in range(turns):
            stage.cluster.pause(node)
            await asyncio.sleep(STARVED_WAITS)
            stage.cluster.resume(node)
            await asyncio.sleep(STARVED_RUNS)
    finally:
        stage.cluster.resume(node)


async def _kill_client(stage: Stage) -> bool:
    number = stage.random.choice(stage.crew.numbers)
    await stage.crew.replace(number)
    stage.tell(f"client {number} is killed with SIGKILL, and another one comes")
    return True


FAULTS: Final = (
    Fault("kill", Lane.NODES, "SIGKILL of a node, half the time the leader", _kill),
    Fault(
        "kill-snapshot",
        Lane.NODES,
        "SIGKILL of a node while it writes a snapshot",
        _kill_while_writing,
    ),
    Fault("kill-all", Lane.NODES, "SIGKILL of all nodes at once", _kill_all),
    Fault("restart", Lane.NODES, "SIGTERM of a node, which must end with status 0", _restart),
    Fault("crash-loop", Lane.NODES, "SIGKILL of a node again and again as it starts", _crash_loop),
    Fault("pause", Lane.NODES, "SIGSTOP and SIGCONT of one node up to all of them", _pause),
    Fault("starve", Lane.NODES, "a tenth of a core for one node up to all of them", _starve),
    Fault("kill-client", Lane.LINKS, "SIGKILL of a client in the middle of a call", _kill_client),
)
