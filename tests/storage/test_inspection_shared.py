"""What `liferaft wal` sees of a log that groups share."""

from random import Random

import pytest

from liferaft.errors import DamagedLog
from liferaft.raft.types import HardState
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.inspection import Inspection, SeenGroup, inspect, read_entries
from liferaft.storage.segment import segment_numbers, segment_path
from tests.storage.logs import DIRECTORY, make_entries
from tests.storage.shared_logs import open_shared

pytestmark = pytest.mark.looptime

FIRST = HardState(1, "n1")


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk(Random(1))


async def filled(disk: FaultyDisk) -> None:
    """Leave a log whose beginning was dropped."""
    opened = await open_shared(disk, segment_bytes=500)
    await opened.group("cold").store(make_entries(1, 3), HardState(4, "n2"))
    busy = opened.group("busy")
    for index in range(1, 100):
        await busy.store(make_entries(index, index), FIRST)
        busy.log.compact(index - 2)
    await opened.log.close()
    assert segment_numbers(disk.names(DIRECTORY))[0] > 1


async def test_the_groups_of_a_shared_log_are_told(disk: FaultyDisk) -> None:
    await filled(disk)
    found = inspect(disk, DIRECTORY)
    writes = list(read_entries(disk, found, found.first, found.last))

    assert (
        SeenGroup("busy", 98, 99, FIRST),
        SeenGroup("cold", 1, 3, HardState(4, "n2")),
    ) == found.groups
    assert found.error is None
    assert found.last - found.first + 1 == len(writes)


async def test_a_shared_log_whose_beginning_was_lost_is_called_damaged(disk: FaultyDisk) -> None:
    await filled(disk)
    numbers = segment_numbers(disk.names(DIRECTORY))
    for number in numbers[:-2]:
        disk.remove(segment_path(DIRECTORY, number))
    found = inspect(disk, DIRECTORY)

    with pytest.raises(DamagedLog) as told:
        await open_shared(disk)
    assert "nothing says that they could be dropped" in str(found.error)
    assert str(told.value).split(".log")[1].split(". The")[0] in str(found.error)


async def test_of_a_damaged_shared_log_the_groups_before_the_damage_are_told(
    disk: FaultyDisk,
) -> None:
    opened = await open_shared(disk)
    await opened.group("a").store(make_entries(1, 3), FIRST)
    await opened.group("b").store(make_entries(1, 3, term=5), HardState(5))
    await opened.log.close()
    path = segment_path(DIRECTORY, 1)
    disk.flip(path, disk.content(path).index(b"5/2"))
    found: Inspection = inspect(disk, DIRECTORY)

    assert (SeenGroup("a", 1, 3, FIRST),) == found.groups
    assert "is damaged at offset" in str(found.error)
