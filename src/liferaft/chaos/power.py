"""Power cuts: under load, the file systems of one node or of all lose what is not synced.

With all nodes cut at once, whatever is there after was on the disks. With one node, its disk is
made to count: of three nodes one is down, so each acknowledged write is on both others; one of
those loses its power, the other one is killed and stays down, and the one that was down comes back.
Then only the disk that was cut has what was acknowledged last, and its node has to lead.

Clients wait through all of it: a write that was under way is executed once, or never.
"""

import asyncio
import random as random_module
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec

from liferaft import api
from liferaft.chaos.loop_disk import LoopDisk, ToolFailed
from liferaft.chaos.solo import AsyncTodo
from liferaft.errors import LiferaftError
from liferaft.ops.inspection import inspect
from liferaft.ops.processes import LocalCluster
from liferaft.ops.verdict import NodeView, Witness, find_problems
from liferaft.raft.types import NodeId

TODO: Final = "Todo=liferaft.recipes.todo:TodoList"

WRITERS: Final = 8

WRITES_BETWEEN: Final = 30
"""Acknowledged writes between two cuts."""

CUTS_PER_CLUSTER: Final = 50
"""Then a new cluster is begun, so that reading everything after each cut stays cheap."""

SEGMENT_BYTES: Final = 8 * 1024
"""One to three cuts long, so that many cuts hit a change of files."""

SNAPSHOTS: Final = ("--snapshot-entries", "50", "--keep-entries", "20")
"""So that cuts hit snapshots that are taken, fetched and installed, and logs that are dropped."""

ANSWER_TIMEOUT: Final = 60.0
"""Seconds for a call, cuts, starts and elections included."""

_CLUSTER_SIZE: Final = 3


class PowerOptions(msgspec.Struct, frozen=True):
    """How many cuts, of one node or of `all_nodes`; ends after `seconds` at most, 0: no bound."""

    cuts: int
    all_nodes: bool = False
    seed: int = 1
    seconds: float = 0.0


class PowerReport(msgspec.Struct, frozen=True):
    """What power cuts came to. `torn` is how many logs had a torn tail to cut; time in seconds."""

    is_ok: bool
    problems: tuple[str, ...]
    options: PowerOptions
    cuts: int
    acknowledged: int
    unknown: int
    torn: int
    seconds: float


class Writers:
    """Add items of their own texts, several at a time, and note what was acknowledged."""

    def __init__(self, todo: AsyncTodo) -> None:
        self._todo = todo
        self._asked = 0
        self._goal = 0
        self._is_reached = asyncio.Event()
        self.added: dict[str, int] = {}
        self.unknown: dict[str, None] = {}

    async def write(self) -> None:
        """Add items until cancelled."""
        while True:
            self._asked += 1
            text = f"item {self._asked}"
            self.unknown[text] = None
            try:
                item = await self._todo.add(text)
            except LiferaftError:
                # Its outcome stays unknown: it is there once or not at all.
                await asyncio.sleep(0)  # an error may come without a wait
                continue
            del self.unknown[text]
            self.added[text] = item.id
            if len(self.added) >= self._goal:
                self._is_reached.set()

    async def wait_acknowledged(self, more: int) -> None:
        """Wait until so many more were; raises `TimeoutError` when writes do not go on."""
        self._goal = len(self.added) + more
        self._is_reached.clear()
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await self._is_reached.wait()

    def witness(self) -> Witness:
        """Return what is known now."""
        return Witness(added=dict(self.added), unknown=tuple(self.unknown), completed=())


class PowerCuts:
    """One run of cuts. What a cluster that broke its promise has on its disks is kept."""

    def __init__(
        self,
        options: PowerOptions,
        directory: Path,
        tell: Callable[[float, str], None],
        *,
        hosted: str = TODO,
    ) -> None:
        self._options = options
        self._directory = directory
        self._tell = tell
        self._hosted = hosted
        self._random = random_module.Random(options.seed)
        self._problems: list[str] = []
        self._cuts = self._acknowledged = self._unknown = self._torn = 0
        self._began_at = asyncio.get_running_loop().time()

    async def run(self) -> PowerReport:
        """Cut, and return what came of it; raises `ToolFailed`."""
        number = 0
        while not self._is_over():
            number += 1
            place = self._directory / f"cluster-{number}"
            await self._run_cluster(place)
            if not self._problems:
                shutil.rmtree(place)
        return PowerReport(
            is_ok=not self._problems,
            problems=tuple(self._problems),
            options=self._options,
            cuts=self._cuts,
            acknowledged=self._acknowledged,
            unknown=self._unknown,
            torn=self._torn,
            seconds=self._elapsed(),
        )

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._began_at

    def _is_over(self) -> bool:
        is_late = 0 < self._options.seconds < self._elapsed()
        return bool(self._problems) or is_late or self._cuts >= self._options.cuts

    async def _run_cluster(self, place: Path) -> None:
        """Run one cluster through its share of the cuts, and compare its nodes after."""
        cluster = LocalCluster(
            _CLUSTER_SIZE,
            objects=[self._hosted],
            directory=place,
            segment_bytes=SEGMENT_BYTES,
            options=SNAPSHOTS,
        )
        disks = {node: LoopDisk(cluster.data(node)) for node in cluster.nodes}
        async with AsyncExitStack() as stack:
            for disk in disks.values():
                stack.callback(disk.close)
                disk.make()
            await stack.enter_async_context(cluster)
            await cluster.wait_leader()
            todo = await api.aconnect(
                AsyncTodo, cluster.address, name="Todo", timeout=ANSWER_TIMEOUT
            )
            stack.push_async_callback(api.aclose, todo)
            writers = Writers(todo)
            tasks = [asyncio.create_task(writers.write()) for _ in range(WRITERS)]
            stack.push_async_callback(_cancel, tasks)
            try:
                await self._cut_in_turns(cluster, disks, writers, todo)
                await _cancel(tasks)
                await self._compare(cluster, writers)
            except (LiferaftError, TimeoutError) as error:
                self._problems.append(f"after cut {self._cuts}: {type(error).__name__}: {error}")
            if self._problems:
                self._problems += save_disks(disks, place)
            self._acknowledged += len(writers.added)
            self._unknown += len(writers.unknown)
            self._torn += sum(
                cluster.log_file(node).read_text(errors="replace").count("torn tail")
                for node in cluster.nodes
            )

    async def _cut_in_turns(
        self,
        cluster: LocalCluster,
        disks: dict[NodeId, LoopDisk],
        writers: Writers,
        todo: AsyncTodo,
    ) -> None:
        alive = list(cluster.nodes)
        for _ in range(CUTS_PER_CLUSTER):
            if self._is_over():
                return
            if not self._options.all_nodes and len(alive) == len(cluster.nodes):
                down = alive.pop(self._random.randrange(len(alive)))
                await cluster.kill(down)
            await writers.wait_acknowledged(WRITES_BETWEEN)
            await asyncio.sleep(self._random.uniform(0.0, 0.02))
            if self._options.all_nodes:
                await cut_power(cluster, disks)
            else:
                victim = self._random.choice(alive)
                returning = next(node for node in cluster.nodes if node not in alive)
                await cut_power(cluster, {victim: disks[victim]}, also_killed=alive)
                alive = [victim, returning]
            await asyncio.gather(*map(cluster.start, alive))
            self._cuts += 1
            self._note(await _check_list(writers, todo))
            if self._cuts % 10 == 0:
                self._tell(self._elapsed(), f"{self._cuts} cuts, {len(self._problems)} problems")

    async def _compare(self, cluster: LocalCluster, writers: Writers) -> None:
        """Let every node catch up, and hold each against what was acknowledged."""
        await cluster.start_all()
        views = await inspect(cluster)
        self._note(find_problems(writers.witness(), views, cluster.nodes))

    def _note(self, problems: tuple[str, ...]) -> None:
        self._problems += [f"after cut {self._cuts}: {problem}" for problem in problems]


async def cut_power(
    cluster: LocalCluster, disks: Mapping[NodeId, LoopDisk], *, also_killed: Sequence[NodeId] = ()
) -> None:
    """Cut the power of these disks and end their nodes, and others with them; then mount again.

    The nodes stand still before. Of a sync that its shutdown overtakes ext4 may tell that it was
    done; where the power of a whole machine fails, nobody lives to hear that.
    """
    nodes = tuple(dict.fromkeys((*disks, *also_killed)))
    for node in nodes:
        cluster.pause(node)
    for disk in disks.values():
        disk.cut_power()
    await cluster.kill(*nodes)
    for disk in disks.values():
        await disk.unmount_when_left()
        disk.mount()


def save_disks(disks: Mapping[NodeId, LoopDisk], directory: Path) -> tuple[str, ...]:
    """Copy what is on the disks to NODE-data in a directory; return what could not be done."""
    failed: list[str] = []
    for node, disk in disks.items():
        try:
            disk.save(directory / f"{node}-data")
        except ToolFailed as error:
            failed.append(f"the data of {node} is not kept: {error}")
    return tuple(failed)


async def _check_list(writers: Writers, todo: AsyncTodo) -> tuple[str, ...]:
    """Return what is wrong with the list as the cluster answers for it now."""
    before = writers.witness()
    items = tuple(await todo.items())
    after = writers.witness()
    asked_since = tuple(text for text in after.added if text not in before.added)
    expected = msgspec.structs.replace(before, unknown=(*after.unknown, *asked_since))
    return find_problems(expected, [NodeView("the cluster", 0, "", items)], ["the cluster"])


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
