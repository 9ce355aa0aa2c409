"""Each version of the format, kept as bytes: what was written once must be readable for ever.

The files in golden/ are never regenerated: a change of the format gets a new version, new files
and its own reader, and these go on to be read.
"""

from pathlib import Path
from random import Random

import pytest

from liferaft.raft.types import Configuration, Entry, EntryId, EntryKind, HardState, TermRun
from liferaft.storage.directory import Identity, open_directory
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.group_catalog import GroupCatalog
from liferaft.storage.snapshots import open_snapshots
from liferaft.storage.wal import WriteAheadLog
from tests.storage.logs import DIRECTORY, OpenLog, open_log, read_log

pytestmark = pytest.mark.looptime

GOLDEN = Path(__file__).parent / "golden"
NODE = Identity("blue", "n1")
THREE = Configuration(("n1", "n2", "n3"), (), ("n4",))
SEGMENT_BYTES = 400
ENTRIES = [
    Entry(1, 1, EntryKind.NOOP, b""),
    Entry(1, 2, EntryKind.COMMAND, b"add buy milk"),
    Entry(3, 3, EntryKind.CONFIGURATION, b"\x00\xff"),
    Entry(3, 4, EntryKind.COMMAND, "größer".encode()),
]
BASE = EntryId(4, 9)
BEHIND = [Entry(4, 10, EntryKind.COMMAND, b"behind the snapshot")]


def golden(version: int) -> dict[str, bytes]:
    """Return the files of a version, by their paths in the directory."""
    root = GOLDEN / f"version-{version}"
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def disk_of(version: int) -> FaultyDisk:
    """Return a disk with the files of a version."""
    disk = FaultyDisk(Random(1))
    for name, content in golden(version).items():
        path = f"{DIRECTORY}/{name}"
        disk.make_directory(path.rpartition("/")[0])
        disk.open(path, create=True).write(0, content)
    return disk


async def write_all(disk: FaultyDisk) -> dict[str, bytes]:
    """Write what the golden files of version 2 hold, and return the files.

    The log is that of version 1, and begins anew behind a snapshot that came from elsewhere.
    """
    await open_directory(disk, DIRECTORY, NODE, THREE, disk_id="0123456789abcdef")
    opened = await open_log(disk, segment_bytes=SEGMENT_BYTES)
    await opened.store(ENTRIES[:2], HardState(1, "n1"))
    await opened.store([Entry(1, 3, EntryKind.COMMAND, b"lost to a new leader")])
    await opened.store(ENTRIES[2:], HardState(3))
    await opened.store([], HardState(4, "n2"))
    store = await open_snapshots(disk, DIRECTORY, NODE.cluster_id)
    await store.take(BASE.index, BASE.term, THREE, iter([b"the state ", b"at entry nine"]))
    opened.log.begin_anew(BASE)
    await opened.store(BEHIND)
    await opened.log.close()
    return {path.removeprefix(f"{DIRECTORY}/"): disk.content(path) for path in disk.paths()}


async def test_the_bytes_that_are_written_have_not_changed() -> None:
    written, kept = await write_all(FaultyDisk(Random(1))), golden(2)

    assert kept.keys() == written.keys()
    for name, content in kept.items():
        # Another release of zstd may pack the same state into other bytes.
        if not name.startswith("snapshots/"):
            assert content == written[name], name


async def test_version_1_can_be_read() -> None:
    disk = disk_of(1)
    directory = await open_directory(disk, DIRECTORY, NODE, THREE, disk_id="unused")
    recovered, entries = await read_log(disk)

    assert (THREE, "") == (directory.configuration, directory.disk_id)
    assert HardState(4, "n2") == recovered.hard_state
    assert (TermRun(1, 1), TermRun(3, 3)) == recovered.runs
    assert ENTRIES == entries


async def test_version_2_can_be_read() -> None:
    disk = disk_of(2)
    directory = await open_directory(disk, DIRECTORY, NODE, THREE, disk_id="unused")
    store = await open_snapshots(disk, DIRECTORY, NODE.cluster_id)
    log, recovered = await WriteAheadLog.open(disk, DIRECTORY, base=store.base)
    opened = OpenLog(log, recovered)
    entries = await opened.read_all()
    await log.close()
    newest = store.newest

    assert (THREE, "0123456789abcdef") == (directory.configuration, directory.disk_id)
    assert newest is not None
    assert (BASE, THREE) == (EntryId(newest.term, newest.index), newest.configuration)
    assert b"the state at entry nine" == b"".join(store.state(newest))
    assert HardState(4, "n2") == recovered.hard_state
    assert BEHIND == entries


async def test_the_catalog_of_groups_is_written_and_read_as_it_was_in_its_first_version() -> None:
    kept = (GOLDEN / "catalog-1" / "catalog").read_bytes()
    written, found = FaultyDisk(Random(1)), FaultyDisk(Random(1))
    for disk in (written, found):
        disk.make_directory(DIRECTORY)
    catalog = await GroupCatalog.open(written, DIRECTORY)
    await catalog.add("orders")
    await catalog.add("größer")
    await catalog.remove("0")
    await catalog.remove("orders")
    found.open(f"{DIRECTORY}/catalog", create=True).write(0, kept)
    read = await GroupCatalog.open(found, DIRECTORY)

    assert kept == written.content(f"{DIRECTORY}/catalog")
    assert ("1", "größer") == read.hosted(("0", "1"))
    assert ("0", "orders") == read.removed
