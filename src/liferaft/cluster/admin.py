"""What a node tells about itself, as an object that anyone may call: `_node` on every node."""

from typing import Final, Protocol

import msgspec

from liferaft.errors import ChangeRefused
from liferaft.raft.statistics import CoreStatistics
from liferaft.raft.types import NodeId
from liferaft.rpc.interface import raises, role

ADMIN_OBJECT: Final = "_node"


class NodeStatus(msgspec.Struct, frozen=True):
    """One node as it sees itself; another may see it otherwise. Indexes as in the paper.

    `compared_index` is the last entry after which its state was found to be that of a majority
    since it started, 0 where that was not looked for yet.
    """

    node_id: NodeId
    cluster_id: str
    role: str
    current_term: int
    leader: NodeId | None
    commit_index: int
    applied_index: int
    last_index: int
    compared_index: int = 0


class NodeStatistics(msgspec.Struct, frozen=True):
    """A node at one moment; what is counted counts since its start.

    `reads` are the queries that it answered, by how their stubs read: "linearizable", "lease",
    "follower", "within", "stale" (docs/reads.md). `age` is how old its state can be, in seconds of
    its clock; None where it has heard nothing yet that would tell. A leader learns of it, too, by
    linearizable reads alone.
    """

    core: CoreStatistics
    reads: dict[str, int]
    age: float | None


class StateDigest(msgspec.Struct, frozen=True):
    """The digest of the state machine after it applied `applied_index`.

    Nodes with the same applied_index must have the same digest; another pair means that a replica
    diverged.
    """

    applied_index: int
    digest: str


ADMIN_ROLE: Final = "admin"
"""What a caller's token must allow, where a node has tokens."""


class Member(msgspec.Struct, frozen=True):
    """One member of a cluster as its leader sees it.

    `kind` is "voter", "learner", "joining" (a learner that shall become a voter) or "leaving" (a
    voter until the change under way is done). `match_index` is how far it has the log. `silence` is
    how many seconds ago the heartbeat left that it answered last; None where that is not known.
    """

    node_id: NodeId
    address: str
    kind: str
    is_leader: bool
    match_index: int
    silence: float | None


class Membership(msgspec.Struct, frozen=True):
    """Who takes part; `spare` is how many more voters may fail before nothing can be written."""

    members: tuple[Member, ...]
    leader: NodeId | None
    spare: int


class TakenSnapshot(msgspec.Struct, frozen=True):
    """A snapshot that a node has: the state up to the entry `index`, of `term`, in a file."""

    index: int
    term: int
    size_bytes: int
    checksum: int


@role(ADMIN_ROLE)
class NodeAdmin(Protocol):
    """What an operator asks of a node. Changes are for the leader; every other node refuses them.

    A change is refused with `ChangeRefused` when another is under way, or when after it a failure
    more could stop the cluster that could not stop it before; with `is_forced` it is made in spite
    of that.
    """

    async def members(self) -> Membership:
        """Return who takes part; only the leader knows how the others are."""

    @raises(ChangeRefused)
    async def add(
        self, node_id: NodeId, address: str, *, is_learner: bool, replaces: NodeId
    ) -> None:
        """Add a node that was started to join, which becomes a voter once it has caught up.

        It takes the place of the voter `replaces` then, unless that is empty; with `is_learner` it
        stays a learner. Returns when it is a learner.
        """

    @raises(ChangeRefused)
    async def remove(self, node_id: NodeId, *, is_forced: bool) -> None:
        """Remove a node, the leader too; returns when that is done."""

    @raises(ChangeRefused)
    async def promote(self, node_id: NodeId) -> None:
        """Let a learner become a voter once it has caught up; returns when that is decided."""

    @raises(ChangeRefused)
    async def prioritize(self, node_id: NodeId, priority: int) -> None:
        """Say how much a node should lead: the highest priority leads while it can."""

    @raises(ChangeRefused)
    async def transfer(self, target: NodeId) -> None:
        """Let `target` lead, or the best where it is empty; returns when this node does not."""

    @raises(ChangeRefused)
    async def take_snapshot(self) -> TakenSnapshot:
        """Write down the whole state, with all that was acknowledged by now; the leader does.

        It can be read from this node until two newer ones were taken, and while it is read.
        """

    async def read_snapshot(self, index: int, term: int, offset: int, length: int) -> bytes | None:
        """Return a piece of the file of a snapshot, as much as fits; None when it is gone."""

    async def status(self) -> NodeStatus:
        """Return who leads, and how far this node is."""

    async def statistics(self) -> NodeStatistics:
        """Return what the node counts."""

    async def digest(self) -> StateDigest:
        """Return the digest of the whole state; takes time in proportion to the state's size."""

    async def state(self, name: str) -> bytes:
        """Return the state of one object as this node has it, as MessagePack; it may be stale.

        Raises `NoSuchObject` when the node does not host it.
        """
