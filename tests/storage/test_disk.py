"""The system's disk, and what both disks promise alike."""

import asyncio
import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest

from liferaft.errors import DataDirectoryError
from liferaft.storage.disk import LEFT_WITHIN, Disk, SystemDisk, is_locked
from liferaft.storage.faulty import FaultyDisk


@pytest.fixture(params=["system", "faulty"])
async def disk(request: pytest.FixtureRequest) -> AsyncIterator[Disk]:
    if request.param == "faulty":
        yield FaultyDisk(Random(1))
        return
    system = SystemDisk()
    yield system
    await system.close()


@pytest.fixture
def directory(disk: Disk, tmp_path: Path) -> str:
    path = str(tmp_path / "deep" / "data")
    disk.make_directory(path)
    disk.make_directory(path)
    return path


def test_a_file_reads_as_it_was_written(disk: Disk, directory: str) -> None:
    file = disk.open(f"{directory}/a", create=True)
    file.write(0, b"hello")
    file.write(3, b"p me")
    file.write(9, b"!")
    file.sync()
    whole, part, behind = file.read(0, 100), file.read(3, 4), file.read(100, 4)
    file.close()

    assert b"help me\0\0!" == whole
    assert (b"p me", b"") == (part, behind)


def test_allocate_extends_with_zeros_and_never_cuts(disk: Disk, directory: str) -> None:
    file = disk.open(f"{directory}/a", create=True)
    file.write(0, b"hello")
    file.allocate(8)
    file.allocate(2)
    extended = file.read(0, 100)
    file.truncate(2)
    cut = file.read(0, 100)
    file.truncate(4)
    extended_again, size = file.read(0, 100), file.size()
    file.close()

    assert b"hello\0\0\0" == extended
    assert (b"he", b"he\0\0", 4) == (cut, extended_again, size)


def test_a_closed_file_is_dead(disk: Disk, directory: str) -> None:
    file = disk.open(f"{directory}/a", create=True)
    file.close()
    file.close()

    with pytest.raises(OSError, match="Bad file descriptor"):
        file.read(0, 1)


def test_an_absent_file_is_made_only_when_asked(disk: Disk, directory: str) -> None:
    with pytest.raises(FileNotFoundError):
        disk.open(f"{directory}/a")
    with pytest.raises(FileNotFoundError):
        disk.open(f"{directory}/absent/a", create=True)


def test_names_are_sorted_and_follow_changes(disk: Disk, directory: str) -> None:
    for name in ("c", "a", "b"):
        disk.open(f"{directory}/{name}", create=True).close()
    disk.rename(f"{directory}/c", f"{directory}/a")
    disk.remove(f"{directory}/b")
    disk.sync_directory(directory)

    assert ["a"] == disk.names(directory)
    assert disk.exists(f"{directory}/a")
    assert disk.exists(directory)
    assert not disk.exists(f"{directory}/b")


def test_a_lock_is_held_once_and_can_be_given_back(disk: Disk, directory: str) -> None:
    unlock = disk.lock(f"{directory}/lock")
    with pytest.raises(DataDirectoryError, match=f"{directory} is in use"):
        disk.lock(f"{directory}/lock")
    unlock()

    disk.lock(f"{directory}/lock")()


def test_a_file_is_renamed_into_another_directory(disk: Disk, directory: str) -> None:
    disk.make_directory(f"{directory}/aside")
    disk.open(f"{directory}/a", create=True).write(0, b"x")
    disk.rename(f"{directory}/a", f"{directory}/aside/b")

    assert ["aside"] == disk.names(directory)
    assert b"x" == disk.open(f"{directory}/aside/b").read(0, 9)


def test_whether_a_file_is_locked_is_told_without_changing_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    absent = is_locked(str(path))
    path.write_bytes(b"")
    with path.open() as shared:
        fcntl.flock(shared, fcntl.LOCK_SH)  # as another one who only asks
        assert not is_locked(str(path))
    unlock = SystemDisk().lock(str(path))
    before = path.read_bytes(), path.stat().st_mtime_ns
    held = is_locked(str(path))
    unlock()
    free = is_locked(str(path))

    assert (False, True, False) == (absent, held, free)
    assert before == (path.read_bytes(), path.stat().st_mtime_ns)
    SystemDisk().lock(str(path))()


LOCKS_AND_LEAVES_A_COPY = """
import os, sys
from liferaft.storage.disk import SystemDisk
SystemDisk().lock(sys.argv[1])
if os.fork() == 0:
    sys.stdin.read()
os._exit(0)
"""
"""Locks a file and ends, but for a copy of it that has all that it had, until its input ends."""


@pytest.fixture
def copy_of_an_ended_process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = [sys.executable, "-c", LOCKS_AND_LEAVES_A_COPY, str(tmp_path / "lock")]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert 0 == process.wait()
        yield process


UNLOCKS_BESIDE_A_COPY = """
import os, sys
from liferaft.storage.disk import SystemDisk
unlock = SystemDisk().lock(sys.argv[1])
if os.fork() == 0:
    sys.stdin.read()
    os._exit(0)
unlock()
SystemDisk().lock(sys.argv[1])
"""


@pytest.mark.processes
def test_what_is_given_back_can_be_had_though_a_copy_has_it_still(tmp_path: Path) -> None:
    program = [sys.executable, "-c", UNLOCKS_BESIDE_A_COPY, str(tmp_path / "lock")]
    with subprocess.Popen(program, stdin=subprocess.PIPE) as process:
        assert 0 == process.wait()


@pytest.mark.processes
def test_what_a_copy_of_an_ended_process_holds_is_waited_for(
    copy_of_an_ended_process: subprocess.Popen[bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    def let_the_copy_end(seconds: float) -> None:
        waits.append(seconds)
        copy_of_an_ended_process.communicate()

    monkeypatch.setattr("liferaft.storage.disk.time.sleep", let_the_copy_end)
    unlock = SystemDisk().lock(str(tmp_path / "lock"))
    unlock()

    assert 1 == len(waits)


@pytest.mark.processes
@pytest.mark.usefixtures("copy_of_an_ended_process")
def test_what_is_held_for_too_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("liferaft.storage.disk.time.sleep", waits.append)
    monkeypatch.setattr("liferaft.storage.disk.time.monotonic", lambda: float(len(waits)))
    with pytest.raises(DataDirectoryError, match="is in use by process"):
        SystemDisk().lock(str(tmp_path / "lock"))

    assert LEFT_WITHIN == len(waits)


@pytest.mark.parametrize(
    "holder",
    ["", "somebody", "0", str(1 << 80), str(os.getpid())],
    ids=["nobody", "no number", "no process", "no process can be", "this process"],
)
def test_who_may_be_alive_is_not_waited_for(
    holder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("liferaft.storage.disk.time.sleep")
    unlock = SystemDisk().lock(str(tmp_path / "lock"))
    (tmp_path / "lock").write_text(holder, encoding="ascii")
    with pytest.raises(DataDirectoryError, match="is in use"):
        SystemDisk().lock(str(tmp_path / "lock"))
    unlock()


def test_a_read_only_disk_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    file = SystemDisk(is_read_only=True).open(str(tmp_path / "a"))

    assert b"x" == file.read(0, 9)
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.write(0, b"y")
    with pytest.raises(OSError, match="Invalid argument"):
        file.truncate(0)
    file.close()


async def test_run_returns_and_raises_what_the_work_does(disk: Disk) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "no")

    with pytest.raises(OSError, match="no"):
        await disk.run(fail)

    assert 7 == await disk.run(lambda: 7)


async def test_work_is_done_in_the_order_in_which_it_was_given(disk: Disk) -> None:
    done: list[int] = []
    await asyncio.gather(*(disk.run(lambda i=i: done.append(i)) for i in range(20)))  # type: ignore[misc]  # mypy cannot infer a lambda with a default

    assert list(range(20)) == done


async def test_a_cancelled_caller_harms_nobody(disk: Disk) -> None:
    done: list[int] = []
    task = asyncio.create_task(disk.run(lambda: done.append(1)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    after = await disk.run(lambda: 2)

    assert [1] == done
    assert 2 == after


async def test_the_systems_disk_works_on_one_thread_that_ends_with_it() -> None:
    disk = SystemDisk()
    before = threading.active_count()
    threads = {await disk.run(threading.get_ident) for _ in range(5)}
    during = threading.active_count()
    await disk.close()
    await disk.close()

    assert 1 == len(threads)
    assert threading.get_ident() not in threads
    assert (before + 1, before) == (during, threading.active_count())
    with pytest.raises(RuntimeError, match="closed"):
        await disk.run(threading.get_ident)


def test_directories_and_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    disk = SystemDisk()
    disk.make_directory(str(tmp_path / "a" / "b"))
    disk.open(str(tmp_path / "a" / "b" / "c"), create=True).close()
    modes = [stat.S_IMODE((tmp_path / part).stat().st_mode) for part in ("a", "a/b", "a/b/c")]

    assert [0o700, 0o700, 0o600] == modes


def test_short_reads_and_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may do less than it was asked, and does when a disk fills up."""
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda fd, n, offset: pread(fd, min(n, 3), offset))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:3], offset))
    file = SystemDisk().open(str(tmp_path / "a"), create=True)
    file.write(2, b"0123456789")
    exact, beyond = file.read(2, 10), file.read(0, 100)
    file.close()

    assert b"0123456789" == exact
    assert b"\0\x000123456789" == beyond
