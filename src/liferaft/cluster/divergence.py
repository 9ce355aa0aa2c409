"""Compares the states of the replicas while they run, and ends a node whose state is another one.

At the points that `replicated.points` describes each node takes a digest of its state, in a copy of
the process, tells it to every other member, and gets theirs. Each judges itself alone: a node whose
state is not that of a majority of the voters ends, the leader too. Where no majority can agree any
more nobody is right, and everybody ends. Raft's core and its log know nothing of it.

Nodes that know no such call, are down, or have another interval say nothing, and are left out; so
is a part of the state that only some have, for they may be in the midst of an upgrade.

Invariant: a node ends only after each member was told its digest, or could not be reached, so that
those that are left know as much as it did.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import msgspec

from liferaft.cluster.judgement import (
    ReplicaDigest,
    Verdict,
    differences,
    judgement,
    sentence,
    verdict,
)
from liferaft.errors import LiferaftError, ReplicaDiverged
from liferaft.raft.configuration import members
from liferaft.raft.types import Configuration, NodeId
from liferaft.rpc.deadline import deadline
from liferaft.rpc.interface import role
from liferaft.storage.disk import Disk

COMPARISON_OBJECT: Final = "_replicas"
"""The name of every node's `ReplicaComparison`."""

COMPARE_INTERVAL: Final = 60.0
"""Seconds of the log's time between two comparisons, where the settings say nothing else."""

DIGEST_BYTES: Final = 16
"""128 bits: two different states never meet by chance."""

READY_AFTER: Final = 0.75
"""How long after a point the next copy is prepared, in intervals."""

KEPT: Final = 16
"""Digests remembered of each member: how many points a follower may be behind the others."""

TELL_SECONDS_MAX: Final = 2.0
"""How long one member is tried, repeats included."""

TELL_AGAIN_AFTER: Final = 0.5
TELL_AGAIN_AFTER_MAX: Final = 8.0
"""Seconds before who could not be reached is tried again; each time twice as many, up to these."""

_log = logging.getLogger("liferaft.cluster")


@role("peer")
class ReplicaComparison(Protocol):
    """What a node is to those that compare themselves with it."""

    async def compare(
        self, cluster_id: str, node_id: NodeId, digest: ReplicaDigest
    ) -> ReplicaDigest | None:
        """Learn what another replica was; return what this one was then.

        None where it has not come to that entry, did not look there, or has forgotten.
        """


Reach = Callable[[NodeId], AbstractAsyncContextManager[ReplicaComparison]]
"""Connects to a node's `ReplicaComparison` for a while."""


class ComparedMachine(Protocol):
    """A state machine whose replicas can be compared."""

    def watch(self, interval: float, on_point: Callable[[int, int | None], None], /) -> None:
        """Call `on_point` with (index, answers) right after each command that ends an interval."""

    def digest_pieces(self) -> Iterator[tuple[str, bytes]]:
        """Give what must be the same on all replicas: pieces, and the parts that they are of.

        They are made as they are asked for, and nothing is changed.
        """


class Comparison:
    """Compares one node's replica with the others, and answers `ReplicaComparison` for it."""

    def __init__(
        self,
        node_id: NodeId,
        cluster_id: str,
        machine: ComparedMachine,
        *,
        interval: float,
        disk: Disk,
        reach: Reach,
        configuration: Callable[[], Configuration],
        on_diverged: Callable[[ReplicaDiverged], None],
    ) -> None:
        """Begin to watch the machine; with an interval of 0 it is not compared."""
        self.compared_index = 0
        """The last entry after which this state was known to be that of a majority."""
        self._node_id = node_id
        self._cluster_id = cluster_id
        self._machine = machine
        self._interval = interval
        self._disk = disk
        self._reach = reach
        self._configuration = configuration
        self._on_diverged = on_diverged
        self._loop = asyncio.get_running_loop()
        self.told: Final[dict[NodeId, dict[int, ReplicaDigest]]] = {}
        """What each member was, this one included, by the entry; of each the last `KEPT`."""
        self._news = asyncio.Event()
        self._next_at = float("-inf")
        self._taking: asyncio.Future[bytes] | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._ready: asyncio.TimerHandle | None = None
        if interval:
            machine.watch(interval, self._passed)
            self._get_ready_later()

    async def stop(self) -> None:
        """End what is under way, and begin nothing any more."""
        self._next_at = float("inf")
        if self._ready is not None:
            self._ready.cancel()
        tasks: list[asyncio.Future[bytes] | asyncio.Task[None]] = [*self._tasks]
        if self._taking is not None:
            tasks.append(self._taking)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What others say.

    async def compare(
        self, cluster_id: str, node_id: NodeId, digest: ReplicaDigest
    ) -> ReplicaDigest | None:
        """Learn what another replica was; return what this one was then."""
        if cluster_id != self._cluster_id:
            return None
        if node_id != self._node_id and node_id in members(self._configuration()):
            self._learn(node_id, digest)
        return self.told.get(self._node_id, {}).get(digest.index)

    def _learn(self, node_id: NodeId, digest: ReplicaDigest) -> None:
        kept = self.told.setdefault(node_id, {})
        if kept.get(digest.index) == digest:
            return
        kept[digest.index] = digest
        while len(kept) > KEPT:
            del kept[min(kept)]
        self._report(digest.index)
        self._news.set()

    def _report(self, index: int) -> None:
        """Say so when the states that are known differ, once for each that is added."""
        told = self._digests(index)
        if self._node_id in told and (differing := differences(told)):
            _log.error(
                "node %s: the replicas differ after entry %d in %s",
                self._node_id,
                index,
                differing,
            )

    def _digests(self, index: int) -> dict[NodeId, ReplicaDigest]:
        told = sorted(self.told.items())
        return {node_id: kept[index] for node_id, kept in told if index in kept}

    # What this one is.

    def _passed(self, index: int, answers: int | None) -> None:
        """Begin to compare the state as it is at this moment.

        Not where that was begun of late: who reads an old log again passes many points at once, and
        what is wrong with a state stays wrong.
        """
        now = self._loop.time()
        if self._taking is not None or now < self._next_at:
            return
        self._next_at = now + self._interval / 2
        self._get_ready_later()
        try:
            digests = _digested(self._machine.digest_pieces())
            taking = asyncio.ensure_future(self._disk.write_aside(digests, b"".join))
        except (OSError, LiferaftError) as error:
            self._complain(index, error)
            return
        for task in self._tasks:
            task.cancel()
        self._taking = taking
        self._keep(self._loop.create_task(self._compare(index, answers, taking)))

    def _get_ready_later(self) -> None:
        """Let the copy of the next point begin quickly: prepare for it somewhat before."""
        if self._ready is not None:
            self._ready.cancel()
        self._ready = self._loop.call_later(READY_AFTER * self._interval, self._get_ready)

    def _get_ready(self) -> None:
        self._keep(self._loop.create_task(self._disk.get_ready_aside()))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def _compare(self, index: int, answers: int | None, taking: Awaitable[bytes]) -> None:
        try:
            parts = msgspec.msgpack.decode(await taking, type=dict[str, str])
        except (OSError, LiferaftError) as error:
            self._complain(index, error)
            return
        finally:
            self._taking = None
        own = ReplicaDigest(index, parts, answers)
        self._learn(self._node_id, own)
        everybody = members(self._configuration())
        untold = [node_id for node_id in everybody if node_id != self._node_id]
        pause = TELL_AGAIN_AFTER
        while True:
            self._news.clear()
            untold = await self._tell(untold, own)
            if self._is_judged(own):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause if untold else None):
                    await self._news.wait()
            pause = min(2 * pause, TELL_AGAIN_AFTER_MAX)

    async def _tell(self, targets: Iterable[NodeId], own: ReplicaDigest) -> list[NodeId]:
        """Tell the digest, and hear theirs; return who was not reached."""
        asked = [(node_id, self._tell_one(node_id, own)) for node_id in targets]
        reached = await asyncio.gather(*(each for _, each in asked))
        return [
            node_id
            for (node_id, _), is_reached in zip(asked, reached, strict=True)
            if not is_reached
        ]

    async def _tell_one(self, node_id: NodeId, own: ReplicaDigest) -> bool:
        try:
            with deadline(TELL_SECONDS_MAX):
                async with self._reach(node_id) as replica:
                    theirs = await replica.compare(self._cluster_id, self._node_id, own)
        except (LiferaftError, OSError):
            return False
        if theirs is not None and theirs.index == own.index:
            self._learn(node_id, theirs)
        return True

    # The judgement.

    def _is_judged(self, own: ReplicaDigest) -> bool:
        """Return whether nothing more is to be found out; this node ends where it must."""
        configuration = self._configuration()
        told = self._digests(own.index)
        found = judgement(own, told, configuration)
        if found.verdict in (Verdict.DIFFERS, Verdict.SPLIT):
            self._on_diverged(ReplicaDiverged(sentence(self._node_id, own.index, told, found)))
        elif found.verdict is Verdict.EQUAL:
            self.compared_index = own.index
            self._judge_answers(own, told, configuration)
        return found.verdict is not Verdict.UNDECIDED

    def _judge_answers(
        self, own: ReplicaDigest, told: Mapping[NodeId, ReplicaDigest], configuration: Configuration
    ) -> None:
        """Report answers that differ; the state does not, and no client gets two of them."""
        answers = {n: each.answers for n, each in told.items() if each.answers is not None}
        if own.answers is None:
            return
        if verdict(own.answers, answers, configuration) in (Verdict.DIFFERS, Verdict.SPLIT):
            _log.error(
                "node %s: its state after entry %d is that of the others, but not all answers since"
                " the comparison before were: what commands return or raise must be the same on"
                " every node (docs/replicated.md)",
                self._node_id,
                own.index,
            )

    def _complain(self, index: int, error: Exception) -> None:
        _log.error(
            "node %s: its state after entry %d cannot be compared with the other nodes': %s",
            self._node_id,
            index,
            error,
        )


def _digested(pieces: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield the digests of the parts, encoded, when all of the pieces were seen."""
    parts: dict[str, hashlib.blake2b] = {}
    for part, piece in pieces:
        if part not in parts:
            parts[part] = hashlib.blake2b(digest_size=DIGEST_BYTES)
        parts[part].update(piece)
    yield msgspec.msgpack.encode({part: each.hexdigest() for part, each in parts.items()})
