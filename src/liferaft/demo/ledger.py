"""What the clients were told, put together: what the cluster must be able to show afterwards."""

from collections.abc import Sequence

import msgspec

from liferaft.demo.reports import Added, Asked, Completed, Report, Saw, Unknown
from liferaft.ops.verdict import Witness


class Tally(msgspec.Struct):
    """What one client did and saw so far."""

    added: int = 0
    completed: int = 0
    unknown: int = 0
    sees_items: int = 0
    sees_done: int = 0


class Ledger:
    """Collects the clients' reports. Times are the parent's, in seconds, and never fall."""

    def __init__(self, clients: Sequence[str]) -> None:
        self.tallies = {client: Tally() for client in clients}
        self.acknowledged_at: list[float] = []
        self._open: dict[str, None] = {}
        self._added: dict[str, int] = {}
        self._completed: list[tuple[int, str]] = []

    def record(self, client: str, report: Report, now: float) -> None:
        """Take down what a client reports."""
        tally = self.tallies[client]
        match report:
            case Asked(text):
                self._open[text] = None
            case Added(text, item_id):
                tally.added += 1
                self._added[text] = item_id
                self._open.pop(text, None)
                self.acknowledged_at.append(now)
            case Completed(item_id, done_by):
                tally.completed += 1
                self._completed.append((item_id, done_by))
                self.acknowledged_at.append(now)
            case Saw(items, done):
                tally.sees_items, tally.sees_done = items, done
            case Unknown():
                tally.unknown += 1

    def witness(self) -> Witness:
        """Return what is known now; items asked for and not acknowledged are unknown."""
        return Witness(dict(self._added), tuple(self._open), tuple(self._completed))
