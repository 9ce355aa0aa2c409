"""The data directory: whose it is, and who holds it. Trap 29."""

import asyncio
import errno
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from liferaft.errors import DataDirectoryError, DiskFailed
from liferaft.raft.types import Configuration
from liferaft.storage.directory import (
    SHARED_LOG,
    Identity,
    lock_directory,
    lock_path,
    open_directory,
    read_identity,
)
from liferaft.storage.disk import SystemDisk
from liferaft.storage.faulty import FaultyDisk, Operation
from liferaft.storage.records import checksum

pytestmark = pytest.mark.looptime

NODE = Identity("blue", "n1")
THREE = Configuration(("n1", "n2", "n3"))
ONE = Configuration(("n1",))


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk(Random(1))


async def test_the_first_configuration_is_remembered() -> None:
    for seed in range(20):
        disk = FaultyDisk(Random(seed))
        first = await open_directory(disk, "/data", NODE, THREE, disk_id="d1")
        first.close()
        disk.crash()
        second = await open_directory(disk, "/data", NODE, ONE, disk_id="d1")

        assert THREE == first.configuration == second.configuration
        assert NODE == second.identity


@pytest.mark.parametrize("other", [Identity("blue", "n2"), Identity("green", "n1")])
async def test_a_directory_of_somebody_else_is_refused(disk: FaultyDisk, other: Identity) -> None:
    (await open_directory(disk, "/data", NODE, THREE, disk_id="d1")).close()
    with pytest.raises(DataDirectoryError, match="/data belongs to node n1 of cluster blue"):
        await open_directory(disk, "/data", other, THREE, disk_id="d1")

    # The refusal lets go of the lock.
    (await open_directory(disk, "/data", NODE, THREE, disk_id="d1")).close()


async def test_a_crash_while_it_is_made_leaves_it_whole_or_new() -> None:
    for seed in range(100):
        disk = FaultyDisk(Random(seed))
        making = asyncio.create_task(open_directory(disk, "/data", NODE, THREE, disk_id="d1"))
        await asyncio.sleep(0.0005)
        disk.crash()
        await asyncio.gather(making, return_exceptions=True)
        directory = await open_directory(disk, "/data", NODE, THREE, disk_id="d1")

        assert THREE == directory.configuration


async def test_every_flipped_byte_of_the_identity_is_noticed(disk: FaultyDisk) -> None:
    (await open_directory(disk, "/data", NODE, THREE, disk_id="d1")).close()
    for offset in range(len(disk.content("/data/identity"))):
        disk.flip("/data/identity", offset)
        with pytest.raises(DataDirectoryError, match="is damaged"):
            await open_directory(disk, "/data", NODE, THREE, disk_id="d1")
        disk.flip("/data/identity", offset)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'{"version":3,"who":"n1"}\n', "has format version 3, and this program knows 2"),
        (b'{"version":1}\n', "is not what this program writes"),
        (b"[]\n", "is not what this program writes"),
        (b'{"version":1,"cluster_id":"\xff"}\n', "is not what this program writes"),
    ],
)
async def test_an_identity_of_another_making_is_refused(
    disk: FaultyDisk, line: bytes, sentence: str
) -> None:
    """Found by the fuzzer: a right checksum does not make it this program's file."""
    disk.make_directory("/data")
    disk.open("/data/identity", create=True).write(0, line + b"crc32c %08x\n" % checksum(line))

    with pytest.raises(DataDirectoryError, match=sentence):
        await open_directory(disk, "/data", NODE, THREE, disk_id="d1")


@pytest.mark.parametrize("log", ["/data", f"/data/{SHARED_LOG}"])
async def test_a_log_without_an_identity_is_refused(disk: FaultyDisk, log: str) -> None:
    """Or it would be taken for one of a new disk, on which nothing was promised."""
    disk.make_directory(log)
    disk.open(f"{log}/000000000001.log", create=True).close()
    with pytest.raises(DataDirectoryError, match="nothing says whose"):
        await open_directory(disk, "/data", NODE, THREE, disk_id="d1")


@pytest.mark.parametrize("operation", ["read", "sync"])
async def test_a_disk_that_fails_is_told(disk: FaultyDisk, operation: Operation) -> None:
    (await open_directory(disk, "/data", NODE, THREE, disk_id="d1")).close()
    disk.fail(operation, errno.EIO)
    with pytest.raises(DiskFailed):
        await open_directory(disk, "/data", NODE, THREE, disk_id="d1")

    (await open_directory(disk, "/data", NODE, THREE, disk_id="d1")).close()


@pytest.mark.processes
async def test_another_process_cannot_have_it(tmp_path: Path) -> None:
    path = str(tmp_path / "data")
    disk = SystemDisk()
    directory = await open_directory(disk, path, NODE, THREE, disk_id="d1")
    program = (
        "import sys\n"
        "from liferaft.storage.disk import SystemDisk\n"
        "try:\n"
        f"    SystemDisk().lock({path + '/lock'!r})\n"
        "except OSError as error:\n"
        "    sys.exit(f'{type(error).__name__}: {error}')\n"
    )
    refused = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)  # noqa: ASYNC221  the loop has nothing else to do
    directory.close()
    admitted = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)  # noqa: ASYNC221
    await disk.close()

    assert refused.stderr.startswith(b"DataDirectoryError: ")
    assert b"data is in use by process " in refused.stderr
    assert (1, 0) == (refused.returncode, admitted.returncode)


async def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    disk = SystemDisk()
    for path in (tmp_path / "file", tmp_path / "file" / "data"):
        with pytest.raises(DataDirectoryError, match="choose another"):
            await open_directory(disk, str(path), NODE, THREE, disk_id="d1")
    await disk.close()


async def test_whose_it_is_can_be_read_without_holding_it(disk: FaultyDisk) -> None:
    directory = await open_directory(disk, "/data", NODE, THREE, disk_id="d1")
    before = disk.paths()

    assert (NODE, THREE) == read_identity(disk, "/data")
    assert before == disk.paths()
    directory.close()


async def test_whoever_opens_it_holds_its_lock(disk: FaultyDisk) -> None:
    directory = await open_directory(disk, "/data", NODE, THREE, disk_id="d1")
    with pytest.raises(DataDirectoryError, match="in use"):
        lock_directory(disk, "/data")
    with pytest.raises(DataDirectoryError, match="in use"):
        disk.lock(lock_path("/data"))
    directory.close()

    lock_directory(disk, "/data")()


async def test_what_is_no_data_directory_has_no_owner(disk: FaultyDisk, tmp_path: Path) -> None:
    disk.make_directory("/data")
    with pytest.raises(DataDirectoryError, match="no node's data directory"):
        read_identity(disk, "/data")
    disk.open("/data/000000000001.log", create=True)
    with pytest.raises(DataDirectoryError, match="nothing says whose"):
        read_identity(disk, "/data")
    with pytest.raises(DataDirectoryError, match="cannot be read as a data directory: No such"):
        read_identity(SystemDisk(), str(tmp_path / "absent"))
