"""Cuts a damaged log behind its last whole record, when an operator wants it so.

It is never done by itself: what is cut off may have been acknowledged, and a vote among it may have
been given. What is left is what the log was at an earlier moment; nothing is mended, guessed or put
together anew.

Invariants: nothing is deleted before a durable copy of it, or the file itself under another name,
lies in the directory `damaged-<n>`. Whenever it is interrupted, the log is as damaged as before,
so that no node starts from a log that is half repaired, or it is cut completely.
"""

from liferaft.errors import DiskFailed, InvariantViolated, StorageError
from liferaft.storage.disk import Disk, File
from liferaft.storage.inspection import Inspection, inspect
from liferaft.storage.segment import segment_path, sync, sync_directory

_ASIDE = "damaged-"
_COPY_BYTES = 1024 * 1024


def directory_aside(disk: Disk, directory: str) -> str:
    """Return where the next repair of a directory would keep what it cuts off."""
    number = 1
    while disk.exists(f"{directory}/{_ASIDE}{number}"):
        number += 1
    return f"{directory}/{_ASIDE}{number}"


def repair(disk: Disk, inspection: Inspection) -> str:
    """Cut the log behind its last whole record before the damage; blocking.

    Returns the directory in which the files are kept as they were. The caller holds the directory's
    lock since before the inspection. Raises `DiskFailed`; it can be called again then, after
    another inspection.
    """
    assert inspection.damage is not None
    aside = directory_aside(disk, inspection.directory)
    try:
        _cut(disk, inspection, aside)
    except StorageError:
        raise
    except OSError as error:
        raise DiskFailed(
            f"{inspection.directory} could not be repaired: {error}. Nothing is lost: what was"
            f" moved away so far lies in {aside}. Free some space if that is what is missing, and"
            " repair it again"
        ) from error
    after = inspect(disk, inspection.directory)
    if after.damage is not None or after.last != inspection.last:
        raise InvariantViolated(
            f"{inspection.directory} should hold the entries up to {inspection.last} after its"
            f" repair, and holds those up to {after.last}; its files are kept in {aside}"
        )
    return aside


def _cut(disk: Disk, inspection: Inspection, aside: str) -> None:
    """Put aside first, cut the damaged segment then, and move those behind it away last.

    While one of those is left, it vouches for more than the cut segment holds, or shows a gap.
    """
    directory, end = inspection.directory, inspection.examined.position
    disk.make_directory(aside)
    if end.segment > 0:
        _shorten(disk, directory, aside, number=end.segment, size=end.offset)
    behind = [segment.number for segment in inspection.segments if segment.number > end.segment]
    for number in reversed(behind):
        disk.rename(segment_path(directory, number), segment_path(aside, number))
    sync_directory(disk, aside)
    sync_directory(disk, directory)


def _shorten(disk: Disk, directory: str, aside: str, *, number: int, size: int) -> None:
    """Cut a segment that holds anything behind `size`, after a copy of it is durable."""
    path = segment_path(directory, number)
    file = disk.open(path)
    try:
        rest = file.read(size, max(0, file.size() - size))
        if not rest.strip(b"\0"):
            return
        _copy(disk, file, segment_path(aside, number))
        sync_directory(disk, aside)
        file.truncate(size)
        sync(file, path)
    finally:
        file.close()


def _copy(disk: Disk, source: File, path: str) -> None:
    target = disk.open(path, create=True)
    try:
        size = source.size()
        for offset in range(0, size, _COPY_BYTES):
            target.write(offset, source.read(offset, min(_COPY_BYTES, size - offset)))
        sync(target, path)
    finally:
        target.close()
