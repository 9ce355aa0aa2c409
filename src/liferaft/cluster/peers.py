"""How Raft's messages travel: as one-way calls of the rpc package on the interface `RaftPeer`.

Raft resends by itself, so a message that is lost is lost, and a peer that cannot be reached costs
nothing but the attempt to connect: see links.py. Each envelope says where its sender is reached,
for who is far behind has not read of it in the log.
"""

import logging
import random as random_module
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from liferaft.cluster.divergence import Reach as ReachReplica
from liferaft.cluster.envelope import Introduction, opened, sealed
from liferaft.cluster.introductions import Introductions
from liferaft.cluster.links import Links, shown
from liferaft.cluster.snapshot_source import Reach
from liferaft.errors import ProtocolError
from liferaft.link.base import Network
from liferaft.raft.messages import Message
from liferaft.raft.types import NodeId
from liferaft.rpc.interface import oneway, role

PEER_OBJECT: Final = "_raft"
"""The name of every node's `RaftPeer`; the underscore keeps it out of users' way."""

PEER_ROLE: Final = "peer"
"""What a node's token must allow, where nodes have tokens."""

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
            self._complain(f"messages of cluster {shown(cluster_id)}")
            return
        try:
            delivery = opened(envelope)
        except ProtocolError as error:
            self._complain(shown(str(error)))
            return
        if delivery.unknown:
            self._complain("messages of a kind that this program does not know")
        messages = delivery.messages
        if not messages:
            return
        for message in messages:
            if message.target != self._node_id:
                self._complain(f"messages for node {shown(message.target)}")
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


def envelopes(
    introductions: Introductions,
    addresses: Mapping[NodeId, str],
    target: NodeId,
    messages: tuple[Message, ...],
) -> list[bytes]:
    """Return the messages for a node in envelopes: one, unless some are passed on for others.

    Of who wrote those nothing is said but the address: the target may not know it.
    """
    known = introductions
    disk_id = known.disks.get(target, "")
    if all(message.source == known.node_id for message in messages):
        return [sealed(known.own, disk_id, messages)]
    sealed_each: list[bytes] = []
    for message in messages:
        is_own = message.source == known.node_id
        passed_on = Introduction(address=addresses.get(message.source, ""))
        sealed_each.append(sealed(known.own if is_own else passed_on, disk_id, (message,)))
    return sealed_each


class Peers:
    """The sending side: what one node has for the others, over links of its own."""

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
        self._links: Links[RaftPeer] = Links(
            RaftPeer, PEER_OBJECT, addresses, network=network, random=random, token=token
        )
        self.start: Final = self._links.start
        self.reach: Final = self._links.reach
        self.meet: Final = self._links.meet
        self.reach_snapshots: Final[Reach] = self._links.reach_snapshots
        self.reach_replica: Final[ReachReplica] = self._links.reach_replica
        self.stop: Final = self._links.stop

    def deliver(self, target: NodeId, messages: tuple[Message, ...]) -> None:
        """Send the messages, or lose them; messages for an unknown node are lost."""
        stub = self._links.stubs.get(target)
        if stub is None:
            return
        addresses = self._links.addresses
        for envelope in envelopes(self._introductions, addresses, target, messages):
            stub.deliver(self._cluster_id, envelope)
