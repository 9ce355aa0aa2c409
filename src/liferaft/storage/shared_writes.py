"""The writes of the shared log: numbered, reported one by one, and read again by number.

A thin layer over the physical log (wal.py): each write is one of its entries, all of one term. What
is written while a write and its sync are under way shares the next ones, whichever group it is of.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from liferaft.errors import DiskFailed, StorageError
from liferaft.raft.types import Entry, HardState
from liferaft.storage.group_records import OF_A_GROUP
from liferaft.storage.ledger import Ledger, size_of
from liferaft.storage.wal import WriteAheadLog

_TERM = 1
"""The term of all writes: nobody replaces one."""

_TURN_BYTES = 256 * 1024
"""When so much was written in a turn of the loop, the physical log gets it at once.

It is bounded by what one append of it may hold; see `groups.GROUP_BYTES_MAX`.
"""

_NEAR = 64
"""Writes that lie so near each other are read together, with what lies between them."""

_READ_BYTES = 1024 * 1024
"""How much is read at once, about: as much as a record that is full."""


class Writes:
    """Numbers writes and remembers who is to be told of each. `last` is the newest number.

    What is written in one turn of the loop goes to the physical log as one append: a thousand
    groups that write at once cost it no more than one that writes a thousand entries.
    """

    def __init__(self, wal: WriteAheadLog, ledger: Ledger, *, last: int, is_new: bool) -> None:
        self.wal = wal
        self.ledger = ledger
        self.last = last
        # Set when the log may be too long: much was written, or does not count any more.
        self.changed = asyncio.Event()
        self._hard_state = HardState(_TERM) if is_new else None
        # What was written in this turn, and who waits for it.
        self._entries: list[Entry] = []
        self._entries_bytes = 0
        self._told: list[Callable[[], None]] = []
        # By the mark of an append of the physical log, who waits for it.
        self._mark = 0
        self._waiting: deque[tuple[int, list[Callable[[], None]]]] = deque()
        self._waiters: list[asyncio.Future[bool]] = []
        self._has_ended = False

    def write(self, data: bytes, on_stored: Callable[[], None]) -> int:
        """Queue a write and return its number; never blocks.

        `on_stored` is called on the loop when it and all before it are on stable storage.
        """
        self.last += 1
        size_bytes = size_of(data)
        if self.ledger.add(self.last, size_bytes):
            self.changed.set()
        self.write_nothing(on_stored)
        self._entries.append(Entry(_TERM, self.last, OF_A_GROUP, data))
        self._entries_bytes += size_bytes
        if self._entries_bytes >= _TURN_BYTES:
            self.flush()
        return self.last

    def write_nothing(self, on_stored: Callable[[], None]) -> None:
        """Let it be told when all that was queued so far is on stable storage."""
        if not self._told:
            asyncio.get_running_loop().call_soon(self.flush)
        self._told.append(on_stored)

    def flush(self) -> None:
        """Give what was written in this turn to the physical log."""
        if not self._told:
            return
        self._mark += 1
        self._waiting.append((self._mark, self._told))
        self.wal.append(self._mark, self._hard_state, self._entries)
        self._hard_state = None
        self._entries, self._entries_bytes, self._told = [], 0, []

    async def wait_stored(self) -> None:
        """Wait until all that was queued so far is on stable storage; raises `DiskFailed`."""
        stored: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiters.append(stored)
        self.write_nothing(partial(self._end_wait, stored))
        if self._has_ended:
            self.fail()
        if not await stored:
            raise DiskFailed("what was to be written never was, for the log has ended")

    def _end_wait(self, stored: "asyncio.Future[bool]") -> None:
        self._waiters.remove(stored)
        if not stored.done():
            stored.set_result(True)

    def fail(self) -> None:
        """Learn that nothing will be written any more."""
        self._has_ended = True
        waiters, self._waiters = self._waiters, []
        for stored in waiters:
            if not stored.done():
                stored.set_result(False)

    def let_go(self) -> None:
        """Learn that something does not count any more."""
        self.changed.set()

    def start(self, on_failure: Callable[[StorageError], None]) -> None:
        """Begin to write."""
        self.wal.start(on_stored=self._stored, on_failure=on_failure)

    async def close(self) -> None:
        """Write what is queued, and end."""
        self.flush()
        await self.wal.close()
        # What was stored is reported in the loop's next turn.
        asyncio.get_running_loop().call_soon(self.fail)

    def _stored(self, mark: int) -> None:
        while self._waiting and self._waiting[0][0] <= mark:
            for told in self._waiting.popleft()[1]:
                told()

    async def read(self, numbers: Sequence[int]) -> dict[int, bytes] | None:
        """Return the data of writes, whose numbers rise; None when one was dropped.

        What is not written yet is waited for. Raises `DamagedLog` and `DiskFailed`.
        """
        self.flush()
        found: dict[int, bytes] = {}
        position = 0
        while position < len(numbers):
            last = position
            while last + 1 < len(numbers) and numbers[last + 1] - numbers[last] <= _NEAR:
                last += 1
            entries = await self.wal.read(numbers[position], numbers[last], _READ_BYTES)
            if not entries:
                return None
            stop = bisect_right(numbers, entries[-1].index)
            found |= dict.fromkeys(numbers[position:stop], b"")
            found |= {each.index: each.data for each in entries if each.index in found}
            position = stop
        return found
