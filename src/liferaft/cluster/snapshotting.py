"""The snapshots of one node at run time: when they are taken, fetched from a peer, and restored.

It knows the state machine and the files; what a snapshot means for the log is the core's to say,
and the core hears of one only when it is whole and on stable storage. One is taken at a time, and
one fetched at a time: a newer offer replaces the one before.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from functools import partial
from typing import Protocol

import msgspec

from liferaft.cluster.snapshot_policy import SnapshotPolicy
from liferaft.cluster.snapshot_source import Reach, fetch_pieces
from liferaft.errors import InvariantViolated, LiferaftError
from liferaft.raft.effects import FetchSnapshot
from liferaft.raft.events import Event, SnapshotFetched, SnapshotLost, SnapshotStored
from liferaft.raft.types import Configuration, Snapshot
from liferaft.storage.disk import Disk
from liferaft.storage.snapshots import SnapshotStore

TAKE_AGAIN_AFTER = 30.0
"""Seconds between a snapshot that could not be taken and the next attempt: the disk may be full."""

FETCH_AGAIN_AFTER = 0.5
"""Seconds between a fetch that failed and what the leader offers next."""

_log = logging.getLogger("liferaft.cluster")


class Position(msgspec.Struct, frozen=True):
    """How far the machine is: the last entry that it applied, and who took part there."""

    index: int
    term: int
    configuration: Configuration


class Prepared(Protocol):
    """A state that was decoded."""

    def install(self) -> None:
        """Make it the machine's state, at once; called once, where entries are applied."""


class SnapshotMachine(Protocol):
    """A state machine whose state can be written down and taken back, as one unit."""

    def snapshot(self) -> Iterator[bytes]:
        """Give the whole state in pieces, made as they are asked for; changes nothing."""

    def prepare(self, chunks: Iterable[bytes], /) -> Prepared:
        """Decode a state that is cut into chunks anywhere.

        May run on another thread, and touches nothing of the machine. Raises `DamagedSnapshot`.
        """


class Snapshots:
    """What the driver needs of snapshots."""

    def __init__(
        self,
        store: SnapshotStore,
        machine: SnapshotMachine,
        *,
        disk: Disk,
        cluster_id: str,
        policy: SnapshotPolicy,
        reach: Reach,
        post: Callable[[Event], None],
        position: Callable[[], Position],
    ) -> None:
        self.store = store
        self._machine = machine
        self._disk = disk
        self._cluster_id = cluster_id
        self._policy = policy
        self._reach = reach
        self._post = post
        self._position = position
        self._loop = asyncio.get_running_loop()
        # Who was to fetch the damaged one gets another, be it of the very same state.
        store.on_damaged = self._begin
        self._taking: asyncio.Task[Snapshot] | None = None
        self._take_after = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._fetched: tuple[Snapshot, Prepared] | None = None
        self._is_told = False
        self._log_bytes_at_last = 0

    async def stop(self) -> None:
        """End what is under way."""
        tasks = [task for task in (self._taking, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Taking.

    def after_turn(self, applied_index: int, log_bytes: int) -> None:
        """Begin to take a snapshot when the policy says so; `log_bytes` were written so far.

        What was fetched is forgotten: the core has heard of it, and has said what is to be done.
        """
        if self._is_told:
            self._fetched, self._is_told = None, False
        newest = self.store.newest
        index, size_bytes = (0, 0) if newest is None else (newest.index, newest.size_bytes)
        grown_bytes = log_bytes - self._log_bytes_at_last
        if not self._policy.is_due(applied_index - index, grown_bytes, size_bytes):
            return
        # A node that was added applies entries from before the first that names members: a snapshot
        # from there would say of nobody that he takes part.
        if not self._position().configuration.voters:
            return
        if self._taking is None and self._loop.time() >= self._take_after:
            self._log_bytes_at_last = log_bytes
            self._begin()

    async def take(self) -> Snapshot:
        """Take a snapshot of a state that is no older than this call, and return it.

        Raises `OSError` where it cannot be stored.
        """
        if self._taking is not None:
            # It may be of the state before.
            await asyncio.wait([self._taking])
        newest = self.store.newest
        if newest is not None and newest.index >= self._position().index:
            return newest
        return await asyncio.shield(self._begin())

    def _begin(self) -> "asyncio.Task[Snapshot]":
        if self._taking is None:
            self._taking = self._loop.create_task(self._take())
            self._taking.add_done_callback(self._taken)
        return self._taking

    async def _take(self) -> Snapshot:
        await self._disk.get_ready_aside()
        at = self._position()
        state = self._machine.snapshot()
        return await self.store.take(at.index, at.term, at.configuration, state)

    def _taken(self, taking: "asyncio.Task[Snapshot]") -> None:
        self._taking = None
        if taking.cancelled():
            return
        error = taking.exception()
        if error is None:
            self._post(SnapshotStored(taking.result()))
            return
        # The log grows on meanwhile, and nothing is lost.
        self._take_after = self._loop.time() + TAKE_AGAIN_AFTER
        _log.error("no snapshot could be taken: %s; it is tried again later", error)

    # Fetching and restoring.

    def fetch(self, effect: FetchSnapshot) -> None:
        """Get a snapshot from a peer, in place of what was being fetched."""
        if self._fetching is not None:
            self._fetching.cancel()
        self._fetching = self._loop.create_task(self._fetch(effect))

    async def _fetch(self, effect: FetchSnapshot) -> None:
        snapshot = effect.snapshot
        try:
            await self._fetch_file(effect)
            state = self.store.fetched_state(snapshot)
            prepared = await self._disk.run_beside(partial(self._machine.prepare, state))
            await self.store.keep_fetched(snapshot)
        except (LiferaftError, OSError) as error:
            _log.warning(
                "the snapshot up to %d could not be fetched from %s: %s",
                snapshot.index,
                effect.source,
                error,
            )
            await asyncio.sleep(FETCH_AGAIN_AFTER)
            self._post(SnapshotLost(snapshot))
        else:
            self._fetched = (snapshot, prepared)
            self._post(SnapshotFetched(snapshot))
            self._is_told = True

    async def _fetch_file(self, effect: FetchSnapshot) -> None:
        snapshot, store = effect.snapshot, self.store
        offset = await store.fetched_bytes(snapshot)
        pieces = fetch_pieces(
            self._reach,
            effect.source,
            snapshot,
            cluster_id=self._cluster_id,
            offset=offset,
            bytes_per_second=self._policy.fetch_bytes_per_second,
        )
        async with aclosing(pieces):
            async for at, piece in pieces:
                await store.add_fetched(snapshot, at, piece)
        await store.prove_fetched(snapshot)

    def restore(self, snapshot: Snapshot) -> None:
        """Make the snapshot that was fetched the machine's state."""
        if self._fetched is None or self._fetched[0] != snapshot:
            raise InvariantViolated(f"{snapshot} is to be restored, and was not fetched")
        _, prepared = self._fetched
        prepared.install()
