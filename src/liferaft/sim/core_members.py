"""Who the members are, as far as any node knows them as committed, and what became of changes."""

from liferaft.raft.effects import ConfigurationChanged
from liferaft.raft.types import Configuration
from liferaft.sim.core_host import Machine
from liferaft.sim.core_marks import Marks


class MemberWatch:
    """`committed` is the latest configuration that any node ever knew as committed."""

    def __init__(self, first: Configuration, marks: Marks) -> None:
        self.committed = first
        self._index = 0
        self._joint_leader_crashed_at = 0
        self._marks = marks

    @property
    def are_settled(self) -> bool:
        """Whether no change is under way that will go on by itself."""
        return not (self.committed.voters_outgoing or self.committed.promotions)

    def note_crash(self, machine: Machine) -> None:
        """Look at a node that is about to crash: it may lead a joint phase."""
        if machine.process is None or machine.process.core.role != "leader":
            return
        configurations = machine.process.core.state.configurations
        if configurations.latest.voters_outgoing:
            self._joint_leader_crashed_at = configurations.latest_index

    def learn(self, machine: Machine, effect: ConfigurationChanged) -> bool:
        """Take what a node knows as committed; return whether nobody knew it before."""
        if effect.index <= self._index:
            return False
        before, self.committed, self._index = self.committed, effect.configuration, effect.index
        now, marks = self.committed, self._marks
        marks["change committed"] += 1
        if set(before.learners) & set(now.voters):
            marks["learner promoted"] += 1
        assert machine.process is not None
        if machine.node_id in now.retired and machine.process.role.role == "leader":
            marks["leader removed itself"] += 1
        if self._joint_leader_crashed_at and not now.voters_outgoing:
            if before.voters_outgoing or effect.index > self._joint_leader_crashed_at:
                marks["joint phase survived its leader's crash"] += 1
            self._joint_leader_crashed_at = 0
        return True
