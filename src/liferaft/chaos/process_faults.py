"""Faults of processes: nodes and clients that are killed, stopped and frozen."""

from typing import Final

from liferaft.chaos.stage import Fault, Lane, Stage


async def _kill(stage: Stage) -> bool:
    node = await stage.pick()
    with stage.marked("killed", node):
        await stage.cluster.kill(node)
        stage.tell(f"{node} is killed with SIGKILL")
        await stage.hold(0.0, 2.0)
        await stage.start(node)
    return True


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


async def _kill_client(stage: Stage) -> bool:
    number = stage.random.choice(stage.crew.numbers)
    await stage.crew.replace(number)
    stage.tell(f"client {number} is killed with SIGKILL, and another one comes")
    return True


FAULTS: Final = (
    Fault("kill", Lane.NODES, "SIGKILL of a node, half the time the leader", _kill),
    Fault("kill-all", Lane.NODES, "SIGKILL of all nodes at once", _kill_all),
    Fault("restart", Lane.NODES, "SIGTERM of a node, which must end with status 0", _restart),
    Fault("pause", Lane.NODES, "SIGSTOP and SIGCONT of one node up to all of them", _pause),
    Fault("kill-client", Lane.LINKS, "SIGKILL of a client in the middle of a call", _kill_client),
)
