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

_NEAR = 64
"""Writes that lie so near each other are read together, with what lies between them."""

_READ_BYTES = 1024 * 1024
"""How much is read at once, about: as much as a record that is full."""


class Writes:
    """Numbers writes and remembers who is to be told of each. `last` is the newest number."""

    def __init__(self, wal: WriteAheadLog, ledger: Ledger, *, last: int, is_new: bool) -> None:
        self.wal = wal
        self.ledger = ledger
        self.last = last
        # Set when the log may be too long: much was written, or does not count any more.
        self.changed = asyncio.Event()
        self._mark = 0
        self._hard_state = HardState(_TERM) if is_new else None
        self._waiters: list[asyncio.Future[bool]] = []
        self._has_ended = False
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def write(self, data: bytes, on_stored: Callable[[], None]) -> int:
        """Queue a write and return its number; never blocks.

        `on_stored` is called on the loop when it and all before it are on stable storage.
        """
        self.last += 1
        if self.ledger.add(self.last, size_of(data)):
            self.changed.set()
        self._append([Entry(_TERM, self.last, OF_A_GROUP, data)], on_stored)
        return self.last

    def write_nothing(self, on_stored: Callable[[], None]) -> None:
        """Let it be told when all that was queued so far is on stable storage."""
        self._append([], on_stored)

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

    def _append(self, entries: list[Entry], on_stored: Callable[[], None]) -> None:
        self._mark += 1
        self._waiting.append((self._mark, on_stored))
        self.wal.append(self._mark, self._hard_state, entries)
        self._hard_state = None

    def let_go(self) -> None:
        """Learn that something does not count any more."""
        self.changed.set()

    def start(self, on_failure: Callable[[StorageError], None]) -> None:
        """Begin to write."""
        self.wal.start(on_stored=self._stored, on_failure=on_failure)

    def _stored(self, mark: int) -> None:
        while self._waiting and self._waiting[0][0] <= mark:
            self._waiting.popleft()[1]()

    async def read(self, numbers: Sequence[int]) -> dict[int, bytes] | None:
        """Return the data of writes, whose numbers rise; None when one was dropped.

        What is not written yet is waited for. Raises `DamagedLog` and `DiskFailed`.
        """
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
