"""A snapshot as a file that leaves its cluster: a backup, and a new cluster made of one.

A restored node is of another cluster than the one that the backup was taken of, under a name of its
own, so that nodes of the two can never take each other for peers. Every function here blocks.
"""

import secrets
from collections.abc import Iterator

from msgspec.structs import replace

from liferaft.errors import DataDirectoryError, DiskFailed, StorageError
from liferaft.raft.types import Configuration
from liferaft.storage.directory import Identity, bind_directory, is_bound, lock_directory
from liferaft.storage.disk import Disk
from liferaft.storage.segment import segment_numbers, sync_directory
from liferaft.storage.snapshot_file import (
    SnapshotContent,
    SnapshotHead,
    proven,
    read_state,
    write_snapshot,
)
from liferaft.storage.snapshots import remove_damaged, snapshot_directory, snapshot_name

_NEW_SUFFIX = ".new"


def restore_backup(
    disk: Disk, backup: str, directory: str, identity: Identity, configuration: Configuration
) -> SnapshotContent:
    """Make the data directory of one node of a new cluster, which begins with the backup's state.

    Every node of the new cluster is given the same backup and the same `configuration`. Returns
    what the backup holds. Raises `DataDirectoryError` when there is a log, a snapshot or an
    identity in the directory already or the backup is the new cluster's own, `DamagedSnapshot`, and
    `DiskFailed`.
    """
    try:
        content = proven(disk, backup)
        if content.head.cluster_id == identity.cluster_id:
            raise DataDirectoryError(
                f"{backup} is of cluster {identity.cluster_id} itself: give the new cluster another"
                " name, so that nodes of the old one can never mix with it"
            )
        disk.make_directory(directory)
        unlock = lock_directory(disk, directory)
        try:
            _check_empty(disk, directory)
            head = replace(
                content.head, cluster_id=identity.cluster_id, configuration=configuration
            )
            _restore(disk, backup, directory, head, identity)
        finally:
            unlock()
    except StorageError:
        raise
    except OSError as error:
        raise DiskFailed(f"{backup} could not be restored to {directory}: {error}") from error
    return content


def _check_empty(disk: Disk, directory: str) -> None:
    place = snapshot_directory(directory)
    has_snapshots = disk.exists(place) and any(
        not name.endswith(_NEW_SUFFIX) for name in disk.names(place)
    )
    if is_bound(disk, directory) or has_snapshots or segment_numbers(disk.names(directory)):
        raise DataDirectoryError(
            f"{directory} belongs to a node already: give a directory that is empty or absent"
        )


def _restore(
    disk: Disk, backup: str, directory: str, head: SnapshotHead, identity: Identity
) -> None:
    """Write the snapshot under its new owner's name, and only then say whose directory it is."""
    disk.make_directory(snapshot_directory(directory))
    path = f"{snapshot_directory(directory)}/{snapshot_name(head)}"
    write_snapshot(disk, path + _NEW_SUFFIX, head, read_state(disk, backup))
    disk.rename(path + _NEW_SUFFIX, path)
    sync_directory(disk, snapshot_directory(directory))
    bind_directory(disk, directory, identity, head.configuration, disk_id=secrets.token_hex(16))


def give_away(disk: Disk, directory: str, cluster_id: str) -> None:
    """Let all snapshots in a data directory be of another cluster; may be called again.

    What damaged ones covered the other cluster never had: those that were put aside are removed, or
    its first start would be refused for them. The caller holds the directory's lock. Raises
    `DamagedSnapshot` and `OSError`.
    """
    remove_damaged(disk, directory)
    for path in list(_snapshot_paths(disk, directory)):
        content = proven(disk, path)
        if content.head.cluster_id != cluster_id:
            head = replace(content.head, cluster_id=cluster_id)
            write_snapshot(disk, path + _NEW_SUFFIX, head, read_state(disk, path))
            disk.rename(path + _NEW_SUFFIX, path)
            sync_directory(disk, snapshot_directory(directory))


def _snapshot_paths(disk: Disk, directory: str) -> Iterator[str]:
    place = snapshot_directory(directory)
    for name in disk.names(place) if disk.exists(place) else []:
        if name.endswith(".snapshot"):
            yield f"{place}/{name}"
