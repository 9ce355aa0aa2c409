"""Carries out what an operator asks of one node: see `admin.NodeAdmin`, `group_admin.GroupAdmin`.

What a change means for the cluster is decided here, before the core is asked: a change is refused
that would leave it with nobody to spare, where it had somebody.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Protocol

from msgspec.structs import replace

from liferaft.cluster.admin import (
    Member,
    Membership,
    NodeStatistics,
    NodeStatus,
    StateDigest,
    TakenSnapshot,
)
from liferaft.cluster.driver import Driver
from liferaft.cluster.group_admin import GroupStatus
from liferaft.cluster.reads import Barrier
from liferaft.cluster.snapshot_source import SnapshotShelf
from liferaft.errors import AddressError, ChangeRefused
from liferaft.link.address import parse_address
from liferaft.raft.configuration import members
from liferaft.raft.types import Configuration, NodeId, Promotion


class AdministeredNode(Protocol):
    """What is needed of a node."""

    @property
    def driver(self) -> Driver:
        """The running driver."""

    @property
    def addresses(self) -> Mapping[NodeId, str]:
        """Where the nodes are reached."""

    @property
    def shelf(self) -> SnapshotShelf:
        """The node's snapshots, for who reads them."""

    def status(self) -> NodeStatus:
        """Return how far the node is."""

    def statistics(self) -> NodeStatistics:
        """Return what it counts."""

    def digest(self) -> StateDigest:
        """Return the digest of its state."""

    def encoded_state(self, name: str) -> bytes:
        """Return the state of one object."""


class Admin:
    """Answers `NodeAdmin` for one node."""

    def __init__(self, node: AdministeredNode) -> None:
        self._node = node

    async def status(self) -> NodeStatus:
        """Return how far the node is."""
        return self._node.status()

    async def statistics(self) -> NodeStatistics:
        """Return what the node counts."""
        return self._node.statistics()

    async def digest(self) -> StateDigest:
        """Return the digest of its state."""
        return self._node.digest()

    async def state(self, name: str) -> bytes:
        """Return the state of one object."""
        return self._node.encoded_state(name)

    async def take_snapshot(self) -> TakenSnapshot:
        """Store the state as it is after all that was acknowledged by now."""
        driver = self._node.driver
        barrier = Barrier(_does_not_lead)
        driver.read(barrier)
        await barrier.reached
        taken = await driver.take_snapshot()
        return TakenSnapshot(taken.index, taken.term, taken.size_bytes, taken.checksum)

    async def read_snapshot(self, index: int, term: int, offset: int, length: int) -> bytes | None:
        """Return a piece of the file of a snapshot."""
        return await self._node.shelf.read_own(index, term, offset, length)

    async def members(self) -> Membership:
        """Return who takes part."""
        driver = self._node.driver
        driver.hear_out()
        core = driver.core
        configuration = core.configuration
        listed = tuple(self._member(node, configuration) for node in members(configuration))
        return Membership(listed, core.leader, _spare(configuration, self._answering()))

    async def add(
        self, node_id: NodeId, address: str, *, is_learner: bool, replaces: NodeId
    ) -> None:
        """Add a learner, with the promise of a vote or without."""
        now = self._configuration()
        try:
            at = str(parse_address(address))
        except AddressError as error:
            raise ChangeRefused(f"{node_id} cannot be reached there: {error}") from error
        if node_id in members(now):
            raise ChangeRefused(f"{node_id} is a member already")
        if replaces and replaces not in now.voters:
            raise ChangeRefused(f"{replaces} cannot be replaced: it is no voter")
        added = () if is_learner else (Promotion(node_id, replaces),)
        await self._node.driver.change(
            replace(
                now,
                learners=_sorted((*now.learners, node_id)),
                promotions=tuple(sorted((*now.promotions, *added), key=lambda each: each.node)),
                addresses=_pairs({**dict(now.addresses), node_id: at}),
            )
        )

    async def remove(self, node_id: NodeId, *, is_forced: bool) -> None:
        """Remove a member."""
        now = self._configuration()
        if node_id not in members(now):
            raise ChangeRefused(f"{node_id} is no member: there are {', '.join(members(now))}")
        target = _without(now, node_id)
        if not target.voters:
            raise ChangeRefused(f"{node_id} is the only voter: nobody would be left to decide")
        if not is_forced:
            self._check_spare(now, target)
        await self._node.driver.change(target)

    async def promote(self, node_id: NodeId) -> None:
        """Promise a learner a vote."""
        now = self._configuration()
        if node_id not in now.learners:
            raise ChangeRefused(f"{node_id} cannot be promoted: it is no learner")
        if any(each.node == node_id for each in now.promotions):
            raise ChangeRefused(f"{node_id} becomes a voter by itself, once it has caught up")
        promotions = sorted((*now.promotions, Promotion(node_id)), key=lambda each: each.node)
        await self._node.driver.change(replace(now, promotions=tuple(promotions)))

    async def prioritize(self, node_id: NodeId, priority: int) -> None:
        """Say how much a voter should lead."""
        now = self._configuration()
        if node_id not in now.voters:
            raise ChangeRefused(f"{node_id} cannot lead: it is no voter")
        priorities = {**dict(now.priorities), node_id: priority}
        kept = tuple(sorted((n, p) for n, p in priorities.items() if p))
        await self._node.driver.change(replace(now, priorities=kept))

    async def transfer(self, target: NodeId) -> None:
        """Let somebody else lead."""
        await self._node.driver.transfer(target or None)

    def _configuration(self) -> Configuration:
        """Return the configuration that counts, with the addresses of all members."""
        core = self._node.driver.core
        if core.role != "leader":
            raise _does_not_lead(core.leader)
        now = core.configuration
        if now.voters_outgoing:
            raise ChangeRefused(
                "another change of the members is under way: try again when it is done"
            )
        known = {**self._node.addresses, **dict(now.addresses)}
        return replace(now, addresses=_pairs({n: known[n] for n in members(now) if n in known}))

    def _member(self, node_id: NodeId, configuration: Configuration) -> Member:
        core = self._node.driver.core
        progress = {each.node_id: each for each in core.statistics().followers}.get(node_id)
        now = asyncio.get_running_loop().time()
        is_self = node_id == self._node.status().node_id
        return Member(
            node_id=node_id,
            address=dict(configuration.addresses).get(
                node_id, self._node.addresses.get(node_id, "")
            ),
            kind=_kind(configuration, node_id),
            is_leader=node_id == core.leader,
            match_index=core.last_index if is_self else progress.match_index if progress else 0,
            silence=0.0 if is_self else now - progress.contact if progress else None,
        )

    def _answering(self) -> set[NodeId]:
        """Return who answered within an election timeout; all of them, for who does not lead."""
        driver = self._node.driver
        driver.hear_out()
        core = driver.core
        followers = core.statistics().followers
        if core.role != "leader":
            return set(members(core.configuration))
        fresh = asyncio.get_running_loop().time() - core.state.config.election_timeout
        return {each.node_id for each in followers if each.contact > fresh} | {core.state.node_id}

    def _check_spare(self, now: Configuration, target: Configuration) -> None:
        answering = self._answering()
        before, after = _spare(now, answering), _spare(target, answering)
        if after < 0:
            raise ChangeRefused(
                f"of the voters that would be left, {', '.join(target.voters)}, too few answer to"
                " decide anything: replace those that are down first, or force it"
            )
        if after == 0 < before:
            raise ChangeRefused(
                f"then no voter more could fail, and now {before} can: add one first, or force it"
            )


class NodeOfGroups(Protocol):
    """What is needed of a node of many groups."""

    def statuses(self) -> list[GroupStatus]:
        """Return how each group is."""

    async def add(self, group: str) -> None:
        """Host one more group."""

    async def remove(self, group: str) -> None:
        """Host a group never again."""


class GroupsAdmin:
    """Answers `GroupAdmin` for one node."""

    def __init__(self, node: NodeOfGroups) -> None:
        self._node = node

    async def groups(self) -> list[GroupStatus]:
        """Return how each group is."""
        return self._node.statuses()

    async def add(self, group: str) -> None:
        """Host one more group."""
        await self._node.add(group)

    async def remove(self, group: str) -> None:
        """Host a group never again."""
        await self._node.remove(group)


def _does_not_lead(leader: NodeId | None) -> ChangeRefused:
    where = f": {leader} does" if leader else ", and knows nobody who does"
    return ChangeRefused(f"this node does not lead{where}")


def _without(now: Configuration, node_id: NodeId) -> Configuration:
    return replace(
        now,
        voters=tuple(each for each in now.voters if each != node_id),
        learners=tuple(each for each in now.learners if each != node_id),
        promotions=tuple(
            Promotion(each.node) if each.replaces == node_id else each
            for each in now.promotions
            if each.node != node_id
        ),
        priorities=tuple(pair for pair in now.priorities if pair[0] != node_id),
        addresses=tuple(pair for pair in now.addresses if pair[0] != node_id),
        disks=tuple(pair for pair in now.disks if pair[0] != node_id),
    )


def _spare(configuration: Configuration, answering: set[NodeId]) -> int:
    """Return how many more voters may fail; below 0, how many are missing."""
    halves = [configuration.voters, *filter(None, (configuration.voters_outgoing,))]
    return min(len(answering & set(half)) - (len(half) // 2 + 1) for half in halves)


def _kind(configuration: Configuration, node_id: NodeId) -> str:
    if node_id in configuration.voters:
        return "voter"
    if node_id in configuration.voters_outgoing:
        return "leaving"
    return "joining" if any(e.node == node_id for e in configuration.promotions) else "learner"


def _sorted(nodes: Iterable[NodeId]) -> tuple[NodeId, ...]:
    return tuple(sorted(nodes))


def _pairs(addresses: dict[NodeId, str]) -> tuple[tuple[NodeId, str], ...]:
    return tuple(sorted(addresses.items()))
