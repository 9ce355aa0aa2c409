"""How a run is told: as plain lines, or not at all. `liferaft.cli.chaos` paints it."""

from collections.abc import Mapping
from typing import Protocol, TextIO

import msgspec

from liferaft.cluster.admin import NodeStatus
from liferaft.raft.types import NodeId


class Scene(msgspec.Struct, frozen=True):
    """Everything as it stands; times in seconds. A node that does not answer has no status."""

    elapsed: float
    seconds: float
    nodes: Mapping[NodeId, NodeStatus | None]
    marks: Mapping[NodeId, str]
    """What is done to a node at present."""
    faults: Mapping[str, int]
    problems: int


class Narrator(Protocol):
    """Takes the story as it goes."""

    def tell(self, elapsed: float, sentence: str) -> None:
        """Say what happened, `elapsed` seconds after the beginning."""

    def show(self, scene: Scene) -> None:
        """Show how things stand; called several times a second."""

    def close(self) -> None:
        """Hold nothing any more; also called after an error."""


class SilentNarrator:
    """Says nothing."""

    def tell(self, elapsed: float, sentence: str) -> None:
        """Say nothing."""

    def show(self, scene: Scene) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Hold nothing."""


class PlainNarrator:
    """Writes a line for each thing that happens, for logs and pipes."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def tell(self, elapsed: float, sentence: str) -> None:
        """Write a line."""
        print(f"{elapsed:6.1f} s  {sentence}", file=self._output, flush=True)

    def show(self, scene: Scene) -> None:
        """Show nothing: what happens is told."""

    def close(self) -> None:
        """Hold nothing."""
