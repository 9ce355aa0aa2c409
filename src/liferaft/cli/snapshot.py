"""`liferaft snapshot`: a backup of a running cluster, what it holds, a new cluster made of it."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from cyclopts import App

from liferaft.cli.exits import ExitStatus
from liferaft.cli.leader import LeaderAccess, ask_leader
from liferaft.cluster.admin import NodeAdmin
from liferaft.cluster.config import parse_peers
from liferaft.errors import ConfigurationError, DamagedSnapshot, Unreachable
from liferaft.link.address import parse_address
from liferaft.raft.types import Configuration
from liferaft.storage.backup import restore_backup
from liferaft.storage.directory import Identity
from liferaft.storage.disk import SystemDisk
from liferaft.storage.snapshot_file import SnapshotContent, proven

PIECE_BYTES: Final = 512 * 1024

_NEW_SUFFIX: Final = ".new"

snapshot = App(
    name="snapshot", help="Back up a running cluster, look at a backup, begin a cluster with one."
)


@snapshot.command
def save(addresses: str, file: Path, /, *, access: LeaderAccess | None = None) -> int:
    """Write the state of a running cluster to a file: all that was acknowledged by now.

    Nothing is there under the name of the file until the whole of it is, and is proven.

    Parameters
    ----------
    addresses
        Where nodes of the cluster are, separated by commas; one that answers is enough.
    file
        Where to write the backup; what is there is replaced.
    """
    aside = file.with_name(file.name + _NEW_SUFFIX)
    try:
        with aside.open("wb") as target:
            asyncio.run(ask_leader(addresses, access, partial(_save, write=target.write)))
            target.flush()
            os.fsync(target.fileno())
        content = proven(SystemDisk(is_read_only=True), str(aside))
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    print(f"{file}: {_told(content)}")
    return ExitStatus.OK


@snapshot.command
def status(file: Path, /) -> int:
    """Prove a backup, or a snapshot in a node's data directory, and print what it holds.

    Ends with status 0 when it is whole, and 6 when it is not.

    Parameters
    ----------
    file
        The backup.
    """
    content = proven(SystemDisk(is_read_only=True), str(file))
    print(f"{file}: {_told(content)}")
    for node, address in content.head.configuration.addresses:
        print(f"  {node} at {address}")
    return ExitStatus.OK


@snapshot.command
def restore(file: Path, /, *, id: str, peers: str, data: Path, cluster: str) -> int:  # noqa: A002
    """Make the data directory of one node of a new cluster that begins with a backup's state.

    Do it for every node of the new cluster, with the same backup, --peers and --cluster, and start
    them with those then.

    Parameters
    ----------
    file
        The backup.
    id
        The node's name, one of those in --peers.
    peers
        Every node of the new cluster with its address, as for liferaft node.
    data
        The node's data directory; must be empty or absent.
    cluster
        The new cluster's name, another than the old one's.
    """
    members = dict(parse_peers(peers))
    if id not in members:
        raise ConfigurationError(f"{id} is not in --peers: name every node of the new cluster")
    configuration = Configuration(
        voters=tuple(sorted(members)),
        addresses=tuple(sorted((node, str(parse_address(at))) for node, at in members.items())),
    )
    identity = Identity(cluster_id=cluster, node_id=id)
    content = restore_backup(SystemDisk(), str(file), str(data), identity, configuration)
    print(
        f"{data} is node {id} of cluster {cluster} now, with the state of cluster"
        f" {content.head.cluster_id} up to entry {content.head.index}. Start it with the same"
        f" --id, --peers, --data and --cluster {cluster}"
    )
    return ExitStatus.OK


async def _save(admin: NodeAdmin, *, write: Callable[[bytes], object]) -> None:
    taken = await admin.take_snapshot()
    offset = 0
    while offset < taken.size_bytes:
        piece = await admin.read_snapshot(taken.index, taken.term, offset, PIECE_BYTES)
        if not piece:
            raise Unreachable("the snapshot is gone from the node that took it: try again")
        write(piece)
        offset += len(piece)
    if offset != taken.size_bytes:
        raise DamagedSnapshot("the backup is longer than the snapshot that was taken: try again")


def _told(content: SnapshotContent) -> str:
    head = content.head
    voters = ", ".join(head.configuration.voters)
    return (
        f"whole: the state of cluster {head.cluster_id} up to entry {head.index} of term"
        f" {head.term}, {content.size_bytes} bytes, checksum {content.checksum:08x}; its voters"
        f" were {voters}"
    )
