"""`liferaft demo`: the shared to-do list that survives, told as it goes, with a verdict."""

import asyncio
import contextlib
import signal
import sys

import msgspec
from rich.console import Console

from liferaft.cli.exits import ExitStatus
from liferaft.demo.narrator import Narrator, PlainNarrator, SilentNarrator
from liferaft.demo.options import DemoOptions, checked
from liferaft.demo.rich_narrator import RichNarrator
from liferaft.demo.run import OBJECT, Demo
from liferaft.demo.summary import Summary
from liferaft.ops.processes import LocalCluster

_DEFAULTS = DemoOptions()


def demo(
    *,
    nodes: int = _DEFAULTS.nodes,
    loss: float = _DEFAULTS.loss,
    delay: float = _DEFAULTS.delay,
    duration: float = _DEFAULTS.duration,
    seed: int = _DEFAULTS.seed,
    keep: bool = False,
    json: bool = False,
) -> int:
    """Show a to-do list that survives a leaky network, the leader's death and a partition.

    Ends with status 0 only if every acknowledged write is on every node, exactly once.

    Parameters
    ----------
    nodes
        How many nodes, each a process of its own.
    loss
        How likely each frame is lost, in each direction of each link, from 0 to 1.
    delay
        The longest time in seconds that a frame is held; each is held for a time up to it.
    duration
        How many seconds the clients write.
    seed
        Where the chances come from.
    keep
        Let the cluster run on afterwards, until Ctrl-C.
    json
        Print the verdict as one JSON object, and nothing else.
    """
    options = checked(
        DemoOptions(nodes=nodes, loss=loss, delay=delay, duration=duration, seed=seed)
    )
    try:
        summary = asyncio.run(_run(options, is_kept=keep, is_json=json))
    except asyncio.CancelledError:  # SIGTERM, which ends everything as cleanly as Ctrl-C
        return ExitStatus.INTERRUPTED
    return ExitStatus.OK if summary.is_ok else ExitStatus.NEGATIVE


async def _run(options: DemoOptions, *, is_kept: bool, is_json: bool) -> Summary:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    cluster = LocalCluster(options.nodes, objects=[OBJECT], leak=options.leak, seed=options.seed)
    with contextlib.closing(_narrator(is_json=is_json)) as narrator:
        async with cluster:
            summary = await Demo(options, cluster, narrator).run()
            if is_json:
                print(msgspec.json.encode(summary).decode(), flush=True)
            if not summary.is_ok:
                print(f"The data and logs are kept in {cluster.keep()}", file=sys.stderr)
            if is_kept:
                await _keep(cluster)
    return summary


def _narrator(*, is_json: bool) -> Narrator:
    if is_json:
        return SilentNarrator()
    if sys.stdout.isatty():
        return RichNarrator(Console(highlight=False))
    return PlainNarrator(sys.stdout)


async def _keep(cluster: LocalCluster) -> None:
    """Tell how to use the cluster, and wait for Ctrl-C, which is then no failure."""
    print(
        f"The cluster stays up at {cluster.address}\n"
        f"Its data and logs are in {cluster.directory}\n"
        f"Try: {sys.executable} examples/todo_rpc/client.py {cluster.address}\n"
        "Ctrl-C stops it and removes its data.",
        file=sys.stderr,
        flush=True,
    )
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
