"""Which groups were added to a node and removed from it: kept through crashes, or told."""

import asyncio
import errno
from random import Random

import pytest

from liferaft.errors import DataDirectoryError, DiskFailed
from liferaft.storage.faulty import FaultyDisk, Operation
from liferaft.storage.group_catalog import GroupCatalog
from liferaft.storage.records import checksum

pytestmark = pytest.mark.looptime

PATH = "/data/catalog"
FIRST = ("a", "b")


@pytest.fixture
def disk() -> FaultyDisk:
    disk = FaultyDisk(Random(1))
    disk.make_directory("/data")
    disk.sync_directory("/")
    return disk


async def test_without_changes_there_is_no_file_and_the_first_groups_are_hosted(
    disk: FaultyDisk,
) -> None:
    catalog = await GroupCatalog.open(disk, "/data")

    assert FIRST == catalog.hosted(FIRST)
    assert [] == disk.names("/data")


async def test_what_was_changed_is_known_after_a_crash(disk: FaultyDisk) -> None:
    catalog = await GroupCatalog.open(disk, "/data")
    await catalog.add("c")
    await catalog.add("d")
    await catalog.remove("a")
    await catalog.remove("d")
    disk.crash()
    found = await GroupCatalog.open(disk, "/data")

    assert ("b", "c") == catalog.hosted(FIRST) == found.hosted(FIRST)
    assert {"a", "d"} == set(found.removed)


async def test_what_was_added_can_be_withdrawn_and_added_again(disk: FaultyDisk) -> None:
    catalog = await GroupCatalog.open(disk, "/data")
    await catalog.add("c")
    await catalog.withdraw("c")
    withdrawn = (await GroupCatalog.open(disk, "/data")).hosted(FIRST)
    await catalog.add("c")

    assert FIRST == withdrawn
    assert (*FIRST, "c") == catalog.hosted(FIRST)


async def test_a_program_that_is_started_with_an_added_group_hosts_it_once(
    disk: FaultyDisk,
) -> None:
    catalog = await GroupCatalog.open(disk, "/data")
    await catalog.add("c")

    assert ("a", "b", "c") == catalog.hosted((*FIRST, "c"))


async def test_a_crash_leaves_a_change_whole_or_undone() -> None:
    found: set[tuple[str, ...]] = set()
    for seed in range(60):
        disk = FaultyDisk(Random(seed), latency=lambda: 0.001)
        disk.make_directory("/data")
        disk.sync_directory("/")
        catalog = await GroupCatalog.open(disk, "/data")
        await catalog.add("c")
        removing = asyncio.create_task(catalog.remove("a"))
        await asyncio.sleep(Random(seed).uniform(0, 0.002))
        disk.crash()
        await asyncio.gather(removing, return_exceptions=True)
        found.add((await GroupCatalog.open(disk, "/data")).hosted(FIRST))

    assert {("a", "b", "c"), ("b", "c")} == found


async def test_every_flipped_byte_is_noticed(disk: FaultyDisk) -> None:
    """Or a node would take part again in a group in which it has forgotten its votes."""
    await (await GroupCatalog.open(disk, "/data")).remove("a")
    for offset in range(len(disk.content(PATH))):
        disk.flip(PATH, offset)
        with pytest.raises(DataDirectoryError, match=f"{PATH} is damaged"):
            await GroupCatalog.open(disk, "/data")
        disk.flip(PATH, offset)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'{"version":2,"groups":["a"]}\n', "has format version 2, and this program knows 1"),
        (b'{"version":1,"added":5}\n', "is not what this program writes"),
        (b"[]\n", "is not what this program writes"),
        (b'{"version":1,"added":["\xff"]}\n', "is not what this program writes"),
    ],
)
async def test_a_file_of_another_making_is_refused(
    disk: FaultyDisk, line: bytes, sentence: str
) -> None:
    disk.open(PATH, create=True).write(0, line + b"crc32c %08x\n" % checksum(line))

    with pytest.raises(DataDirectoryError, match=sentence):
        await GroupCatalog.open(disk, "/data")


@pytest.mark.parametrize("operation", ["write", "sync"])
async def test_a_change_that_the_disk_refuses_is_not_made(
    disk: FaultyDisk, operation: Operation
) -> None:
    catalog = await GroupCatalog.open(disk, "/data")
    await catalog.add("c")
    disk.fail(operation, errno.EIO)
    with pytest.raises(DiskFailed, match=f"{PATH} could not be written"):
        await catalog.remove("a")
    found = await GroupCatalog.open(disk, "/data")

    assert ("a", "b", "c") == catalog.hosted(FIRST) == found.hosted(FIRST)


async def test_a_disk_that_cannot_be_read_is_told(disk: FaultyDisk) -> None:
    await (await GroupCatalog.open(disk, "/data")).add("c")
    disk.fail("read", errno.EIO)
    with pytest.raises(DiskFailed, match=f"{PATH} could not be read"):
        await GroupCatalog.open(disk, "/data")
