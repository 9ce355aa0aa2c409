"""What the nodes of many groups send each other: one batch for each node and turn of the loop.

All groups share one link to each other node. What their drivers have for a node in one turn leaves
in one call, in the order of the groups' turns; and every `interval` a beat goes along, or alone,
that stands for the heartbeats of all groups at rest: see beats.py.

A batch of a node that is not the one on the disk which it is known by is dropped whole.
"""

import asyncio
import logging
import random as random_module
from collections.abc import Mapping
from typing import Final, Protocol

import msgspec

from liferaft.cluster.beats import Acquaintance, Beat, Claim, Claims, News
from liferaft.cluster.envelope import Introduction
from liferaft.cluster.introductions import Introductions
from liferaft.cluster.links import Links, shown
from liferaft.cluster.peers import PEER_ROLE, Mailbox, envelopes
from liferaft.cluster.snapshot_source import Reach
from liferaft.link.base import Network
from liferaft.raft.messages import AppendEntriesReply, Message
from liferaft.raft.types import NodeId
from liferaft.rpc.interface import oneway, role

GROUPS_OBJECT: Final = "_groups"
"""The name of every node's `GroupsPeer`."""

LIFE_BITS: Final = 62

CLAIM_ROUND: Final = 0
"""The round of the heartbeat that a claim stands for: a leader's own begin at 1."""

_log = logging.getLogger("liferaft.cluster")


@role(PEER_ROLE)
class GroupsPeer(Protocol):
    """What a node of many groups is to the others."""

    @oneway
    def deliver(self, cluster_id: str, batch: bytes) -> None:
        """Take a `Batch` of a node of the same cluster."""


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Envelopes (see envelope.py) with the groups that they are for, and a beat or none.

    `target_disk` is empty where it is not known. It may grow at its end.
    """

    source: NodeId
    introduction: Introduction
    target_disk: str
    envelopes: tuple[tuple[str, bytes], ...]
    beat: Beat | None = None


class Groups(Protocol):
    """The groups of the node, as far as the exchange must know them."""

    def mailbox(self, group: str) -> Mailbox | None:
        """Return where a group's envelopes go, None for one that is not here."""

    def disk_of(self, node_id: NodeId) -> str:
        """Return the disk that a node is known by, empty where none is."""

    def is_taken_for(self, disk_id: str) -> bool:
        """Return whether this node is the one on that disk; it ends if not."""

    def introduced(self, peer: NodeId, introduction: Introduction) -> None:
        """Learn what a node says of itself, when it says so first or says something else."""

    def rests(self, peer: NodeId, claim: Claim) -> None:
        """Learn that a group that `peer` leads is at rest."""

    def look_again(self, group: str) -> None:
        """Learn that something may have changed for a group at rest."""

    def is_back(self, peer: NodeId) -> None:
        """Learn that somebody who was absent is back: groups may have gone to rest without it."""


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Batch).decode
_FAULTS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Exchange:
    """The shared links of one node, both directions."""

    def __init__(
        self,
        cluster_id: str,
        own: Introduction,
        node_id: NodeId,
        addresses: Mapping[NodeId, str],
        groups: Groups,
        *,
        network: Network,
        random: random_module.Random,
        interval: float,
        silence_max: float,
        token: str = "",
    ) -> None:
        """Beat every `interval`; who is silent for `silence_max` is taken for dead."""
        self.claims: Final = Claims()
        self.links: Final[Links[GroupsPeer]] = Links(
            GroupsPeer, GROUPS_OBJECT, addresses, network=network, random=random, token=token
        )
        self._cluster_id = cluster_id
        self.own: Final = own
        self._node_id = node_id
        self._groups = groups
        self.interval: Final = interval
        self._silent_max = max(2, round(silence_max / interval))
        self._life = random.getrandbits(LIFE_BITS)
        self._known: dict[NodeId, Acquaintance] = {}
        self._introduced: dict[NodeId, Introduction] = {}
        self._silent: dict[NodeId, None] = {}
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[NodeId, list[tuple[str, bytes]]] = {}
        self._is_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_warned = False
        for node_id_ in addresses:
            self._acquaintance(node_id_)

    # Sending.

    def start(self) -> None:
        """Begin to connect and to beat."""
        self.links.start()
        self._beat()

    async def stop(self) -> None:
        """Send nothing more, and close every connection."""
        if self._timer is not None:
            self._timer.cancel()
        self._waiting.clear()
        await self.links.stop()

    def put(self, group: str, target: NodeId, envelope: bytes) -> None:
        """Send an envelope of a group with the next batch."""
        self._waiting.setdefault(target, []).append((group, envelope))
        if not self._is_scheduled:
            self._is_scheduled = True
            # After the turns of all groups that are due in this turn of the loop.
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        waiting, self._waiting = self._waiting, {}
        for target, parts in waiting.items():
            self._send(target, tuple(parts), None)

    def _send(
        self, target: NodeId, parts: tuple[tuple[str, bytes], ...], beat: Beat | None
    ) -> None:
        stub = self.links.stubs.get(target)
        if stub is not None:
            disk_id = self._groups.disk_of(target)
            batch = Batch(self._node_id, self.own, disk_id, parts, beat)
            stub.deliver(self._cluster_id, _encode(batch))

    def _beat(self) -> None:
        self._timer = self._loop.call_later(self.interval, self._beat)
        for peer, known in self._known.items():
            self._send(peer, tuple(self._waiting.pop(peer, ())), known.beat())
            if peer not in self._silent and not known.is_alive:
                self._silent[peer] = None
                for group in known.claims:
                    self._groups.look_again(group)

    # Receiving.

    def deliver(self, cluster_id: str, batch: bytes) -> None:
        """Take a batch; what is of another cluster, or none, is dropped."""
        if cluster_id != self._cluster_id:
            self._complain(f"messages of cluster {shown(cluster_id)}")
            return
        try:
            taken = _decode(batch)
        except _FAULTS as error:
            self._complain(f"what is no batch of a peer: {shown(str(error))}")
            return
        known_disk = self._groups.disk_of(taken.source)
        if known_disk and taken.introduction.disk_id not in ("", known_disk):
            return  # another disk under that name; it is told so by what is sent to it
        if taken.target_disk and not self._groups.is_taken_for(taken.target_disk):
            return
        for group, envelope in taken.envelopes:
            mailbox = self._groups.mailbox(group)
            if mailbox is not None:
                mailbox.deliver(f"{cluster_id}/{group}", envelope)
        if taken.beat is not None and taken.source != self._node_id:
            self._heard(taken.source, taken.introduction, taken.beat)

    def _heard(self, peer: NodeId, introduction: Introduction, beat: Beat) -> None:
        self.meet(peer, introduction.address)
        if peer not in self.links.addresses:
            return
        if self._introduced.get(peer) != introduction:
            self._introduced[peer] = introduction
            self._groups.introduced(peer, introduction)
        known = self._acquaintance(peer)
        news = known.receive(beat)
        self._tell(peer, known, news)

    def _tell(self, peer: NodeId, known: Acquaintance, news: News) -> None:
        if news.is_back:
            self._silent.pop(peer, None)
        for group in news.withdrawn:
            self._groups.look_again(group)
        # What was claimed before the silence does not count until it is looked at again.
        for claim in list(known.claims.values()) if news.is_back else news.claims:
            if claim.is_resting:
                self._groups.rests(peer, claim)
            else:
                self._groups.look_again(claim.group)
        if news.is_back:
            self._groups.is_back(peer)

    def _complain(self, what: str) -> None:
        if not self._is_warned:
            self._is_warned = True
            _log.warning(
                "node %s of cluster %s got %s and dropped it: check the peers' addresses",
                self._node_id,
                self._cluster_id,
                what,
            )

    # Who is there.

    @property
    def absent(self) -> frozenset[NodeId]:
        """The nodes of which nothing was heard for an election timeout."""
        return frozenset(self._silent)

    def heard_at(self, peer: NodeId) -> float:
        """Return when a node's last beat came, by the beats that have left since."""
        known = self._known.get(peer)
        silent_for = self._silent_max if known is None else known.silent_for
        return self._loop.time() - silent_for * self.interval

    def answered_at(self, peer: NodeId) -> float:
        """Return when the last beat left that a node has heard, by those that left since."""
        known = self._known.get(peer)
        unanswered_for = self._silent_max if known is None else known.unanswered_for
        return self._loop.time() - unanswered_for * self.interval

    def claim_of(self, peer: NodeId, group: str) -> Claim | None:
        """Return what a node that is alive says of a group that it leads."""
        known = self._known.get(peer)
        return known.claims.get(group) if known is not None and known.is_alive else None

    def meet(self, node_id: NodeId, address: str) -> bool:
        """Reach a node that says where it is; return whether it is new."""
        is_new = bool(address) and self.links.meet(node_id, address)
        if is_new:
            self._acquaintance(node_id)
        return is_new

    def reach(self, addresses: Mapping[NodeId, str]) -> None:
        """Reach these nodes, too.

        Logs of several groups may tell of one node, some of them where it was long ago: so what is
        known already stays, until the node itself says otherwise.
        """
        new = {n: at for n, at in addresses.items() if n not in self.links.addresses}
        self.links.reach(new)
        for node_id in new:
            self._acquaintance(node_id)

    def _acquaintance(self, peer: NodeId) -> Acquaintance:
        known = self._known.get(peer)
        if known is None:
            known = Acquaintance(peer, self._life, self.claims, self._silent_max)
            self._known[peer] = known
        return known


class GroupTransport:
    """How one group's messages travel: with those of all others."""

    def __init__(self, group: str, introductions: Introductions, exchange: Exchange) -> None:
        self._group = group
        self._introductions = introductions
        self._exchange = exchange
        self.reach: Final = exchange.reach
        self.meet: Final = exchange.meet
        self.reach_snapshots: Final[Reach] = exchange.links.reach_snapshots

    def deliver(self, target: NodeId, messages: tuple[Message, ...]) -> None:
        """Send the messages with the next batch."""
        said = tuple(message for message in messages if not _answers_claim(message))
        if said:
            addresses = self._exchange.links.addresses
            for envelope in envelopes(self._introductions, addresses, target, said):
                self._exchange.put(self._group, target, envelope)


def _answers_claim(message: Message) -> bool:
    """Return whether a message only confirms what was claimed: nobody waits for that."""
    return (
        isinstance(message, AppendEntriesReply)
        and message.is_success
        and message.round == CLAIM_ROUND
    )
