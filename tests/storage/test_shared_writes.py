"""The writes that groups share: numbered, told of in order, bounded in a turn of the loop."""

import asyncio
from random import Random

import pytest

from liferaft.errors import DiskFailed
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.ledger import Ledger
from liferaft.storage.shared_writes import Writes
from liferaft.storage.wal import WriteAheadLog
from tests.storage.logs import DIRECTORY

pytestmark = pytest.mark.looptime


async def started() -> Writes:
    """Return the writes of a new log."""
    wal, _ = await WriteAheadLog.open(FaultyDisk(Random(1)), DIRECTORY, base=None)
    writes = Writes(wal, Ledger(step_bytes=2**20), last=0, is_new=True)
    writes.start(lambda _: None)
    return writes


async def test_writes_are_numbered_and_told_of_in_order() -> None:
    writes = await started()
    told: list[str] = []
    numbers = [writes.write(b"one", lambda: told.append("one"))]
    writes.write_nothing(lambda: told.append("nothing"))
    numbers.append(writes.write(b"two", lambda: told.append("two")))
    await writes.wait_stored()
    found = await writes.read([1, 2])
    await writes.close()

    assert [1, 2] == numbers
    assert ["one", "nothing", "two"] == told
    assert {1: b"one", 2: b"two"} == found
    assert 1 == writes.wal.statistics().appends, "one for all that was queued in the turn"


async def test_close_writes_what_this_turn_has_queued() -> None:
    writes = await started()
    told: list[int] = []
    writes.write(b"data", lambda: told.append(1))
    await writes.close()
    await asyncio.sleep(0)

    assert [1] == told


async def test_a_turn_does_not_gather_without_bound() -> None:
    """A record that held all of it would have to be read whole, for one entry."""
    writes = await started()
    for _ in range(8):
        writes.write(bytes(200_000), lambda: None)
    await writes.wait_stored()
    statistics = writes.wal.statistics()
    await writes.close()

    assert 4 <= statistics.appends <= 5


async def test_what_lies_far_apart_is_read_without_what_lies_between() -> None:
    writes = await started()
    for number in range(1, 301):
        writes.write(b"%d" % number, lambda: None)
        if number % 10 == 0:
            await writes.wait_stored()
    found = await writes.read([2, 7, 150, 151, 300])
    await writes.close()

    assert {number: b"%d" % number for number in (2, 7, 150, 151, 300)} == found


async def test_who_waits_for_a_log_that_has_ended_is_told() -> None:
    writes = await started()
    await writes.close()
    await asyncio.sleep(0)

    with pytest.raises(DiskFailed, match="the log has ended"):
        await writes.wait_stored()
