"""The links of one node to the other nodes: one connection to each, kept up by rpc.

What is called over them is said once, by an interface and the name of the object that every node
hosts it under. Nothing here opens a socket: rpc does, over the node's network.

Where the members are is in the log. Who is far behind does not have it yet, and must still answer
a leader that its log does not know: so nodes may also be met (`meet`).
"""

import asyncio
import logging
import random as random_module
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Generic, TypeVar

from typing_extensions import TypeForm

from liferaft.cluster.divergence import COMPARISON_OBJECT, ReplicaComparison
from liferaft.cluster.snapshot_source import SNAPSHOT_OBJECT, SnapshotSource
from liferaft.errors import AddressError, Unreachable
from liferaft.link.address import parse_addresses
from liferaft.link.base import Network
from liferaft.raft.types import NodeId
from liferaft.rpc.caller import CallerStubCreator
from liferaft.rpc.caller_state import Timing
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.interface import Interface

StubT = TypeVar("StubT")
OtherT = TypeVar("OtherT")

PEER_TIMING: Final = Timing(
    ping_busy=0.15, silence_busy_max=2.0, ping_idle=0.5, silence_idle_max=2.0
)
"""One-way calls are never answered, so only pings tell that a peer's host went away without a word.
One that is not answered is followed by others at the pace of `ping_busy`: ten that could be
answered in time are lost in a row once in 800 times when 30 % of the frames are, both ways."""

MET_MAX: Final = 16
"""Nodes reached that no log has told of; the oldest give way, for anybody may name some."""

NAME_SHOWN_MAX: Final = 80
"""Characters of a name that is not ours."""

_log = logging.getLogger("liferaft.cluster")


def shown(name: str) -> str:
    """Return a name that a stranger chose as it may stand in a log line, and be remembered."""
    return ascii(name if len(name) <= NAME_SHOWN_MAX else f"{name[:NAME_SHOWN_MAX]}...")


class Links(Generic[StubT]):
    """Stubs of the object `name` at the other nodes, by the nodes' names."""

    def __init__(
        self,
        interface: TypeForm[StubT],
        name: str,
        addresses: Mapping[NodeId, str],
        *,
        network: Network,
        random: random_module.Random,
        token: str = "",
    ) -> None:
        self.stubs: Final[dict[NodeId, StubT]] = {}
        self.addresses: Final[dict[NodeId, str]] = {}
        self._name = name
        self._creator = CallerStubCreator(Interface.of(interface))
        self._network = network
        self._random = random
        self._token = token
        self._met: dict[NodeId, None] = {}
        self._connections: dict[NodeId, CallerConnection] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._is_started = False
        self.reach(addresses)

    def start(self) -> None:
        """Begin to connect, in the background, for as long as it takes."""
        self._is_started = True
        for connection in self._connections.values():
            connection.open()

    def reach(self, addresses: Mapping[NodeId, str]) -> None:
        """Reach these nodes from now on, where they are new or have moved; forget nobody.

        One that was removed must still be told so.
        """
        for node_id, address in sorted(addresses.items()):
            self._met.pop(node_id, None)
            if self.addresses.get(node_id) == address:
                continue
            self._disconnect(node_id)
            self.addresses[node_id] = address
            connection = self._connections[node_id] = self._connection(
                address, self._creator, self._name
            )
            self.stubs[node_id] = self._creator.create(connection)
            if self._is_started:
                connection.open()

    def meet(self, node_id: NodeId, address: str) -> bool:
        """Reach a node that says where it is, unless it is known; return whether it is new."""
        if node_id in self.addresses:
            return False
        try:
            parse_addresses(address)
        except AddressError as error:
            _log.warning("where node %s is cannot be read: %s", shown(node_id), error)
            return False
        if len(self._met) >= MET_MAX:
            oldest = next(iter(self._met))
            del self._met[oldest]
            self._disconnect(oldest)
        self.reach({node_id: address})
        self._met[node_id] = None
        return True

    def reach_snapshots(self, node_id: NodeId) -> AbstractAsyncContextManager[SnapshotSource]:
        """Connect to a node's snapshots; see `_reach_other`."""
        return self._reach_other(node_id, SnapshotSource, SNAPSHOT_OBJECT)

    def reach_replica(self, node_id: NodeId) -> AbstractAsyncContextManager[ReplicaComparison]:
        """Connect to a node to compare states with it; see `_reach_other`."""
        return self._reach_other(node_id, ReplicaComparison, COMPARISON_OBJECT)

    @asynccontextmanager
    async def _reach_other(
        self, node_id: NodeId, interface: TypeForm[OtherT], name: str
    ) -> AsyncIterator[OtherT]:
        """Connect to another object of a node, over a link of its own: heartbeats do not wait.

        Raises `Unreachable` for a node of which no address is known.
        """
        address = self.addresses.get(node_id)
        if address is None:
            raise Unreachable(f"nobody has said where {node_id} is reached")
        creator = CallerStubCreator(Interface.of(interface))
        connection = self._connection(address, creator, name)
        connection.open()
        try:
            yield creator.create(connection)
        finally:
            await connection.aclose()

    async def stop(self) -> None:
        """Close every connection."""
        for connection in self._connections.values():
            await connection.aclose()
        await asyncio.gather(*self._closing)

    def _connection(self, address: str, creator: CallerStubCreator, name: str) -> CallerConnection:
        return CallerConnection(
            parse_addresses(address),
            interface=creator.interface,
            object=name,
            network=self._network,
            random=self._random,
            timing=PEER_TIMING,
            token=self._token,
        )

    def _disconnect(self, node_id: NodeId) -> None:
        self.addresses.pop(node_id, None)
        self.stubs.pop(node_id, None)
        old = self._connections.pop(node_id, None)
        if old is not None:
            task = asyncio.get_running_loop().create_task(old.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
