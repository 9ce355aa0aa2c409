"""What should happen sometimes in the core fidelity: rare branches, counted by name.

A simulation that never takes a branch proves nothing about it. A run's result holds every name, at
0 when it was not seen, so that a summary can say which were never hit.
"""

from collections import Counter
from typing import Final

Marks = Counter[str]

CORE_MARKS: Final = (
    # elections
    "election won",
    "vote refused",
    "pre-vote refused",
    "campaign without a winner",
    "candidate yielded",
    "candidate yielded to a higher term",
    "pre-candidate yielded",
    "leader deposed by a higher term",
    "leader stepped down without a quorum",
    "leader deposed with commands under way",
    # the log
    "entries refused",
    "log truncated",
    "log truncated while it was written",
    "entries read from disk",
    "entries to read were gone",
    "a read waited for a write",
    # the disk
    "several writes with one sync",
    "writes lost in a crash",
    "no write lost",
    "unreported write survived a crash",
    "sync failed",
    "read failed",
    # commands and reads
    "proposal refused: its queue is full",
    "proposal refused: it does not lead",
    "command answered again",
    "old copy of a command ignored",
    "read refused",
    "read waited for the apply",
    "a client asked again",
    "a client heard nothing",
    "a client's frame came twice",
    # the network
    "message cut off",
    "message lost",
    "message repeated",
    "message long delayed",
    "message to a node that is down",
)

CHANGE_MARKS: Final = (
    # snapshots
    "snapshot taken",
    "snapshot write failed",
    "snapshot lost in a crash",
    "snapshot survived a crash, unreported",
    "snapshot installed",
    "snapshot installed under a log",
    "snapshot fetch resumed",
    "snapshot fetch replaced",
    "snapshot fetch lost",
    "snapshot fetch outlived its wish",
    "snapshot of no use any more",
    "snapshot to fetch was gone",
    "log compacted",
    "log void at a start",
    "log not reset before a crash",
    # members
    "change accepted",
    "change refused",
    "change committed",
    "change taken back",
    "joint phase survived its leader's crash",
    "learner promoted",
    "removed node stopped",
    "removed node never came back",
    "leader removed itself",
    # leadership
    "transfer done",
    "transfer given up",
)
"""What needs an operator and snapshots."""


def no_marks() -> Marks:
    """Return every mark at 0."""
    return Counter(dict.fromkeys((*CORE_MARKS, *CHANGE_MARKS), 0))
