"""A file system in a file, filled and without power."""

import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from liferaft.chaos.loop_disk import LoopDisk, ToolFailed

pytestmark = pytest.mark.usefixtures("loop_devices")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    disk = LoopDisk(tmp_path / "mounted", size_bytes=8 * 1024 * 1024)
    try:
        disk.make()
        yield disk
    finally:
        disk.close()


def test_a_power_cut_takes_what_was_not_synced_and_nothing_else(disk: LoopDisk) -> None:
    synced, unsynced = disk.mount_point / "synced", disk.mount_point / "unsynced"
    with synced.open("wb") as file:
        file.write(b"kept")
        file.flush()
        os.fsync(file.fileno())
        file.write(b" and lost")
    unsynced.write_bytes(b"lost")
    disk.cut_power()
    with pytest.raises(OSError, match="Input/output error"):
        (disk.mount_point / "after").write_bytes(b"never")
    disk.unmount()
    disk.mount()

    assert b"kept" == synced.read_bytes()
    assert not unsynced.exists()


def test_a_disk_without_power_is_saved_as_it_is_after(disk: LoopDisk, tmp_path: Path) -> None:
    (disk.mount_point / "unsynced").write_bytes(b"lost")
    disk.cut_power()
    disk.save(tmp_path / "saved")

    assert ["lost+found"] == [path.name for path in (tmp_path / "saved").iterdir()]


def test_a_disk_that_somebody_else_holds_mounted_has_no_power_again(disk: LoopDisk) -> None:
    """Without the check, whatever is tried on it would look like a violation."""
    with subprocess.Popen(
        ("unshare", "--mount", "sh", "-c", "echo; read line"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        disk.cut_power()
        disk.unmount()
        with pytest.raises(ToolFailed, match="Is it mounted in another mount namespace"):
            disk.mount()


async def test_it_is_unmounted_when_the_last_has_left_it(disk: LoopDisk) -> None:
    """A node that is killed may leave a copy of itself, which ends a little later."""
    with (disk.mount_point / "snapshot").open("wb"):
        unmounting = asyncio.create_task(disk.unmount_when_left())
        await asyncio.sleep(0)
        was_mounted = disk.mount_point.is_mount()
    await unmounting

    assert was_mounted
    assert not disk.mount_point.is_mount()


def test_what_was_freed_is_free_after_a_power_cut(disk: LoopDisk) -> None:
    """Or else the disk of a node is full again after one, and nobody frees it."""
    disk.fill()
    disk.free()
    disk.cut_power()
    disk.unmount()
    disk.mount()

    assert ["lost+found"] == [path.name for path in disk.mount_point.iterdir()]


def test_a_full_disk_takes_nothing_until_it_is_freed(disk: LoopDisk) -> None:
    disk.fill()
    with pytest.raises(OSError, match="No space left on device") as raised:
        (disk.mount_point / "more").write_bytes(b"more")
    disk.free()
    (disk.mount_point / "more").write_bytes(b"more")

    assert errno.ENOSPC == raised.value.errno
    assert b"more" == (disk.mount_point / "more").read_bytes()


def test_nothing_is_left_behind_even_while_a_file_is_open(disk: LoopDisk) -> None:
    with (disk.mount_point / "open").open("wb"):
        disk.close()
        disk.close()

        assert not os.path.ismount(disk.mount_point)
    assert [disk.mount_point] == list(disk.mount_point.parent.iterdir())
