"""Format version 1, kept as bytes: what was written once must be readable for ever.

The files in golden/ are never regenerated: a change of the format gets a new version, new files
and its own reader, and these go on to be read.
"""

from pathlib import Path
from random import Random

import pytest

from liferaft.raft.types import Configuration, Entry, EntryKind, HardState, TermRun
from liferaft.storage.directory import Identity, open_directory
from liferaft.storage.faulty import FaultyDisk
from tests.storage.logs import DIRECTORY, open_log, read_log

pytestmark = pytest.mark.looptime

GOLDEN = Path(__file__).parent / "golden" / "version-1"
NODE = Identity("blue", "n1")
THREE = Configuration(("n1", "n2", "n3"), (), ("n4",))
SEGMENT_BYTES = 400
ENTRIES = [
    Entry(1, 1, EntryKind.NOOP, b""),
    Entry(1, 2, EntryKind.COMMAND, b"add buy milk"),
    Entry(3, 3, EntryKind.CONFIGURATION, b"\x00\xff"),
    Entry(3, 4, EntryKind.COMMAND, "größer".encode()),
]


async def write_all(disk: FaultyDisk) -> dict[str, bytes]:
    """Write what the golden files hold, and return the files."""
    await open_directory(disk, DIRECTORY, NODE, THREE)
    opened = await open_log(disk, segment_bytes=SEGMENT_BYTES)
    await opened.store(ENTRIES[:2], HardState(1, "n1"))
    await opened.store([Entry(1, 3, EntryKind.COMMAND, b"lost to a new leader")])
    await opened.store(ENTRIES[2:], HardState(3))
    await opened.store([], HardState(4, "n2"))
    await opened.log.close()
    return {path.rpartition("/")[2]: disk.content(path) for path in disk.paths()}


async def test_the_bytes_that_are_written_have_not_changed() -> None:
    written = await write_all(FaultyDisk(Random(1)))

    assert {path.name: path.read_bytes() for path in sorted(GOLDEN.iterdir())} == written


async def test_the_golden_files_can_be_read() -> None:
    disk = FaultyDisk(Random(1))
    disk.make_directory(DIRECTORY)
    for path in sorted(GOLDEN.iterdir()):
        file = disk.open(f"{DIRECTORY}/{path.name}", create=True)
        file.write(0, path.read_bytes())
    directory = await open_directory(disk, DIRECTORY, NODE, THREE)
    recovered, entries = await read_log(disk)

    assert THREE == directory.configuration
    assert HardState(4, "n2") == recovered.hard_state
    assert (TermRun(1, 1), TermRun(3, 3)) == recovered.runs
    assert ENTRIES == entries
