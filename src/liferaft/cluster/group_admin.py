"""What a node of many groups tells of all of them, as an object: `_group_admin` on every such node.

What an operator asks of one group is `NodeAdmin`, hosted for each as `_node/GROUP`.
"""

from typing import Final, Protocol

import msgspec

from liferaft.cluster.admin import ADMIN_ROLE
from liferaft.errors import ConfigurationError, DiskFailed, NoSuchObject
from liferaft.raft.types import NodeId
from liferaft.rpc.interface import raises, role

GROUP_ADMIN_OBJECT: Final = "_group_admin"


class GroupStatus(msgspec.Struct, frozen=True):
    """One group as one node sees it. `is_resting`: it is not used, and nothing is sent for it."""

    group: str
    role: str
    current_term: int
    leader: NodeId | None
    applied_index: int
    is_resting: bool


@role(ADMIN_ROLE)
class GroupAdmin(Protocol):
    """What an operator asks of a node of many groups."""

    async def groups(self) -> list[GroupStatus]:
        """Return how each group is."""

    @raises(ConfigurationError, DiskFailed)
    async def add(self, group: str) -> None:
        """Host one more group here, after a restart, too; it works when most nodes do.

        Refused for one that was removed here.
        """

    @raises(NoSuchObject, DiskFailed)
    async def remove(self, group: str) -> None:
        """Host a group never again, and forget what this node has of it.

        A member that did so is lost to the group as by a lost disk: change its members first.
        """
