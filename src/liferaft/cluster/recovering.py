"""A cluster that lost its quorum for good goes on from one node's disk, as another cluster.

What the lost nodes acknowledged and this disk does not hold is lost, and nobody can tell how much
that is. So it is never done by itself, and what goes on is a cluster of another name: whoever comes
back from the old one finds nobody who listens.
"""

from typing import Self

import msgspec

from liferaft.errors import DataDirectoryError, DiskFailed, StorageError
from liferaft.raft.configuration import decoded, encoded, members
from liferaft.raft.types import CONFIGURATION, Configuration, Entry, EntryId, HardState
from liferaft.storage.backup import give_away
from liferaft.storage.contents import EMPTY
from liferaft.storage.directory import (
    Identity,
    lock_directory,
    read_identity,
    rename_cluster,
)
from liferaft.storage.disk import Disk
from liferaft.storage.snapshots import newest_proven
from liferaft.storage.wal import WriteAheadLog


class Survivor(msgspec.Struct, frozen=True):
    """What one disk holds: the log up to `last`, in `hard_state`'s term; the node's `identity`.

    `others` took part when this node last heard of a configuration.
    """

    identity: Identity
    last: EntryId
    hard_state: HardState
    others: tuple[str, ...]


async def survey(disk: Disk, directory: str) -> Survivor:
    """Return what a node's disk holds; changes no more than a start does.

    Raises `DataDirectoryError` for what is no data directory or is in use, `DamagedLog` and
    `DiskFailed`.
    """
    async with _Locked(disk, directory) as locked:
        return locked.survivor


async def go_on_alone(disk: Disk, directory: str, cluster_id: str) -> Survivor:
    """Make the node whose disk this is the only voter of a cluster of the new name.

    All that its log holds will be committed; returns what that is. May be called again where it was
    interrupted. Raises as `survey` does, and `DataDirectoryError` for the old cluster's own name.
    """
    async with _Locked(disk, directory) as locked:
        survivor = locked.survivor
        if survivor.identity.cluster_id == cluster_id:
            raise DataDirectoryError(
                f"{directory} is of cluster {cluster_id} already: give the cluster that goes on"
                " another name, so that who comes back from the old one finds nobody"
            )
        await locked.append_configuration()
        try:
            await disk.run(lambda: give_away(disk, directory, cluster_id))
            await disk.run(lambda: rename_cluster(disk, directory, cluster_id))
        except StorageError:
            raise
        except OSError as error:
            raise DiskFailed(f"{directory} could not be written: {error}") from error
        return survivor


class _Locked:
    """A data directory that is locked, and its log, open but not written to."""

    survivor: Survivor

    def __init__(self, disk: Disk, directory: str) -> None:
        self._disk = disk
        self._directory = directory

    async def __aenter__(self) -> Self:
        disk, directory = self._disk, self._directory
        self._identity, first = await disk.run(lambda: read_identity(disk, directory))
        self._unlock = await disk.run(lambda: lock_directory(disk, directory))
        try:
            await self._open(first)
        except BaseException:
            self._unlock()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._wal.close()
        self._unlock()

    async def _open(self, first: Configuration) -> None:
        disk, directory = self._disk, self._directory
        newest = await disk.run(lambda: newest_proven(disk, directory))
        base = EMPTY if newest is None else EntryId(newest.head.term, newest.head.index)
        self._wal, recovered = await WriteAheadLog.open(disk, directory, base=base)
        configuration = first if newest is None else newest.head.configuration
        for entry in recovered.configurations:
            if entry.index > base.index:
                configuration = decoded(entry.data)
        self._configuration = configuration
        last_term = recovered.runs[-1].term if recovered.runs else recovered.prior_term
        self.survivor = Survivor(
            identity=self._identity,
            last=EntryId(last_term, recovered.last),
            hard_state=recovered.hard_state,
            others=tuple(n for n in members(configuration) if n != self._identity.node_id),
        )

    async def append_configuration(self) -> None:
        """Begin a term of the node's own, in which it alone votes, behind all that is there."""
        node_id, last = self._identity.node_id, self.survivor.last
        term = self.survivor.hard_state.current_term + 1
        addresses = dict(self._configuration.addresses)
        alone = Configuration(
            voters=(node_id,),
            addresses=((node_id, addresses[node_id]),) if node_id in addresses else (),
            retired=tuple(n for n in self._configuration.retired if n != node_id),
        )
        entry = Entry(term, last.index + 1, CONFIGURATION, encoded(alone))
        failure: list[StorageError] = []
        self._wal.start(on_stored=lambda _: None, on_failure=failure.append)
        self._wal.append(1, HardState(term), (entry,))
        # Closing writes what is queued, or says why it could not.
        await self._wal.close()
        if failure or self._wal.last_written < entry.index:
            raise failure[0] if failure else DiskFailed(f"no space is left in {self._directory}")
