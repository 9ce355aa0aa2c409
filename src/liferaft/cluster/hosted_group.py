"""The groups on one node of many, and what the node answers of them.

Nothing here begins or ends a group: see group_host.py.
"""

from collections.abc import Mapping
from typing import Final

from liferaft.cluster.beats import Claim
from liferaft.cluster.envelope import Introduction
from liferaft.cluster.exchange import CLAIM_ROUND
from liferaft.cluster.group_admin import GroupStatus
from liferaft.cluster.group_rest import GroupRest
from liferaft.cluster.member import DispatcherMaker, Member
from liferaft.cluster.peers import Mailbox
from liferaft.errors import ConfigurationError
from liferaft.raft.events import Received
from liferaft.raft.messages import AppendEntries
from liferaft.raft.types import NodeId

GROUP_NAME_BYTES_MAX: Final = 100
"""It is part of a directory's name, of objects' names and of every record of the log."""

_FORBIDDEN: Final = frozenset("/@\0")


def checked_name(group: str) -> str:
    """Return a group's name; raises `ConfigurationError` for what cannot be one."""
    is_path = group in ("", ".", "..") or _FORBIDDEN & set(group)
    if is_path or len(group.encode()) > GROUP_NAME_BYTES_MAX:
        raise ConfigurationError(
            f"{group!r} cannot be a group's name: give 1 to {GROUP_NAME_BYTES_MAX} bytes without"
            " '/' and '@'"
        )
    return group


class HostedGroup:
    """One group on this node, and what belongs to it; `objects` are the names that it answers."""

    def __init__(self, member: Member, rest: GroupRest, dispatchers: DispatcherMaker) -> None:
        self.member: Final = member
        self.rest: Final = rest
        self.dispatchers: Final = dispatchers
        self.objects: tuple[str, ...] = ()
        config = member.config
        self.mailbox: Final = Mailbox(config.cluster_id, config.node_id, member)

    def status(self, group: str) -> GroupStatus:
        """Return how it is; raises `StubClosed` when it is not running."""
        driver = self.member.driver
        core = driver.core
        return GroupStatus(
            group=group,
            role=core.role,
            current_term=core.current_term,
            leader=core.leader,
            applied_index=driver.applied_index,
            is_resting=self.rest.is_at_rest,
        )

    async def stop(self) -> None:
        """Take part no more."""
        self.rest.end()
        await self.member.stop()


class HostedGroups:
    """The groups of one node, as the exchange with the other nodes knows them."""

    def __init__(self, node_id: NodeId, groups: Mapping[str, HostedGroup]) -> None:
        self._node_id = node_id
        self._groups = groups
        self._disks: dict[NodeId, str] = {}

    def mailbox(self, group: str) -> Mailbox | None:
        """Return where a group's envelopes go."""
        hosted = self._groups.get(group)
        return None if hosted is None else hosted.mailbox

    def disk_of(self, node_id: NodeId) -> str:
        """Return the disk that a node is known by, in whichever group knows; it never changes."""
        known = self._disks.get(node_id, "")
        if not known:
            members = (hosted.member for hosted in self._groups.values())
            told = (member.introductions.disks.get(node_id, "") for member in members)
            known = next(filter(None, told), "")
            if known:
                self._disks[node_id] = known
        return known

    def is_taken_for(self, disk_id: str) -> bool:
        """Return whether this node is the one on that disk; it ends if not."""
        member = next((hosted.member for hosted in self._groups.values()), None)
        return member is None or member.is_taken_for(disk_id)

    def rests(self, peer: NodeId, claim: Claim) -> None:
        """Give the group what its leader claims, as the heartbeat that it stands for."""
        hosted = self._groups.get(claim.group)
        if hosted is None or not hosted.member.is_running or hosted.rest.knows(claim):
            return
        heartbeat = AppendEntries(
            claim.term,
            peer,
            self._node_id,
            claim.last_index,
            claim.last_term,
            (),
            leader_commit=claim.last_index,
            round=CLAIM_ROUND,
        )
        hosted.member.driver.post(Received(heartbeat))

    def look_again(self, group: str) -> None:
        """Let a group see whether it may still rest."""
        hosted = self._groups.get(group)
        if hosted is not None and hosted.member.is_running:
            hosted.member.driver.look_again()

    def introduced(self, peer: NodeId, introduction: Introduction) -> None:
        """Let all groups know what a node says of itself."""
        for hosted in self._groups.values():
            hosted.member.introduced(peer, introduction)

    def is_back(self, peer: NodeId) -> None:
        """Wake the groups that went to rest without a node that may need to be told things."""
        for group, hosted in self._groups.items():
            if peer in hosted.rest.absent:
                self.look_again(group)


class Shelves:
    """Answers `SnapshotSource` for all groups: the cluster that is named tells which."""

    def __init__(self, groups: Mapping[str, HostedGroup]) -> None:
        self._groups = groups

    async def read(
        self, cluster_id: str, index: int, term: int, offset: int, length: int
    ) -> bytes | None:
        """Return a piece of the file of a group's snapshot."""
        hosted = self._groups.get(cluster_id.rpartition("/")[2])
        if hosted is None:
            return None
        return await hosted.member.shelf.read(cluster_id, index, term, offset, length)
