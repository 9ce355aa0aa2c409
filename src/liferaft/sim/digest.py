"""The digest of a run: of every turn of every node, in their order, byte for byte.

Two runs with one digest did the same at the same virtual times, in whatever process they ran.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Effect
from liferaft.raft.events import Event
from liferaft.raft.types import NodeId

_BUFFER_BYTES: Final = 64 * 1024
"""Hashing a little at a time would cost more than the hash itself."""


class TraceDigest:
    """Collects what happened."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self._encode = msgspec.msgpack.Encoder().encode
        self._waiting = bytearray()

    def born(self, node_id: NodeId, core: RaftCore, now: Callable[[], float]) -> None:
        """Take the beginning of a node's life."""
        del now
        self.add((node_id, core.current_term, core.last_index))

    def turn(
        self,
        node_id: NodeId,
        now: float,
        core: RaftCore,
        events: Sequence[Event],
        effects: Sequence[Effect],
    ) -> None:
        """Take one turn of one node."""
        self.add((now, node_id, core.role, events, effects))

    def add(self, fact: object) -> None:
        """Take whatever else happened; anything that msgspec can encode."""
        self._waiting += self._encode(fact)
        if len(self._waiting) >= _BUFFER_BYTES:
            self._flush()

    def hexdigest(self) -> str:
        """Return the digest of all that was taken so far."""
        self._flush()
        return self._hash.hexdigest()

    def _flush(self) -> None:
        self._hash.update(self._waiting)
        self._waiting.clear()
