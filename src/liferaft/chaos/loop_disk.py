"""An ext4 file system in a file: it can be filled, and its power can be cut. Needs root.

A cut is ext4's own shutdown without a flush of its journal: what was not synced is gone after the
next mount, names included, and until then every write fails. `close` leaves no mount, no loop
device and no file behind, whatever came before. All that is done blocks, for some tens of
milliseconds: what is done half when somebody is interrupted could not be undone.
"""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

from liferaft.errors import LiferaftError

SIZE_BYTES_MIN: Final = 4 * 1024 * 1024
"""Below this, ext4 has no room for a journal."""

SIZE_BYTES: Final = 64 * 1024 * 1024
"""Takes no space before it is written, and is filled in a moment."""

_SHUTDOWN: Final = 0x8004587D
"""EXT4_IOC_SHUTDOWN, from the kernel's fs/ext4/ext4.h."""

_WITHOUT_FLUSH: Final = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH: the journal stays as it is on the disk."""

_COMMIT_SECONDS: Final = 60
"""How long ext4 may keep names and sizes in memory, 5 s by default: more to lose in a cut."""

COPY_ENDS_WITHIN: Final = 5.0
"""Seconds: a copy of a process looks again and again whether that still lives."""

_POLL_INTERVAL: Final = 0.05

_FILLER: Final = "filler"
_PROBE: Final = "probe"

_SYSTEM_PATH: Final = "/usr/sbin:/sbin"
"""Where the tools are, for a root whose PATH is a user's."""


_NEW_MOUNTS: Final = 0x00020000
"""CLONE_NEWNS."""

_PRIVATE: Final = 0x4000 | 0x40000
"""MS_REC | MS_PRIVATE."""


class ToolFailed(LiferaftError):
    """A tool of the system is missing or failed; the message has its last words."""


class LoopDisk:
    """One file system, mounted at `mount_point`, which is made; its file lies beside it."""

    def __init__(self, mount_point: Path, *, size_bytes: int = SIZE_BYTES) -> None:
        assert size_bytes >= SIZE_BYTES_MIN
        self.mount_point: Final = mount_point
        self._image = mount_point.with_name(f"{mount_point.name}.ext4")
        self._size_bytes = size_bytes
        self._is_mounted = False
        self._has_power = False

    def make(self) -> None:
        """Make the file system, empty, and mount it; raises `ToolFailed`."""
        self.mount_point.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as image:
            image.truncate(self._size_bytes)
        # No blocks are kept for root: full is full for everybody.
        _run("mkfs.ext4", "-q", "-F", "-m", "0", str(self._image))
        self.mount()

    def mount(self) -> None:
        """Mount it, which after a cut replays what the journal has on the disk.

        Raises `ToolFailed`, also when it is still without power because another mount namespace,
        made while it was mounted, holds it.
        """
        options = f"loop,noatime,commit={_COMMIT_SECONDS}"
        _run("mount", "-o", options, str(self._image), str(self.mount_point))
        self._is_mounted = True
        probe = self.mount_point / _PROBE
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ToolFailed(
                f"{self.mount_point} is mounted and fails: {error}. Is it mounted in another mount "
                "namespace, too?"
            ) from error
        self._has_power = True

    def unmount(self) -> None:
        """Unmount it; no process may have a file open there."""
        _run("umount", str(self.mount_point))
        self._is_mounted = False

    async def unmount_when_left(self) -> None:
        """Unmount it when a node has ended; a copy of it that writes a snapshot may end later.

        Raises `ToolFailed` where somebody has a file open there for much longer.
        """
        for _ in range(round(COPY_ENDS_WITHIN / _POLL_INTERVAL)):
            with contextlib.suppress(ToolFailed):
                self.unmount()
                return
            await asyncio.sleep(_POLL_INTERVAL)
        self.unmount()

    def cut_power(self) -> None:
        """Lose all that is not on the disk yet. Unmount and mount it before the next use."""
        descriptor = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
            self._has_power = False
        finally:
            os.close(descriptor)

    def fill(self) -> None:
        """Take all the space that is left."""
        descriptor = os.open(self.mount_point / _FILLER, os.O_WRONLY | os.O_CREAT, 0o600)
        block = b"\xff" * (256 * 1024)
        try:
            while block:
                try:
                    os.write(descriptor, block)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    block = block[: len(block) // 2]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """Give back what `fill` took, for good: a power cut must not bring it back."""
        (self.mount_point / _FILLER).unlink(missing_ok=True)
        descriptor = os.open(self.mount_point, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def save(self, directory: Path) -> None:
        """Copy all that is there now to a directory, which is made; raises `ToolFailed`."""
        if not self._has_power:
            if self._is_mounted:
                self.unmount()
            self.mount()
        try:
            shutil.copytree(self.mount_point, directory)
        except (OSError, shutil.Error) as error:
            raise ToolFailed(f"{self.mount_point} could not be copied: {error}") from error

    def close(self) -> None:
        """Leave nothing behind. May be called again, and at any time."""
        if self._is_mounted:
            try:
                self.unmount()
            except ToolFailed:
                # Somebody still holds a file there: it goes away with its last file.
                _run("umount", "--lazy", str(self.mount_point))
                self._is_mounted = False
        self._image.unlink(missing_ok=True)


def enter_private_mounts() -> None:
    """Let this process's mounts be seen by it and its children alone, where it may do that.

    Then they go away with the last of them, however that ends, and no process that is begun in
    between by others holds them. For the calling thread and those begun later; nothing is done for
    a user who may not mount either.
    """
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        if libc.unshare(_NEW_MOUNTS) == 0:
            libc.mount(b"none", b"/", None, _PRIVATE, None)


def _run(tool: str, *arguments: str) -> None:
    path = os.pathsep.join((os.environ.get("PATH", ""), _SYSTEM_PATH))
    found = shutil.which(tool, path=path)
    if found is None:
        raise ToolFailed(f"{tool} is not installed")
    result = subprocess.run(  # noqa: S603 - with arguments of our own
        (found, *arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        words = " ".join((result.stderr or result.stdout).split()) or "it said nothing"
        raise ToolFailed(f"{tool} ended with status {result.returncode}: {words}")
