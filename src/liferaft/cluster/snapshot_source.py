"""How a snapshot's file travels from node to node: by calls, a piece at a time.

Who fetches sets the pace: it asks for the next piece when it has stored the last one. A link that
is lost costs the piece under way; where the file has come to is known from the file itself.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from liferaft.errors import Unreachable
from liferaft.raft.types import NodeId, Snapshot
from liferaft.rpc.deadline import deadline
from liferaft.rpc.interface import role
from liferaft.storage.snapshots import SnapshotStore

SNAPSHOT_OBJECT: Final = "_snapshots"
"""The name of every node's `SnapshotSource`."""

PIECE_BYTES: Final = 512 * 1024
"""So that the round trip between two pieces costs little, and no piece takes a link for long."""

PIECE_SECONDS_MAX: Final = 5.0
"""How long one piece may take before its source is given up, its repeats included."""


@role("peer")
class SnapshotSource(Protocol):
    """What a node is to those that need its snapshots."""

    async def read(
        self, cluster_id: str, index: int, term: int, offset: int, length: int
    ) -> bytes | None:
        """Return a piece of the file of the snapshot up to that entry; None when it is gone."""


class SnapshotShelf:
    """Answers `SnapshotSource` for one node."""

    def __init__(self, store: SnapshotStore, cluster_id: str) -> None:
        self._store = store
        self._cluster_id = cluster_id

    async def read(
        self, cluster_id: str, index: int, term: int, offset: int, length: int
    ) -> bytes | None:
        """Return a piece of the file, `PIECE_BYTES` at most."""
        if cluster_id != self._cluster_id:
            return None
        return await self.read_own(index, term, offset, length)

    async def read_own(self, index: int, term: int, offset: int, length: int) -> bytes | None:
        """Return a piece of the file, `PIECE_BYTES` at most, to who speaks of this very node."""
        if offset < 0 or length < 1:
            return None
        return await self._store.read(index, term, offset, min(length, PIECE_BYTES))


Reach = Callable[[NodeId], AbstractAsyncContextManager[SnapshotSource]]
"""Connects to a node's `SnapshotSource` for a while."""


async def fetch_pieces(
    reach: Reach,
    source: NodeId,
    snapshot: Snapshot,
    *,
    cluster_id: str,
    offset: int,
    bytes_per_second: float,
) -> AsyncGenerator[tuple[int, bytes], None]:
    """Give the rest of a snapshot's file from `offset` on, as (offset, piece), no faster than told.

    Raises `Unreachable` when the source does not have it any more, and what calls raise.
    """
    loop = asyncio.get_running_loop()
    async with reach(source) as stub:
        while offset < snapshot.size_bytes:
            due = loop.time()
            with deadline(PIECE_SECONDS_MAX):
                piece = await stub.read(
                    cluster_id, snapshot.index, snapshot.term, offset, PIECE_BYTES
                )
            if not piece:
                raise Unreachable(f"{source} has the snapshot up to {snapshot.index} no longer")
            yield offset, piece
            offset += len(piece)
            due += len(piece) / bytes_per_second
            await asyncio.sleep(due - loop.time())
