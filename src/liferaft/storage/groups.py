"""Appends that wait to be written together."""

from collections.abc import Sequence

from liferaft.raft.types import Entry, EntryId, HardState

GROUP_BYTES_MAX = 1024 * 1024
"""When a group holds this much data, the next append begins another one.

A megabyte is written in about the time of one sync, so more would win nothing, and a reader has to
read a record whole to prove it.
"""


class Group:
    """What one write carries. Its entries follow each other without a gap.

    With `base` the log first begins anew, behind that entry.
    """

    def __init__(self, base: EntryId | None = None) -> None:
        self.base = base
        self.mark = 0
        self.appends = 0
        self.hard_state: HardState | None = None
        self.entries: list[Entry] = []
        self.data_bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether the next append shall begin another group."""
        return self.data_bytes >= GROUP_BYTES_MAX

    def add(self, mark: int, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Take an append; its first entry replaces the group's from that index on."""
        self.mark = mark
        self.appends += 1
        if hard_state is not None:
            self.hard_state = hard_state
        if entries:
            if self.entries and entries[0].index <= self.entries[-1].index:
                del self.entries[max(0, entries[0].index - self.entries[0].index) :]
            self.entries += entries
            self.data_bytes += sum([len(entry.data) for entry in entries])
