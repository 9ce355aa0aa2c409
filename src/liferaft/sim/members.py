"""Who the members of a whole stack are, as far as any node knows them as committed.

It is told of every turn of every node, and of nodes that crash; what it sees happen to members and
to leadership are marks of the run.
"""

from collections.abc import Callable, Sequence
from typing import Final

from liferaft.raft.configuration import members
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import ConfigurationChanged, Effect, TransferEnded
from liferaft.raft.types import Configuration, NodeId

MEMBER_MARKS: Final = (
    "a member is added",
    "a learner is promoted",
    "a voter is replaced",
    "a member is removed",
    "a leader removes itself",
    "a change is taken back",
    "a change is refused",
    "a change's outcome is unknown",
    "a leader crashes in a joint phase",
    "a joint phase survives its leader's crash",
    "leadership is handed over",
    "a transfer is given up",
    "a removed node is told, and ends",
    "a removed node comes back, and is told",
    "a removed node never comes back",
    "a removed node knows nobody who is left",
    "a client knows only nodes that are gone",
)


class MemberWatch:
    """`committed` is the latest configuration that any node ever knew as committed, at `index`."""

    def __init__(self, first: Configuration, hit: Callable[[str], None]) -> None:
        self.first: Final = first
        self.committed = first
        self.index = 0
        self._hit = hit
        self._was_leading: dict[NodeId, bool] = {}
        self._named_at: dict[NodeId, int] = {}
        self._joint_leader_crashed_at = 0

    @property
    def names(self) -> tuple[NodeId, ...]:
        """Everyone who takes part, sorted."""
        return members(self.committed)

    @property
    def are_settled(self) -> bool:
        """Whether no change is under way that will go on by itself."""
        return not (self.committed.voters_outgoing or self.committed.promotions)

    @property
    def failures_max(self) -> int:
        """How many voters may fail at a time while the rest can still decide."""
        committed = self.committed
        halves = filter(None, (committed.voters, committed.voters_outgoing))
        return min((len(half) - 1) // 2 for half in halves)

    def can_be_told(self, core: RaftCore) -> bool:
        """Return whether a removed node, by what its log says, asks anybody who takes part."""
        asked = {*core.configuration.voters, *core.configuration.voters_outgoing}
        return bool(asked & set(self.names))

    def note_crash(self, core: RaftCore) -> None:
        """Look at a node that is about to crash: it may lead a joint phase."""
        configurations = core.state.configurations
        if core.role == "leader" and configurations.latest.voters_outgoing:
            self._hit("a leader crashes in a joint phase")
            self._joint_leader_crashed_at = configurations.latest_index

    def observe(self, node_id: NodeId, core: RaftCore, effects: Sequence[Effect]) -> None:
        """Look at one turn of a node."""
        for effect in effects:
            if type(effect) is ConfigurationChanged:
                self._changed(node_id, effect)
            elif type(effect) is TransferEnded:
                self._transferred(node_id, effect)
        self._was_leading[node_id] = core.role == "leader"

    def _transferred(self, node_id: NodeId, effect: TransferEnded) -> None:
        if effect.problem is None:
            self._hit("leadership is handed over")
        elif self._was_leading.get(node_id):
            self._hit("a transfer is given up")

    def _changed(self, node_id: NodeId, effect: ConfigurationChanged) -> None:
        if effect.index < self._named_at.get(node_id, 0):
            self._hit("a change is taken back")
        self._named_at[node_id] = effect.index
        if not effect.is_committed:
            return
        if node_id in effect.configuration.retired and self._was_leading.get(node_id):
            self._hit("a leader removes itself")
        if effect.index > self.index:
            before, self.committed, self.index = self.committed, effect.configuration, effect.index
            self._committed(before)

    def _committed(self, before: Configuration) -> None:
        now = self.committed
        if set(members(now)) - set(members(before)):
            self._hit("a member is added")
        if set(before.learners) & set(now.voters):
            self._hit("a learner is promoted")
        if any(
            each.replaces in before.voters
            and each.node in now.voters
            and each.replaces not in now.voters
            for each in before.promotions
        ):
            self._hit("a voter is replaced")
        if set(now.retired) - set(before.retired):
            self._hit("a member is removed")
        if self._joint_leader_crashed_at and not now.voters_outgoing:
            if before.voters_outgoing or self.index > self._joint_leader_crashed_at:
                self._hit("a joint phase survives its leader's crash")
            self._joint_leader_crashed_at = 0
