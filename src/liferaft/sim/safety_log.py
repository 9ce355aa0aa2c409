"""What the safety checker knows of all logs: every entry, and every configuration among them."""

from collections.abc import Sequence
from typing import Final

from liferaft.errors import InvariantViolated
from liferaft.raft.configuration import decoded
from liferaft.raft.core import RaftCore
from liferaft.raft.log import RaftLog
from liferaft.raft.types import CONFIGURATION, Configuration, Entry, NodeId


class LogMatching:
    """Every entry ever written, by index and term, with the term before it.

    `_recent` are entries that follow each other, known already: followers write what their leader
    wrote, and comparing two lists of the same objects costs next to nothing. `members` are the
    configurations among them.
    """

    def __init__(self) -> None:
        self.members: Final[dict[tuple[int, int], Configuration]] = {}
        self._seen: dict[tuple[int, int], tuple[int, bytes]] = {}
        self._recent: list[Entry] = []
        self._recent_first = 1
        self._recent_prior_term = 0

    def check(self, node_id: NodeId, core: RaftCore, entries: Sequence[Entry]) -> None:
        """Raise `InvariantViolated` unless these entries are what others have there, if any."""
        first = entries[0].index
        prior_term = core.term_at(first - 1)
        recent, start = self._recent, first - self._recent_first
        is_joined = 0 <= start <= len(recent) and prior_term == (
            recent[start - 1].term if start else self._recent_prior_term
        )
        if is_joined and recent[start : start + len(entries)] == list(entries):
            return
        previous_term = prior_term
        for entry in entries:
            seen = (previous_term, entry.data)
            if self._seen.setdefault((entry.index, entry.term), seen) != seen:
                raise InvariantViolated(
                    f"log matching: {node_id} has another entry {entry.index} of term "
                    f"{entry.term}, or after another one"
                )
            previous_term = entry.term
            if entry.kind == CONFIGURATION:
                self.members[entry.index, entry.term] = decoded(entry.data)
        if is_joined:
            recent[start:] = entries
        else:
            self._recent, self._recent_first = list(entries), first
            self._recent_prior_term = prior_term

    def members_of(self, log: RaftLog, committed_terms: Sequence[int]) -> Configuration | None:
        """Return whom a log makes the members, None when it has no such entry.

        Below its base a log is what was committed.
        """
        for (index, term), configuration in sorted(self.members.items(), reverse=True):
            if index <= log.base_index:
                is_there = committed_terms[index - 1 : index] == [term]
            else:
                is_there = log.has(index, term)
            if is_there:
                return configuration
        return None


def terms_of(log: RaftLog) -> list[int]:
    """Return the term of every entry above the base of the log."""
    terms: list[int] = []
    runs = log.runs
    ends = [run.first - 1 for run in runs[1:]] + [log.last_index]
    for run, end in zip(runs, ends, strict=True):
        terms += [run.term] * (end - log.base_index - len(terms))
    return terms


def runs_of(terms: Sequence[int]) -> str:
    """Write terms in a way that a person can compare: "1 x 3, 4 x 2"."""
    parts: list[tuple[int, int]] = []
    for term in terms:
        if parts and parts[-1][0] == term:
            parts[-1] = (term, parts[-1][1] + 1)
        else:
            parts.append((term, 1))
    return ", ".join(f"{term} x {count}" for term, count in parts) or "none"
