"""One node in this process, on a real directory: the log's promises without the price of a network.

The client speaks to it through memory, by the very frames that a remote one would send.
"""

import random as random_module
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from liferaft import api
from liferaft.cluster.config import NodeConfig
from liferaft.cluster.snapshot_policy import SnapshotPolicy
from liferaft.errors import LiferaftError
from liferaft.link.memory import MemoryNetwork
from liferaft.raft.config import RaftConfig
from liferaft.recipes.todo import Item, TodoList
from liferaft.replicated.node import replicated_node
from liferaft.storage.disk import Disk

NODE: Final = "n1"

SEGMENT_BYTES: Final = 4 * 1024
"""The smallest: some thirty entries, so that a script of hundreds changes files often."""

_ADDRESS: Final = "memory:n1"

_RAFT: Final = RaftConfig(election_timeout=0.02, heartbeat_interval=0.01, keep_entries=10)
"""A node alone waits for nobody, so it need not wait long before it leads."""

_SNAPSHOTS: Final = SnapshotPolicy(entries=40)
"""So that a script of hundreds takes some, and drops the log before them."""

ANSWER_TIMEOUT: Final = 30.0
"""Seconds for a call: a disk that other programs use, too, may take its time."""


class AsyncTodo(Protocol):
    """The to-do list as a client on the loop sees it."""

    async def add(self, text: str, *, by: str = "") -> Item:
        """Add an item at the end and return it."""

    async def items(self) -> list[Item]:
        """Return all items, the oldest first."""


@asynccontextmanager
async def solo_node(
    data: Path, disk: Disk, *, segment_bytes: int = SEGMENT_BYTES
) -> AsyncIterator[AsyncTodo]:
    """Run a node on `data` that hosts a to-do list, and give a stub of the list.

    Raises what `Node.start` raises, and the node's own failure when it ends meanwhile.
    """
    network = MemoryNetwork()
    config = NodeConfig(
        node_id=NODE,
        peers={NODE: _ADDRESS},
        data=str(data),
        segment_bytes=segment_bytes,
        raft=_RAFT,
        snapshots=_SNAPSHOTS,
    )
    async with AsyncExitStack() as stack:
        node = replicated_node(
            config,
            {"Todo": TodoList()},
            network=network,
            disk=disk,
            random=random_module.Random(),
        )
        await node.start()
        stack.push_async_callback(node.stop)
        todo = await api.aconnect(
            AsyncTodo, _ADDRESS, name="Todo", timeout=ANSWER_TIMEOUT, network=network
        )
        stack.push_async_callback(api.aclose, todo)
        try:
            yield todo
        except LiferaftError as error:
            raise (node.failure or error) from error
