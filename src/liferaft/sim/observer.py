"""Who watches a simulation, whichever its fidelity: sees every turn, and changes nothing."""

from collections.abc import Callable, Sequence
from typing import Protocol

from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Effect
from liferaft.raft.events import Event
from liferaft.raft.types import NodeId


class TurnObserver(Protocol):
    """Who sees every turn of every node."""

    def born(self, node_id: NodeId, core: RaftCore, now: Callable[[], float]) -> None:
        """Learn that a node begins a life, before its first turn; `now` tells true time."""

    def turn(
        self,
        node_id: NodeId,
        now: float,
        core: RaftCore,
        events: Sequence[Event],
        effects: Sequence[Effect],
    ) -> None:
        """Look at what a node did in one turn; raises `InvariantViolated` to end the run.

        `now` is true time, in seconds.
        """
