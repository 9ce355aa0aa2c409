"""Commands on their way: from a client's proposal to the entry that carries it, and its outcome.

A proposal is accepted at an index in a term. When an entry of that index and that term is applied,
the outcome belongs to the proposal; when an entry of another term is, the proposal is lost, and
whether another leader has carried it out meanwhile is for its session to find out (trap 40).
"""

from collections import deque
from typing import Protocol

from liferaft.errors import InvariantViolated
from liferaft.raft.effects import Accepted, Rejected
from liferaft.raft.types import Entry, NodeId


class Proposal(Protocol):
    """Who waits for a command. One of the three methods is called, once."""

    def applied(self, outcome: bytes) -> None:
        """Take what the state machine answered."""

    def lost(self, leader: NodeId | None) -> None:
        """Learn that this node lost sight of the command: it may or may not be applied."""

    def rejected(self, leader: NodeId | None, *, is_overloaded: bool) -> None:
        """Learn that the command was not appended: it will not be applied."""


class Proposals:
    """Matches proposals with the entries that carry them."""

    def __init__(self) -> None:
        self._queued: list[tuple[bytes, Proposal]] = []
        self._asked: deque[list[Proposal]] = deque()
        self._accepted: dict[int, tuple[int, Proposal]] = {}

    def __len__(self) -> int:
        """Return how many proposals have no outcome yet."""
        return len(self._queued) + sum(map(len, self._asked)) + len(self._accepted)

    @property
    def is_asked(self) -> bool:
        """Whether a batch that was taken has not been accepted or rejected yet."""
        return bool(self._asked)

    def add(self, command: bytes, proposal: Proposal) -> None:
        """Queue a command for the next `take`."""
        self._queued.append((command, proposal))

    def take(self) -> tuple[bytes, ...]:
        """Return all queued commands, to be given to the core as one `Proposed`; may be empty."""
        if not self._queued:
            return ()
        queued, self._queued = self._queued, []
        self._asked.append([proposal for _, proposal in queued])
        return tuple(command for command, _ in queued)

    def accepted(self, effect: Accepted) -> None:
        """Bind the oldest batch that was taken to the indexes at which it was appended."""
        proposals = self._asked.popleft()
        if len(proposals) != effect.count:
            raise InvariantViolated(
                f"{len(proposals)} commands were proposed and {effect.count} accepted"
            )
        for index, proposal in enumerate(proposals, effect.first):
            self._lose(index, None)
            self._accepted[index] = (effect.term, proposal)

    def rejected(self, effect: Rejected) -> None:
        """Give the oldest batch that was taken back to its clients."""
        for proposal in self._asked.popleft():
            proposal.rejected(effect.leader, is_overloaded=effect.is_overloaded)

    def claim(self, entry: Entry) -> Proposal | None:
        """Return whose command this applied entry carries, if it was proposed here."""
        term, proposal = self._accepted.pop(entry.index, (0, None))
        if proposal is not None and term != entry.term:
            proposal.lost(None)
            return None
        return proposal

    def lose_all(self, leader: NodeId | None) -> None:
        """Tell everyone that this node no longer leads; `leader` may know more."""
        for index in list(self._accepted):
            self._lose(index, leader)

    def _lose(self, index: int, leader: NodeId | None) -> None:
        _, proposal = self._accepted.pop(index, (0, None))
        if proposal is not None:
            proposal.lost(leader)
