"""A node's data directory: locked against other processes, bound to one node of one cluster.

The file `identity` is written once, when the directory is made, and never changed but by the
recovery of a cluster that lost its quorum, which makes it one of another name: a node must
never work on another node's log, and a voter that lost its log must not pass for the one it was.
"""

from collections.abc import Callable, Sequence

import msgspec

from liferaft.errors import DataDirectoryError, DiskFailed, StorageError
from liferaft.raft.types import Configuration, NodeId
from liferaft.storage.disk import Disk
from liferaft.storage.line_file import read_line, write_line
from liferaft.storage.segment import segment_numbers

_VERSION = 2
_VERSION_WITHOUT_DISK = 1
_IDENTITY = "identity"
_LOCK = "lock"

SHARED_LOG = "log"
"""Where in its directory a node of many groups has their log."""


class Identity(msgspec.Struct, frozen=True):
    """Whose data it is. Neither name may ever be given to other data."""

    cluster_id: str
    node_id: NodeId


class _Version(msgspec.Struct, frozen=True):
    """What the file says in every version of the format."""

    version: int


class _FirstMembers(msgspec.Struct, frozen=True):
    """The members of the configuration that a directory was made with; the rest comes by the log.

    Its own type, so that what a configuration can say grows, and the file stays as it is.
    """

    voters: tuple[NodeId, ...]
    voters_outgoing: tuple[NodeId, ...] = ()
    learners: tuple[NodeId, ...] = ()


class _Content(msgspec.Struct, frozen=True):
    """What the file `identity` says. `configuration` is the one the node was first started with.

    `disk_id` is empty in version 1.
    """

    version: int
    cluster_id: str
    node_id: NodeId
    configuration: _FirstMembers
    disk_id: str = ""

    @property
    def first_configuration(self) -> Configuration:
        """The members as a configuration."""
        first = self.configuration
        return Configuration(first.voters, first.voters_outgoing, first.learners)


class Directory(msgspec.Struct, frozen=True):
    """A data directory that this process holds.

    `configuration` is the one that the directory was made with, whatever this start was given: the
    cluster's real one has since been agreed on in the log. `disk_id` was drawn when the directory
    was made, and is no other directory's; empty for one that an older program made.
    """

    path: str
    identity: Identity
    configuration: Configuration
    disk_id: str
    _unlock: Callable[[], None]

    def close(self) -> None:
        """Let another process have it. Close the log before; call it once."""
        self._unlock()


async def open_directory(
    disk: Disk, path: str, identity: Identity, configuration: Configuration, *, disk_id: str
) -> Directory:
    """Return the directory, made where absent, locked, and proven to belong to `identity`.

    `disk_id` becomes the directory's own where it is made. Raises `DataDirectoryError` when another
    process holds it or it belongs to somebody else, and `DiskFailed`.
    """
    first = (identity, configuration, disk_id)
    return await disk.run(lambda: _open(disk, path, *first))


def _open(
    disk: Disk, path: str, identity: Identity, configuration: Configuration, disk_id: str
) -> Directory:
    try:
        disk.make_directory(path)
        unlock = lock_directory(disk, path)
    except DataDirectoryError:
        raise
    except (NotADirectoryError, FileExistsError, PermissionError) as error:
        raise DataDirectoryError(
            f"{path} cannot be a data directory: {error.strerror}; choose another one"
        ) from error
    except OSError as error:
        raise DiskFailed(f"{path} could not be opened: {error}") from error
    try:
        bound = _bind(disk, path, identity, configuration, disk_id)
    except StorageError:
        unlock()
        raise
    except OSError as error:
        unlock()
        raise DiskFailed(f"the identity of {path} could not be read: {error}") from error
    return Directory(path, identity, bound.first_configuration, bound.disk_id, unlock)


def read_identity(disk: Disk, path: str) -> tuple[Identity, Configuration]:
    """Return whose directory it is, and its first configuration; blocking, and changes nothing.

    Raises `DataDirectoryError` when nothing says so, and `OSError`.
    """
    if not is_bound(disk, path):
        try:
            names = disk.names(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise no_directory(path, error) from error
        if _holds_log(disk, path, names):
            raise _ownerless(path)
        raise DataDirectoryError(
            f"{path} is no node's data directory, for it holds no log and no file {_IDENTITY!r}:"
            " give the directory that was given to `liferaft node --data`"
        )
    content = _read(disk, path)
    return Identity(content.cluster_id, content.node_id), content.first_configuration


def no_directory(path: str, error: OSError) -> DataDirectoryError:
    """Return the error for what is no directory that this user can read."""
    return DataDirectoryError(
        f"{path} cannot be read as a data directory: {error.strerror}. Give the directory that was"
        " given to `liferaft node --data`"
    )


def lock_directory(disk: Disk, path: str) -> Callable[[], None]:
    """Lock a directory that exists against other processes, and return what unlocks it; blocking.

    Raises `DataDirectoryError` when another process holds it, and `OSError`.
    """
    return disk.lock(lock_path(path))


def lock_path(path: str) -> str:
    """Return the file that whoever uses the directory holds locked."""
    return f"{path}/{_LOCK}"


def _bind(
    disk: Disk, path: str, identity: Identity, configuration: Configuration, disk_id: str
) -> _Content:
    """Return what the directory was made with; write it where there is none."""
    if not is_bound(disk, path):
        if _holds_log(disk, path, disk.names(path)):
            raise _ownerless(path)
        return bind_directory(disk, path, identity, configuration, disk_id=disk_id)
    content = _read(disk, path)
    found = Identity(content.cluster_id, content.node_id)
    if found != identity:
        raise DataDirectoryError(
            f"{path} belongs to node {found.node_id} of cluster {found.cluster_id}, not to node"
            f" {identity.node_id} of cluster {identity.cluster_id}: choose another data directory"
        )
    # The rename may have been seen but not synced when the process that wrote it ended.
    disk.sync_directory(path)
    return content


def _holds_log(disk: Disk, path: str, names: Sequence[str]) -> bool:
    """Return whether there is a log, of one group or of many; `names` are in the directory."""
    shared = disk.names(f"{path}/{SHARED_LOG}") if SHARED_LOG in names else ()
    return bool(segment_numbers(names) or segment_numbers(shared))


def _ownerless(path: str) -> DataDirectoryError:
    return DataDirectoryError(
        f"{path} holds a log, and nothing says whose: it lost its file {_IDENTITY!r}."
        " Move it away, and let the node rejoin from its peers as a new member"
    )


def is_bound(disk: Disk, path: str) -> bool:
    """Return whether a directory says whose it is; blocking."""
    return disk.exists(f"{path}/{_IDENTITY}")


def bind_directory(
    disk: Disk, path: str, identity: Identity, configuration: Configuration, *, disk_id: str
) -> _Content:
    """Say whose directory it is, for good and in one step; blocking. Raises `OSError`."""
    first = _FirstMembers(
        configuration.voters, configuration.voters_outgoing, configuration.learners
    )
    content = _Content(_VERSION, identity.cluster_id, identity.node_id, first, disk_id)
    write_line(disk, path, _IDENTITY, msgspec.json.encode(content) + b"\n")
    return content


def rename_cluster(disk: Disk, path: str, cluster_id: str) -> None:
    """Let a directory be of another cluster; blocking. The caller holds its lock.

    For the recovery of a cluster that lost its quorum, and nothing else. Raises as `read_identity`
    does.
    """
    identity, configuration = read_identity(disk, path)
    disk_id = _read(disk, path).disk_id
    renamed = Identity(cluster_id, identity.node_id)
    bind_directory(disk, path, renamed, configuration, disk_id=disk_id)


def _read(disk: Disk, path: str) -> _Content:
    line = read_line(disk, f"{path}/{_IDENTITY}")
    if line is None:
        raise DataDirectoryError(
            f"{path}/{_IDENTITY} is damaged: nothing says whose log this is. Move {path} away, and"
            " let the node rejoin from its peers as a new member"
        )
    try:
        version = msgspec.json.decode(line, type=_Version).version
        if version in (_VERSION_WITHOUT_DISK, _VERSION):
            return msgspec.json.decode(line, type=_Content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataDirectoryError(
            f"{path}/{_IDENTITY} is not what this program writes ({error}): use the program that it"
            f" is from, or move {path} away and let the node rejoin from its peers as a new member"
        ) from error
    raise DataDirectoryError(
        f"{path} has format version {version}, and this program knows"
        f" {_VERSION}: use the program that it is from"
    )
