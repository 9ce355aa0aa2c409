"""Which programs the machines have, and that no level counts before every member is so far.

The programs differ in nothing but the level that they tell of (cluster/envelope.py). Machines never
go back to an older program, and one that is added has the newest.
"""

from collections.abc import Callable
from typing import Final

from liferaft.cluster.envelope import LEVEL
from liferaft.errors import InvariantViolated
from liferaft.raft.configuration import members
from liferaft.raft.types import Configuration, NodeId

UPGRADE_MARKS: Final = (
    "programs of two levels run in one cluster",
    "a level counts, for every member has it",
)


class Programs:
    """Which program each machine has, by its level, and which it runs since its last start."""

    def __init__(self, hit: Callable[[str], None]) -> None:
        self._hit = hit
        self._installed: dict[NodeId, int] = {}
        self._run: dict[NodeId, int] = {}

    @property
    def newest(self) -> int:
        """The highest level that is installed anywhere."""
        return max(self._installed.values(), default=LEVEL)

    def added(self, node_id: NodeId) -> None:
        """Give a new machine the newest program."""
        self._installed[node_id] = self.newest

    def install(self, node_id: NodeId, level: int) -> None:
        """Give a machine a program, for its next start, unless it has a newer one."""
        self._installed[node_id] = max(level, self._installed[node_id])

    def started(self, node_id: NodeId) -> int:
        """Return the level of the program that a machine runs from now on."""
        self._run[node_id] = self._installed[node_id]
        if len(set(self._run.values())) > 1:
            self._hit("programs of two levels run in one cluster")
        return self._run[node_id]

    def check(self, configuration: Configuration) -> None:
        """Check that every member is as far as the level that counts for them."""
        level = configuration.level
        if level <= LEVEL:
            return
        self._hit("a level counts, for every member has it")
        behind = [name for name in members(configuration) if self._run.get(name, LEVEL) < level]
        if behind:
            raise InvariantViolated(
                f"upgrade: level {level} counts, and {', '.join(behind)} never ran such a program"
            )
