"""Names of segments, and the log on the system's disk from end to end."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from liferaft.raft.types import HardState
from liferaft.storage.directory import Identity, open_directory
from liferaft.storage.disk import SystemDisk
from liferaft.storage.recovery import TornTail
from liferaft.storage.segment import segment_numbers, segment_path
from tests.storage.logs import make_entries, open_log, read_log
from tests.storage.test_directory import ONE

FIRST = HardState(1, "n1")


def test_the_numbers_come_back_from_the_names() -> None:
    numbers = [1, 2, 10, 999, 123456789012345]
    names = [segment_path("/d", number).removeprefix("/d/") for number in numbers]

    assert numbers == segment_numbers([*reversed(names), "identity", "lock", "x.log", ".log"])
    assert "/d/000000000007.log" == segment_path("/d", 7)


@pytest.fixture
async def disk() -> AsyncIterator[SystemDisk]:
    system = SystemDisk()
    yield system
    await system.close()


async def test_a_log_on_the_systems_disk(disk: SystemDisk, tmp_path: Path) -> None:
    path = str(tmp_path / "data")
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  names are enough
    directory = await open_directory(disk, path, Identity("blue", "n1"), ONE, disk_id="d1")
    opened = await open_log(disk, path, segment_bytes=1000)
    for index in range(1, 100, 3):
        await opened.store(make_entries(index, index + 2), FIRST)
    await opened.store(make_entries(90, 95, term=2), HardState(2))
    segments = opened.log.statistics().segments
    await opened.log.close()
    recovered, entries = await read_log(disk, path)
    directory.close()
    descriptors_after = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    assert segments > 5
    assert [*make_entries(1, 89), *make_entries(90, 95, term=2)] == entries
    assert HardState(2) == recovered.hard_state
    assert descriptors == descriptors_after


async def test_a_segment_is_preallocated_and_cut_when_it_is_finished(
    disk: SystemDisk, tmp_path: Path
) -> None:
    directory = str(tmp_path)
    path = segment_path(directory, 1)
    opened = await open_log(disk, directory, segment_bytes=100_000)
    await opened.store(make_entries(1, 1), FIRST)
    size, reserved = sizes(path)
    end = opened.log._stored.position.offset
    await opened.log.close()
    # Without the seal that close wrote, four bytes behind the end are a torn write.
    torn = disk.open(path)
    torn.truncate(end)
    torn.write(end, b"torn")
    torn.close()
    recovered, _ = await read_log(disk, directory)

    assert 100_000 == size <= reserved
    assert TornTail(path, end, 4, 1) == recovered.torn
    assert end == sizes(path)[0]


def sizes(path: str) -> tuple[int, int]:
    """Return a file's length and what the disk has reserved for it, in bytes."""
    status = os.stat(path)  # noqa: PTH116  a plain string, as the log has it
    return status.st_size, status.st_blocks * 512
