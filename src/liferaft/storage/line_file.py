"""Small files of one line, whole or not there: JSON for whoever looks, and the line's checksum.

What the line says is the business of those who write it.
"""

from typing import Final

from liferaft.storage.disk import Disk
from liferaft.storage.records import checksum
from liferaft.storage.segment import sync

_NEW_SUFFIX: Final = ".new"


def write_line(disk: Disk, directory: str, name: str, line: bytes) -> None:
    """Let the file say this line, for good and in one step; blocking. Raises `OSError`."""
    assert line.endswith(b"\n"), "a line ends"
    target = f"{directory}/{name}"
    file = disk.open(target + _NEW_SUFFIX, create=True)
    try:
        file.truncate(0)
        file.write(0, line + _checksum_line(line))
        sync(file, target)
    finally:
        file.close()
    disk.rename(target + _NEW_SUFFIX, target)
    disk.sync_directory(directory)


def read_line(disk: Disk, path: str) -> bytes | None:
    """Return the line, None where the file is damaged; blocking. Raises `OSError`."""
    file = disk.open(path)
    try:
        data = file.read(0, file.size())
    finally:
        file.close()
    line, _, check = data.partition(b"\n")
    line += b"\n"
    return line if check == _checksum_line(line) else None


def _checksum_line(line: bytes) -> bytes:
    return b"crc32c %08x\n" % checksum(line)
