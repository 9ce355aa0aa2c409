"""How Raft's messages travel: as one-way calls of the rpc package on the interface `RaftPeer`.

Raft resends by itself, so a message that is lost is lost, and a peer that cannot be reached costs
nothing but the attempt to connect. Nothing here opens a socket: rpc does, over the node's network.

Where the members are is in the log. Who is far behind does not have it yet, and must still answer
a leader that its log does not know: so each envelope says where its sender is reached (`meet`).
"""

import asyncio
import logging
import random as random_module
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from liferaft.cluster.envelope import Introduction, opened, sealed
from liferaft.cluster.introductions import Introductions
from liferaft.cluster.snapshot_source import SNAPSHOT_OBJECT, SnapshotSource
from liferaft.errors import AddressError, ProtocolError, Unreachable
from liferaft.link.address import parse_addresses
from liferaft.link.base import Network
from liferaft.raft.messages import Message
from liferaft.raft.types import NodeId
from liferaft.rpc.caller import CallerStubCreator
from liferaft.rpc.caller_state import Timing
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.interface import Interface, oneway, role

PEER_OBJECT: Final = "_raft"
"""The name of every node's `RaftPeer`; the underscore keeps it out of users' way."""

PEER_ROLE: Final = "peer"
"""What a node's token must allow, where nodes have tokens."""

PEER_TIMING: Final = Timing(
    ping_busy=0.2, silence_busy_max=2.0, ping_idle=0.2, silence_idle_max=2.0
)
"""One-way calls are never answered, so only pings tell that a peer's host went away without a word.
Ten in a row are lost once in 800 times when 30 % of the frames are, both ways."""

MET_MAX: Final = 16
"""Nodes reached that no log has told of; the oldest give way, for anybody may name some."""

NAME_SHOWN_MAX: Final = 80
"""Characters of a name that is not ours."""

_log = logging.getLogger("liferaft.cluster")


@role(PEER_ROLE)
class RaftPeer(Protocol):
    """What a node is to the other nodes."""

    @oneway
    def deliver(self, cluster_id: str, envelope: bytes) -> None:
        """Take what envelope.py describes, from a node of the same cluster."""


class Receiver(Protocol):
    """What stands behind a mailbox."""

    def receive(self, messages: Sequence[Message], source: Introduction) -> None:
        """Take messages for this node, all of one other, or drop them."""

    def is_taken_for(self, disk_id: str) -> bool:
        """Return whether this node is the one on that disk; it is lost if not."""


class Mailbox:
    """The receiving side: hands the messages for this node to `receiver`, and no others."""

    def __init__(self, cluster_id: str, node_id: NodeId, receiver: Receiver) -> None:
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._receiver = receiver
        self._strangers: set[str] = set()

    def deliver(self, cluster_id: str, envelope: bytes) -> None:
        """Take messages of the node's own cluster; others are dropped."""
        if cluster_id != self._cluster_id:
            self._complain(f"messages of cluster {_shown(cluster_id)}")
            return
        try:
            delivery = opened(envelope)
        except ProtocolError as error:
            self._complain(_shown(str(error)))
            return
        if delivery.unknown:
            self._complain("messages of a kind that this program does not know")
        messages = delivery.messages
        if not messages:
            return
        for message in messages:
            if message.target != self._node_id:
                self._complain(f"messages for node {_shown(message.target)}")
                return
            if message.source != messages[0].source:
                self._complain("messages of several nodes in one envelope")
                return
        target_disk = delivery.target_disk
        if not target_disk or self._receiver.is_taken_for(target_disk):
            self._receiver.receive(messages, delivery.source)

    def _complain(self, what: str) -> None:
        if what not in self._strangers and len(self._strangers) < 100:
            self._strangers.add(what)
            _log.warning(
                "node %s of cluster %s got %s and dropped them: check the peers' addresses",
                self._node_id,
                self._cluster_id,
                what,
            )


def _shown(name: str) -> str:
    """Return a name that a stranger chose as it may stand in a log line, and be remembered."""
    return ascii(name if len(name) <= NAME_SHOWN_MAX else f"{name[:NAME_SHOWN_MAX]}...")


class Peers:
    """The sending side: one connection to each other node, kept up by rpc."""

    def __init__(
        self,
        cluster_id: str,
        addresses: Mapping[NodeId, str],
        *,
        network: Network,
        random: random_module.Random,
        introductions: Introductions,
        token: str = "",
    ) -> None:
        self._cluster_id = cluster_id
        self._introductions = introductions
        self._met: dict[NodeId, None] = {}
        self._network = network
        self._random = random
        self._token = token
        self._creator = CallerStubCreator(Interface.of(RaftPeer))
        self._addresses: dict[NodeId, str] = {}
        self._connections: dict[NodeId, CallerConnection] = {}
        self._stubs: dict[NodeId, RaftPeer] = {}
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
            if self._addresses.get(node_id) == address:
                continue
            self._disconnect(node_id)
            self._addresses[node_id] = address
            connection = self._connections[node_id] = CallerConnection(
                parse_addresses(address),
                interface=self._creator.interface,
                object=PEER_OBJECT,
                network=self._network,
                random=self._random,
                timing=PEER_TIMING,
                token=self._token,
            )
            self._stubs[node_id] = self._creator.create(connection)
            if self._is_started:
                connection.open()

    def meet(self, node_id: NodeId, address: str) -> bool:
        """Reach a node that says where it is, unless it is known; return whether it is new."""
        if node_id in self._addresses:
            return False
        try:
            parse_addresses(address)
        except AddressError as error:
            _log.warning("where node %s is cannot be read: %s", _shown(node_id), error)
            return False
        if len(self._met) >= MET_MAX:
            oldest = next(iter(self._met))
            del self._met[oldest]
            self._disconnect(oldest)
        self.reach({node_id: address})
        self._met[node_id] = None
        return True

    def _disconnect(self, node_id: NodeId) -> None:
        self._addresses.pop(node_id, None)
        self._stubs.pop(node_id, None)
        old = self._connections.pop(node_id, None)
        if old is not None:
            task = asyncio.get_running_loop().create_task(old.aclose())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    @asynccontextmanager
    async def reach_snapshots(self, node_id: NodeId) -> AsyncIterator[SnapshotSource]:
        """Connect to a node's snapshots, over a link of their own: heartbeats do not wait for them.

        Raises `Unreachable` for a node of which no address is known.
        """
        address = self._addresses.get(node_id)
        if address is None:
            raise Unreachable(f"nobody has said where {node_id} is reached")
        creator = CallerStubCreator(Interface.of(SnapshotSource))
        connection = CallerConnection(
            parse_addresses(address),
            interface=creator.interface,
            object=SNAPSHOT_OBJECT,
            network=self._network,
            random=self._random,
            timing=PEER_TIMING,
            token=self._token,
        )
        connection.open()
        try:
            yield creator.create(connection)
        finally:
            await connection.aclose()

    def deliver(self, target: NodeId, messages: tuple[Message, ...]) -> None:
        """Send the messages, or lose them; messages for an unknown node are lost."""
        stub = self._stubs.get(target)
        if stub is None:
            return
        known = self._introductions
        disk_id = known.disks.get(target, "")
        if any(message.source != known.node_id for message in messages):
            for message in messages:
                stub.deliver(self._cluster_id, sealed(self._sender(message), disk_id, (message,)))
        else:
            stub.deliver(self._cluster_id, sealed(known.own, disk_id, messages))

    def _sender(self, message: Message) -> Introduction:
        """Return what is known of who sent it: some are passed on, to one who may not know it."""
        known = self._introductions
        if message.source == known.node_id:
            return known.own
        return Introduction(address=self._addresses.get(message.source, ""))

    async def stop(self) -> None:
        """Close every connection."""
        for connection in self._connections.values():
            await connection.aclose()
        await asyncio.gather(*self._closing)
