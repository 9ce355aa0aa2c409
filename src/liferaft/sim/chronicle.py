"""What was done to a world, and when: faults, nodes that were down or stood still, the violation.

It is written while a run goes on and read when it is over, to be shown to a person. Nothing that
runs reads it, so it changes nothing; all times are true time, in seconds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Literal

import msgspec

from liferaft.raft.types import NodeId
from liferaft.sim.loop import running_loop

Condition = Literal["down", "paused"]


class FaultSpan(msgspec.Struct):
    """One step of the schedule. `end` is None while it goes on; `notes` say whom it struck.

    `family` is network, process, disk or clock, or empty.
    """

    number: int
    kind: str
    family: str
    begin: float
    end: float | None = None
    notes: list[str] = msgspec.field(default_factory=list)


class NodeSpan(msgspec.Struct):
    """A node did not run, or stood still. `end` is None while it goes on."""

    node_id: NodeId
    condition: Condition
    why: str
    begin: float
    end: float | None = None


_fault: ContextVar[FaultSpan | None] = ContextVar("liferaft_simulated_fault", default=None)


def note(text: str) -> None:
    """Let the fault that is being carried out have this on record, once; elsewhere do nothing."""
    fault = _fault.get()
    if fault is not None and fault.end is None and text not in fault.notes:
        fault.notes.append(text)


class Chronicle:
    """The record of one run."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = lambda: running_loop().true_time
        self.faults: Final[list[FaultSpan]] = []
        self.nodes: Final[list[NodeSpan]] = []
        self.violated_at: float | None = None
        self.ended_at: float | None = None
        self._open: dict[tuple[NodeId, Condition], NodeSpan] = {}

    @contextmanager
    def fault(self, number: int, kind: str, family: str) -> Iterator[None]:
        """Record a fault for as long as the block is being carried out."""
        span = FaultSpan(number, kind, family, self.now())
        self.faults.append(span)
        token = _fault.set(span)
        try:
            yield
        finally:
            _fault.reset(token)
            span.end = self.now()

    def begin(self, node_id: NodeId, condition: Condition, why: str) -> None:
        """Record that a node is down or paused from now on; if it is already, the first counts."""
        if self.ended_at is None and (node_id, condition) not in self._open:
            span = NodeSpan(node_id, condition, why, self.now())
            self._open[node_id, condition] = span
            self.nodes.append(span)

    def end(self, node_id: NodeId, condition: Condition) -> None:
        """Record that a node is so no longer; if it was not, nothing happens."""
        span = self._open.pop((node_id, condition), None)
        if span is not None:
            span.end = self.now()

    def violated(self) -> None:
        """Record when a promise was broken; the first time counts."""
        if self.violated_at is None:
            self.violated_at = self.now()

    def finish(self) -> None:
        """Record when the run was over; that its nodes are stopped then is no news."""
        if self.ended_at is None:
            self.ended_at = self.now()
