"""How the story is told: as plain lines, or not at all. `liferaft.demo.rich_narrator` paints it."""

from collections.abc import Mapping
from typing import Final, Protocol, TextIO

import msgspec

from liferaft.cluster.admin import NodeStatus
from liferaft.demo.ledger import Tally
from liferaft.raft.types import NodeId

LOOK_INTERVAL: Final = 4.0
"""Seconds between two looks at what the clients see, in plain lines."""


class Scene(msgspec.Struct, frozen=True):
    """Everything as it stands; times in seconds. A node that does not answer has no status."""

    elapsed: float
    duration: float
    nodes: Mapping[NodeId, NodeStatus | None]
    marks: Mapping[NodeId, str]
    """What was done to a node and not undone: "killed", "cut off"."""
    clients: Mapping[str, Tally]


class Narrator(Protocol):
    """Takes the story as it goes."""

    def tell(self, elapsed: float, sentence: str) -> None:
        """Say what happened, `elapsed` seconds after the clients began."""

    def show(self, scene: Scene) -> None:
        """Show how things stand; called several times a second."""

    def conclude(self, lines: tuple[str, ...], *, is_ok: bool) -> None:
        """Say the verdict, after which nothing is shown any more."""

    def close(self) -> None:
        """Leave the terminal as it was. May be called again."""


class SilentNarrator:
    """Says nothing."""

    def tell(self, elapsed: float, sentence: str) -> None:
        """Say nothing."""

    def show(self, scene: Scene) -> None:
        """Show nothing."""

    def conclude(self, lines: tuple[str, ...], *, is_ok: bool) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Hold nothing."""


class PlainNarrator:
    """Writes a line for each thing that happens, for logs and pipes."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._look_at = LOOK_INTERVAL

    def tell(self, elapsed: float, sentence: str) -> None:
        """Write a line."""
        self._write(f"{elapsed:6.1f} s  {sentence}")

    def show(self, scene: Scene) -> None:
        """Write a few lines from time to time."""
        if scene.elapsed < self._look_at:
            return
        self._look_at = scene.elapsed + LOOK_INTERVAL
        percent = min(100, round(100 * scene.elapsed / scene.duration))
        self.tell(scene.elapsed, f"{percent} % done; {describe_commits(scene)}")
        for client, tally in scene.clients.items():
            self.tell(scene.elapsed, f"  {client} {describe_tally(tally)}")

    def conclude(self, lines: tuple[str, ...], *, is_ok: bool) -> None:
        """Write the verdict."""
        for line in lines:
            self._write(line)
        self._write(f"Verdict: {'it all holds' if is_ok else 'IT DOES NOT HOLD'}.")

    def close(self) -> None:
        """Hold nothing."""

    def _write(self, line: str) -> None:
        print(line, file=self._output, flush=True)


def describe_commits(scene: Scene) -> str:
    """Return how far each node's commit index is, in words."""
    parts = [
        f"{node} {'silent' if status is None else status.commit_index}"
        for node, status in scene.nodes.items()
    ]
    return f"committed: {', '.join(parts)}"


def describe_tally(tally: Tally) -> str:
    """Return what a client did and sees, in words."""
    unknown = f", {tally.unknown} calls without an answer" if tally.unknown else ""
    did = f"added {tally.added} and completed {tally.completed}{unknown}"
    if not tally.sees_items:
        return did  # it has not looked yet
    return f"{did}; it sees {tally.sees_items} items, {tally.sees_done} of them done"
