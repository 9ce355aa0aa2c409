"""One group of many on one node, and what the node answers of it.

Nothing here begins or ends a group: see group_host.py.
"""

from collections.abc import Mapping
from typing import Final

from liferaft.cluster.group_admin import GroupStatus
from liferaft.cluster.group_rest import GroupRest
from liferaft.cluster.member import DispatcherMaker, Member
from liferaft.cluster.peers import Mailbox
from liferaft.errors import ConfigurationError

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
