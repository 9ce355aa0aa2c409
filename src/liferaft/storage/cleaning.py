"""How the shared log stays short: what still counts at its beginning is written again at its end.

A log that many groups share can be dropped only from its beginning, and one group that writes
nothing would keep all of it. So when it is longer than it must be, the writes at its beginning that
still count are copied, a piece at a time, and then a floor is written, which says that nothing
counts in the writes up to it. Only when that is on stable storage are segments dropped: a start
that finds the log to begin behind its newest floor knows that what is missing was lost.

The rule: the log is longer than it must be when it has more bytes than twice what still counts and
two segments. To go through such a log once copies what counts, at most, and leaves a log that has
little else. What is written meanwhile is at most a few times as much as what is copied, since a
record has a bound (`groups.GROUP_BYTES_MAX`). So the log stays within a constant times what counts,
and a few segments.

All that it does is ordered by the log itself, so a crash leaves some first part of it: copies that
are not needed yet, and then perhaps the floor, and then perhaps fewer segments.
"""

import asyncio
from collections.abc import Mapping

import msgspec

from liferaft.errors import InvariantViolated
from liferaft.raft.types import EntryId
from liferaft.storage.group_log import GroupLog
from liferaft.storage.group_records import WriteKind, encode_write
from liferaft.storage.shared_writes import Writes

COPY_BYTES = 256 * 1024
"""What is copied before waiting for the disk: some milliseconds of it, and of the loop's time."""

GROUPS_AT_ONCE = 64
"""How many groups are looked at in one turn of the loop."""


class Occupancy(msgspec.Struct, frozen=True):
    """How the shared log is used, in bytes of writes.

    Of the `held_bytes` on disk `live_bytes` count; `copied_bytes` were written again since it was
    opened. Nothing counts in the writes up to `floor`.
    """

    groups: int
    held_bytes: int
    live_bytes: int
    copied_bytes: int
    floor: int


class Cleaner:
    """Shortens the log of some groups for as long as `run` does."""

    def __init__(
        self, writes: Writes, groups: Mapping[str, GroupLog], *, segment_bytes: int, floor: int
    ) -> None:
        self._writes = writes
        self._groups = groups
        self._segment_bytes = segment_bytes
        self._floor = floor
        self._copied_bytes = 0

    def occupancy(self) -> Occupancy:
        """Return how the log is used."""
        return Occupancy(
            groups=len(self._groups),
            held_bytes=self._writes.ledger.held_bytes,
            live_bytes=self._live_bytes(),
            copied_bytes=self._copied_bytes,
            floor=self._floor,
        )

    async def run(self) -> None:
        """Shorten the log whenever it is too long. Raises `DamagedLog` and `DiskFailed`."""
        while True:
            await self._writes.changed.wait()
            self._writes.changed.clear()
            while (target := self._target()) is not None:
                await self._copy_below(target)
                await self._drop_below(target)

    def _live_bytes(self) -> int:
        return sum(group.live_bytes for group in self._groups.values())

    def _target(self) -> int | None:
        """Return the write that the log shall begin with, None when it is short enough."""
        ledger = self._writes.ledger
        excess_bytes = ledger.held_bytes - 2 * self._live_bytes() - 2 * self._segment_bytes
        if excess_bytes <= 0:
            return None
        return ledger.write_behind(max(excess_bytes, self._segment_bytes))

    async def _copy_below(self, target: int) -> None:
        """Copy what counts in the writes below `target`, and let nobody wait long for the loop."""
        waiting_bytes = 0
        for count, group in enumerate(list(self._groups.values()), start=1):
            while group.needs_below(target):
                copied_bytes = await group.copy_below(target, COPY_BYTES)
                self._copied_bytes += copied_bytes
                waiting_bytes += copied_bytes
                if waiting_bytes >= COPY_BYTES:
                    await self._writes.wait_stored()
                    waiting_bytes = 0
            if count % GROUPS_AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _drop_below(self, target: int) -> None:
        for group in self._groups.values():
            if group.needs_below(target):
                raise InvariantViolated(
                    f"group {group.name} still needs a write below {target}, which is to be dropped"
                )
        floor = target - 1
        self._writes.write(encode_write(WriteKind.FLOOR, b"", EntryId(0, floor)), _ignore)
        await self._writes.wait_stored()
        self._floor = floor
        self._writes.ledger.begin_at(target)
        self._writes.wal.compact(floor)


def _ignore() -> None:
    """Stand in for the report of a write that `wait_stored` waits for."""
