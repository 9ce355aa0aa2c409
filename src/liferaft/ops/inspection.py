"""Asks every node for what it has, once all of them have caught up."""

import asyncio
from typing import Final

from liferaft.cluster.admin import NodeStatus
from liferaft.errors import LiferaftError
from liferaft.ops.processes import POLL_INTERVAL, LocalCluster
from liferaft.ops.verdict import NodeView, decode_items
from liferaft.raft.types import NodeId

CATCH_UP_TIMEOUT: Final = 60.0
"""Seconds: what a node missed is sent to it in a moment, but through links that lose a lot."""


async def inspect(cluster: LocalCluster) -> tuple[NodeView, ...]:
    """Return what each node has, all after the same entry of the log if they ever get there.

    After `CATCH_UP_TIMEOUT` seconds the nodes that answer are returned as they are, for the verdict
    to find what is wrong with them.
    """
    views: tuple[NodeView, ...] = ()
    try:
        async with asyncio.timeout(CATCH_UP_TIMEOUT):
            while not _is_settled(views, len(cluster.nodes)):
                await _wait_caught_up(cluster)
                views = await _views(cluster)
    except TimeoutError:
        return await _views(cluster)
    return views


async def _wait_caught_up(cluster: LocalCluster) -> None:
    # The nodes answer when they are asked; they do not call. So there is no event to wait for.
    while not have_caught_up(await cluster.statuses(), len(cluster.nodes)):  # noqa: ASYNC110
        await asyncio.sleep(POLL_INTERVAL)


def have_caught_up(statuses: list[NodeStatus], size: int) -> bool:
    """Return whether all `size` nodes have applied all that any of them has in its log."""
    reached = {status.applied_index for status in statuses}
    known = {status.last_index for status in statuses}
    return len(statuses) == size and len(reached | known) == 1


def _is_settled(views: tuple[NodeView, ...], size: int) -> bool:
    return len(views) == size and len({view.applied_index for view in views}) == 1


async def _views(cluster: LocalCluster) -> tuple[NodeView, ...]:
    found = await asyncio.gather(*(_view(cluster, node) for node in cluster.nodes))
    return tuple(view for view in found if view is not None)


async def _view(cluster: LocalCluster, node: NodeId) -> NodeView | None:
    """Return what a node has, None when it does not answer."""
    try:
        admin = await cluster.admin(node)
        while True:
            before = await admin.digest()
            state = await admin.state("Todo")
            if await admin.digest() == before:  # so the state belongs to that digest
                break
    except LiferaftError:
        return None
    return NodeView(node, before.applied_index, before.digest, decode_items(state))
