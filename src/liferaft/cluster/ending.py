"""Why a node cannot go on, for whoever runs it; and what the log says of its disk until then.

Nothing is ended here: who waits for the failure stops the node.
"""

import asyncio
import logging
from typing import Final

from liferaft.errors import (
    DiskFull,
    LiferaftError,
    Removed,
    ReplicaDiverged,
    StorageError,
)
from liferaft.raft.types import NodeId

_log: Final = logging.getLogger("liferaft.cluster")


class Ending:
    """One node's. Make it in the node's event loop."""

    def __init__(self, node_id: NodeId) -> None:
        self._node_id = node_id
        self._failure: asyncio.Future[LiferaftError] = asyncio.get_running_loop().create_future()

    def fail(self, error: LiferaftError) -> None:
        """Know that the node cannot go on; the first reason counts."""
        # Where the disk or a class is to blame the sentence says it all; a traceback means a fault
        # of ours.
        shown = None if isinstance(error, StorageError | Removed | ReplicaDiverged) else error
        _log.critical("node %s ends: %s", self._node_id, error, exc_info=shown)
        if not self._failure.done():
            self._failure.set_result(error)

    def blocked(self, reason: DiskFull | None) -> None:
        """Tell that writes wait for space on the disk, or, without a reason, that they go on."""
        if reason is None:
            _log.warning("node %s: there is space again, and writes go on", self._node_id)
        else:
            _log.error("node %s: %s", self._node_id, reason)

    async def wait_failed(self) -> LiferaftError:
        """Wait until the node cannot go on, and return why; it must still be stopped.

        Raises `asyncio.CancelledError` when the node is stopped instead.
        """
        return await asyncio.shield(self._failure)

    @property
    def failure(self) -> LiferaftError | None:
        """Why the node cannot go on, None while it can."""
        failure = self._failure
        return failure.result() if failure.done() and not failure.cancelled() else None

    def stopped(self) -> None:
        """Know that the node was stopped: nobody waits for a failure any more."""
        if not self._failure.done():
            self._failure.cancel()
