"""Runs one node in this process until it is told to stop, or cannot go on."""

import asyncio
import random as random_module
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from liferaft.api import aserve
from liferaft.cluster.config import NodeConfig
from liferaft.cluster.group_host import GroupHost
from liferaft.cluster.node import Node
from liferaft.link.base import Network
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.system import SystemNetwork
from liferaft.ops.control import CONTROL_OBJECT, LinkControl, LinkController
from liferaft.replicated.node import replicated_groups, replicated_node
from liferaft.storage.disk import Disk, SystemDisk


class Hosting(msgspec.Struct, frozen=True):
    """One node and what it hosts. `leak` is for what the node sends, drawn from `seed`.

    `objects` makes them, in their first state: once, or once for each of `groups` where there are
    any. `control` is where `LinkControl` is served, empty for nowhere.
    """

    config: NodeConfig
    objects: Callable[[], dict[str, object]]
    groups: tuple[str, ...] = ()
    leak: Leak = Leak()
    seed: int = 0
    control: str = ""


async def host_node(
    hosting: Hosting, *, stop: asyncio.Event, on_listening: Callable[[str], None]
) -> None:
    """Run the node until `stop` is set, then let another lead; leaves nothing behind.

    `on_listening` gets one sentence once the node can be reached. Raises what `Node.start` raises,
    and the node's own failure when it cannot go on.
    """
    config = hosting.config
    async with _network(hosting) as network, AsyncExitStack() as stack:
        disk = SystemDisk()
        stack.push_async_callback(disk.close)
        node = _node(hosting, network, disk)
        await node.start()
        stack.push_async_callback(node.stop)
        on_listening(
            f"node {config.node_id} of cluster {config.cluster_id} "
            f"listens on {config.address}, data in {config.data}"
        )
        await _wait_stopped_or_failed(node, stop)
        await node.hand_over()


def _node(hosting: Hosting, network: Network, disk: Disk) -> Node | GroupHost:
    # Never from the seed: a node that starts again must not draw the same session ids.
    random = random_module.Random()
    config, objects = hosting.config, hosting.objects
    if not hosting.groups:
        return replicated_node(config, objects(), network=network, disk=disk, random=random)
    return replicated_groups(
        config, hosting.groups, objects, network=network, disk=disk, random=random
    )


async def _wait_stopped_or_failed(node: Node | GroupHost, stop: asyncio.Event) -> None:
    stopped = asyncio.create_task(stop.wait())
    failed = asyncio.create_task(node.wait_failed())
    try:
        await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            raise failed.result()
    finally:
        stopped.cancel()
        failed.cancel()


@asynccontextmanager
async def _network(hosting: Hosting) -> AsyncIterator[Network]:
    """Give the node its network: a leaky one only where leaks were asked for."""
    config = hosting.config
    network = SystemNetwork(tls=config.tls, is_insecure=config.is_insecure)
    if not hosting.control and hosting.leak == Leak():
        yield network
        return
    # The same seed for every node of a cluster still gives each node its own chances.
    seed = zlib.crc32(f"{hosting.seed} {config.node_id}".encode())
    leaky = LeakyNetwork(network, seed=seed, outgoing=hosting.leak)
    if not hosting.control:
        yield leaky
        return
    controller = LinkController(leaky)
    async with await aserve(controller, LinkControl, hosting.control, name=CONTROL_OBJECT):
        yield leaky


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's event loop, about three times as fast as asyncio's, or that without it."""
    try:
        import uvloop  # noqa: PLC0415 - there is none on Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
