"""The fault atlas: what may be damaged, so that what must be recoverable stays recoverable.

It knows which nodes' disks hold damage and how that is mended, and whose promises nobody needs. It
damages nothing itself.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from liferaft.raft.types import NodeId
from liferaft.sim.chronicle import note

if TYPE_CHECKING:
    from liferaft.sim.world import World


class FaultAtlas:
    """The damage in one world, and what more of it there may be."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._damage: dict[NodeId, list[Callable[[], None]]] = {}
        # Who lost all that it had promised last.
        self._forgetful: NodeId | None = None

    @property
    def damaged(self) -> list[NodeId]:
        """The nodes whose disks hold damage."""
        return list(self._damage)

    def is_damaged(self, node_id: NodeId) -> bool:
        """Return whether a node's disk holds damage that is to be mended."""
        return bool(self._damage.get(node_id))

    def damage(self, node_id: NodeId, *undo: Callable[[], None]) -> None:
        """Remember that a node's disk holds damage, and how it is mended."""
        note(node_id)
        self._damage.setdefault(node_id, []).extend(undo)

    def mend(self, node_id: NodeId) -> None:
        """Put back everything that was damaged on a node's disk."""
        for undo in reversed(self._damage.pop(node_id, [])):
            undo()

    def can_damage(self, node_id: NodeId) -> bool:
        """Return whether a majority of disks stays sound when this one is damaged too."""
        is_minority = len(self._damage) < self._world.members.failures_max
        return node_id not in self._damage and is_minority

    def can_forget(self, node_id: NodeId) -> bool:
        """Return whether a node may lose all that it promised without harm to the cluster.

        So it is when every other node follows one leader in one term, and each of them has on its
        disk all that this leader wrote, committed: then no acknowledged entry needs this node's
        copy, and nobody can campaign in a term in which its forgotten vote would count. Nor may any
        node be left that was removed and does not know it: it could still win such a vote.
        """
        world = self._world
        if node_id not in world.node_ids or (
            set(world.members.committed.retired) & set(world.node_ids)
        ):
            return False
        if world.members.first.voters == (node_id,):
            return False  # it would take itself for the whole cluster
        is_safe = not self._damage and all(
            self._can_forget_in(group, node_id) for group in world.groups
        )
        if is_safe:
            self._forgetful = node_id
        return is_safe

    def _can_forget_in(self, group: str, node_id: NodeId) -> bool:
        world = self._world
        cores = world.cores(group)
        leader_id = world.leader(group)
        if leader_id in (None, node_id) or set(cores) != set(world.node_ids):
            return False
        assert leader_id is not None
        leader = cores[leader_id]
        if self._forgetful in cores and self._forgetful != node_id:
            forgetful = cores[self._forgetful].statistics()
            if forgetful.stable_index < leader.commit_index:
                return False  # the last one that forgot has not caught up
        is_safe = leader.commit_index == leader.last_index and all(
            (core.leader, core.current_term) == (leader_id, leader.current_term)
            and core.statistics().stable_index == core.last_index == leader.last_index
            for other, core in cores.items()
            if other != node_id
        )
        return is_safe and cores[node_id].current_term <= leader.current_term
