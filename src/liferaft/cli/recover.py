"""`liferaft recover`: what is left of a cluster that lost its quorum for good goes on alone."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path

from liferaft.cli.exits import ExitStatus
from liferaft.cluster.recovering import Survivor, go_on_alone, survey
from liferaft.storage.disk import SystemDisk


def recover(data: Path, /, *, cluster: str, yes: bool = False) -> int:
    """Let one node go on alone, as a cluster of a new name, when a majority is lost for good.

    What the lost nodes acknowledged and this one never received is lost. Where several nodes are
    left, look at all of them first (without --yes) and use the one whose log goes furthest: the
    higher term, then the higher entry. The others join the new cluster with empty directories.

    Ends with status 0 when it was done, and 1 when --yes was not given.

    Parameters
    ----------
    data
        The node's data directory; the node must not run.
    cluster
        The name of the cluster that goes on, another than the present one's: nodes of the old
        cluster that come back find nobody then.
    yes
        Do it; without, only what would happen is told.
    """
    disk, path = SystemDisk(), str(data)
    work = go_on_alone(disk, path, cluster) if yes else survey(disk, path)
    survivor = asyncio.run(_with(disk, work))
    print(_told(survivor, cluster, is_done=yes))
    return ExitStatus.OK if yes else ExitStatus.NEGATIVE


async def _with(disk: SystemDisk, work: Coroutine[object, object, Survivor]) -> Survivor:
    try:
        return await work
    finally:
        await disk.close()


def _told(survivor: Survivor, cluster: str, *, is_done: bool) -> str:
    identity, last = survivor.identity, survivor.last
    others = ", ".join(survivor.others) or "nobody"
    found = (
        f"Node {identity.node_id} of cluster {identity.cluster_id} holds the log up to entry"
        f" {last.index} of term {last.term}; it last knew of {others} beside itself.\n"
        f"What they acknowledged behind entry {last.index} is lost, and so is what they put in its"
        " place in a later term; what this log holds counts from now on, whether it was"
        " acknowledged or not.\n"
    )
    if is_done:
        return (
            f"{found}It is the only voter of cluster {cluster} now. Start it with --cluster"
            f" {cluster}, and add others with `liferaft member add`; their data directories must be"
            " empty."
        )
    return (
        f"{found}With --yes it would become the only voter of cluster {cluster}. Nothing was"
        " changed. Give it only if a majority of the old cluster will never come back."
    )
