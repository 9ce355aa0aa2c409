"""What a node tells about itself, as an object that anyone may call: `_node` on every node."""

from typing import Final, Protocol

import msgspec

from liferaft.raft.types import NodeId
from liferaft.rpc.interface import role

ADMIN_OBJECT: Final = "_node"


class NodeStatus(msgspec.Struct, frozen=True):
    """One node as it sees itself; another may see it otherwise. Indexes as in the paper."""

    node_id: NodeId
    cluster_id: str
    role: str
    current_term: int
    leader: NodeId | None
    commit_index: int
    applied_index: int
    last_index: int


class StateDigest(msgspec.Struct, frozen=True):
    """The digest of the state machine after it applied `applied_index`.

    Nodes with the same applied_index must have the same digest; another pair means that a replica
    diverged.
    """

    applied_index: int
    digest: str


ADMIN_ROLE: Final = "admin"
"""What a caller's token must allow, where a node has tokens."""


@role(ADMIN_ROLE)
class NodeAdmin(Protocol):
    """Questions to a node that change nothing."""

    async def status(self) -> NodeStatus:
        """Return who leads, and how far this node is."""

    async def digest(self) -> StateDigest:
        """Return the digest of the whole state; takes time in proportion to the state's size."""

    async def state(self, name: str) -> bytes:
        """Return the state of one object as this node has it, as MessagePack; it may be stale.

        Raises `NoSuchObject` when the node does not host it.
        """
