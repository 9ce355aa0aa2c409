"""One round of chaos, from an empty cluster to a judgement."""

import asyncio
import random as random_module
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from liferaft import api
from liferaft.chaos.crew import Crew
from liferaft.chaos.faults import chosen, deal, skipped
from liferaft.chaos.history import Call, write_history
from liferaft.chaos.judge import judge, tally, write_times
from liferaft.chaos.loop_disk import LoopDisk
from liferaft.chaos.narrator import Narrator, Scene
from liferaft.chaos.needs import Need, lacking
from liferaft.chaos.options import ChaosOptions, rounds_of
from liferaft.chaos.power import save_disks
from liferaft.chaos.report import ChaosReport, RoundReport, summed
from liferaft.chaos.stage import Fault, Lane, Stage
from liferaft.cluster.admin import NodeStatus
from liferaft.errors import LiferaftError
from liferaft.ops.inspection import inspect
from liferaft.ops.processes import LocalCluster
from liferaft.ops.verdict import PROBLEMS_MAX, NodeView, longest_gap
from liferaft.raft.types import NodeId

KEYS_HISTORY: Final = "keys.jsonl"
"""Where a round leaves what all clients were told of keys, for `liferaft check --model kv`."""
OBJECTS: Final = ("Todo=liferaft.recipes.todo:TodoList", "KeyValue=liferaft.recipes.kv:KeyValue")

SEGMENT_BYTES: Final = 16 * 1024
"""A second or two of load: files change, and a full disk is felt, many times in a round."""

SNAPSHOTS: Final = ("--snapshot-entries=60", "--keep-entries=20")
"""As long: a node that was away for a few seconds needs a snapshot."""

TRIES_MAX: Final = 10
"""How often a kind that could not really be made is tried before the round may end without it: the
node was down just then, or had nothing to write."""

QUIET_MAX: Final = 1.0
"""Seconds between two faults of a lane, at most: time for a leader to be found, or not."""

LOOK_INTERVAL: Final = 0.25
READ_TIMEOUT: Final = 60.0


class AsyncStore(Protocol):
    """The key-value object as whoever judges reads it."""

    async def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, None when it has none."""


class ChaosRound:
    """One round on a cluster that is there already. It ends with the clients gone."""

    def __init__(
        self,
        options: ChaosOptions,
        cluster: LocalCluster,
        disks: dict[NodeId, LoopDisk],
        narrator: Narrator,
    ) -> None:
        self._options = options
        self._cluster = cluster
        self._narrator = narrator
        self._crew = Crew(options.clients, cluster.address, cluster.directory, seed=options.seed)
        faults = chosen(options.faults)
        self._skipped = skipped(faults)
        self._faults = [fault for fault in faults if fault.name not in self._skipped]
        self._stages = {lane: self._stage(lane, disks) for lane in Lane}
        self._made: Counter[str] = Counter({fault.name: 0 for fault in self._faults})
        self._tried: Counter[str] = Counter()
        self._problems: list[str] = []
        self._terms: dict[int, NodeId] = {}
        self._statuses: dict[NodeId, NodeStatus | None] = dict.fromkeys(cluster.nodes)
        self._began_at = self._now()

    def _stage(self, lane: Lane, disks: dict[NodeId, LoopDisk]) -> Stage:
        return Stage(
            self._cluster,
            self._crew,
            disks,
            random=random_module.Random(f"{self._options.seed} {lane}"),
            tell=self._tell,
            complain=self._complain,
        )

    async def run(self) -> RoundReport:
        """Let the clients work while the faults happen, and judge what is left."""
        await self._cluster.wait_leader()
        for name, reason in self._skipped.items():
            self._tell(f"{name} is not tried: {reason}")
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._crew.stop)
            await self._crew.start()
            self._began_at = self._now()
            self._tell(f"{self._options.clients} clients work, {len(self._faults)} kinds of faults")
            await self._inflict_all()
            ended_at = self._now()
            self._tell("the faults are over; the clients finish their last calls")
            self._problems += await self._crew.finish()
        self._tell("the nodes catch up, and all is judged")
        calls = self._crew.calls()
        calls += await self._read_all(sorted({call.key for call in calls if call.key is not None}))
        views = await inspect(self._cluster)
        return self._report(calls, views, ended_at)

    async def _inflict_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(self._watch())
            lanes = [group.create_task(self._run_lane(lane)) for lane in Lane]
            await asyncio.wait(lanes)
            watcher.cancel()
        await self._mend_unexplained(self._stages[Lane.NODES])

    async def _run_lane(self, lane: Lane) -> None:
        """Make one fault of the lane after the other until the time is over and all had a turn."""
        stage = self._stages[lane]
        faults = [fault for fault in self._faults if fault.lane == lane]
        for fault in deal(faults, stage.random):
            if self._is_over(faults):
                return
            self._tried[fault.name] += 1
            try:
                if await fault.inflict(stage):
                    self._made[fault.name] += 1
            except LiferaftError as error:
                self._complain(f"{fault.name} could not be carried through: {error}")
                return
            if lane == Lane.NODES:
                await self._mend_unexplained(stage)
            await stage.hold(0.0, QUIET_MAX)

    def _is_over(self, faults: Sequence[Fault]) -> bool:
        had_turn = all(
            self._made[fault.name] or self._tried[fault.name] >= TRIES_MAX for fault in faults
        )
        return had_turn and self._elapsed() >= self._options.seconds

    async def _watch(self) -> None:
        """Ask the nodes how they are, over and over."""
        while True:
            nodes = self._cluster.nodes
            found = await asyncio.gather(*map(self._cluster.status, nodes))
            self._statuses = dict(zip(nodes, found, strict=True))
            for status in found:
                if status is not None and status.role == "leader":
                    self._note_leader(status)
            self._narrator.show(self._scene())
            await asyncio.sleep(LOOK_INTERVAL)

    def _note_leader(self, status: NodeStatus) -> None:
        """Take down who leads in a term: two that do would be the end of it all."""
        leader = self._terms.setdefault(status.current_term, status.node_id)
        if leader != status.node_id:
            self._complain(f"{leader} and {status.node_id} both led in term {status.current_term}")

    async def _mend_unexplained(self, stage: Stage) -> None:
        """Start a node again that ended although no fault was made on it, and complain."""
        for node in self._cluster.nodes:
            if not self._cluster.is_running(node):
                status = await self._cluster.wait_ended(node)
                words = self._cluster.last_words(node)
                self._complain(f"{node} ended by itself with status {status}: {words}")
                await stage.start(node)

    async def _read_all(self, keys: Sequence[str]) -> list[Call]:
        """Read every key that was ever used: what was acknowledged must be there."""
        calls: list[Call] = []
        try:
            async with _connected(self._cluster.address) as store:
                for key in keys:
                    calls.append(await self._read(store, key))  # noqa: PERF401 - kept on error
        except LiferaftError as error:
            self._complain(f"the faults are over, and the cluster does not answer: {error}")
        return calls

    async def _read(self, store: AsyncStore, key: str) -> Call:
        invoked_at = self._now()
        value = await store.get(key.encode())
        text = None if value is None else value.decode()
        return Call(0, "get", key, None, text, invoked_at, self._now())

    def _report(
        self, calls: Sequence[Call], views: Sequence[NodeView], ended_at: float
    ) -> RoundReport:
        write_history(self._cluster.directory / KEYS_HISTORY, calls)
        judgement = judge(calls, views, self._cluster.nodes)
        problems = (*self._problems, *judgement.problems)
        return RoundReport(
            options=self._options,
            problems=problems[:PROBLEMS_MAX],
            doubts=judgement.doubts,
            faults=dict(self._made),
            skipped=self._skipped,
            operations=tally(calls),
            longest_gap=longest_gap(write_times(calls), self._began_at, ended_at),
            terms=max(self._terms, default=0),
            items=max((len(view.items) for view in views), default=0),
            digests={view.node_id: view.digest for view in views},
            seconds=ended_at - self._began_at,
        )

    def _scene(self) -> Scene:
        return Scene(
            elapsed=self._elapsed(),
            seconds=self._options.seconds,
            nodes=self._statuses,
            marks={**self._stages[Lane.LINKS].marks, **self._stages[Lane.NODES].marks},
            faults=self._made,
            problems=len(self._problems),
        )

    def _tell(self, sentence: str) -> None:
        self._narrator.tell(self._elapsed(), sentence)

    def _complain(self, problem: str) -> None:
        self._problems.append(problem)
        self._tell(f"VIOLATION: {problem}")

    def _elapsed(self) -> float:
        return self._now() - self._began_at

    def _now(self) -> float:
        """Return the time on the clock that clients record on, too."""
        return time.monotonic()


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[AsyncStore]:
    store = await api.aconnect(AsyncStore, address, name="KeyValue", timeout=READ_TIMEOUT)
    try:
        yield store
    finally:
        await api.aclose(store)


async def run_rounds(
    options: ChaosOptions, directory: Path, narrator: Narrator, *, is_kept: bool = False
) -> ChaosReport:
    """Run as many rounds as the options ask for, up to the first that finds a violation.

    Each has a directory of its own in `directory`, which is removed when all is well and
    `is_kept` is false.
    """
    reports: list[RoundReport] = []
    for each in rounds_of(options):
        place = directory / f"seed-{each.seed}"
        async with chaos_cluster(each, place) as (cluster, disks):
            report = await ChaosRound(each, cluster, disks, narrator).run()
            reports.append(report)
            if report.problems:
                for sentence in save_disks(disks, place):
                    narrator.tell(report.seconds, sentence)
                break
        if not is_kept and not report.doubts:
            shutil.rmtree(place)
    return summed(reports)


@asynccontextmanager
async def chaos_cluster(
    options: ChaosOptions, directory: Path, *, objects: Sequence[str] = OBJECTS
) -> AsyncIterator[tuple[LocalCluster, dict[NodeId, LoopDisk]]]:
    """Run a cluster in a directory, each node on a file system of its own where that can be had."""
    cluster = LocalCluster(
        options.nodes,
        objects=objects,
        directory=directory,
        seed=options.seed,
        segment_bytes=SEGMENT_BYTES,
        options=SNAPSHOTS,
    )
    disks: dict[NodeId, LoopDisk] = {}
    async with AsyncExitStack() as stack:
        stack.callback(_close_all, disks)
        if not lacking([Need.LOOP]):
            for node in cluster.nodes:
                disks[node] = LoopDisk(cluster.data(node))
                disks[node].make()
        await stack.enter_async_context(cluster)
        yield cluster, disks


def _close_all(disks: dict[NodeId, LoopDisk]) -> None:
    """Close the disks that there are at the end: nodes that were replaced took theirs with them."""
    for disk in disks.values():
        disk.close()
