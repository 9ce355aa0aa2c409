"""Crash-point sweeps: a node is killed at each system call that touches its disk, one by one.

For each point a script of so many additions runs on an empty directory, in a process of its own
under strace, and is killed with SIGKILL before its N-th call; with `has_power_cuts`, the power of
its file system is cut as well. Then the log is opened again, and must hold what was acknowledged,
in order and once, and at most the one item that was under way; it must take another item, and hold
that after a further start.
"""

import asyncio
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from liferaft.chaos.loop_disk import LoopDisk
from liferaft.chaos.points import Point, plan
from liferaft.chaos.solo import solo_node
from liferaft.chaos.strace import Meddling, Trace
from liferaft.chaos.sweep_runner import ScriptOptions, text_of
from liferaft.errors import LiferaftError
from liferaft.ops.child import ChildProcess
from liferaft.recipes.todo import Item
from liferaft.storage.disk import SystemDisk

PROBLEMS_MAX: Final = 10
"""A sweep that found so much is ended: what is wrong is plain."""

KILLED: Final = -9


PROGRAM: Final = (sys.executable, "-m", "liferaft.chaos.sweep_runner")


class SweepOptions(msgspec.Struct, frozen=True):
    """What is swept: all points, or so many, chosen by `seed`; 0 seconds are no bound."""

    calls: tuple[str, ...]
    operations: int = 500
    points_max: int = 10_000
    has_power_cuts: bool = False
    seed: int = 0
    seconds: float = 0.0


class SweepReport(msgspec.Struct, frozen=True):
    """What a sweep did; times in seconds.

    `calls` is how many of each system call the script makes, `points` how many kills were planned,
    `kills` and `second_kills` how many hit; the others came after the script had ended.
    """

    is_ok: bool
    problems: tuple[str, ...]
    operations: int
    calls: dict[str, int]
    points: int
    kills: int
    second_kills: int
    power_cuts: int
    acknowledged: int
    seconds: float


class Sweep:
    """One sweep in a directory. A failing point's data is kept there, as it was after the crash."""

    def __init__(
        self,
        options: SweepOptions,
        directory: Path,
        tell: Callable[[float, str], None],
        *,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self._options = options
        self._directory = directory
        self._tell = tell
        self._program = program
        self._place = directory / "disk"
        self._data = self._place / "n1"
        self._disk: LoopDisk | None = None
        self._problems: list[str] = []
        self._kills = self._second_kills = self._power_cuts = self._acknowledged = 0

    async def run(self) -> SweepReport:
        """Sweep, and return what came of it; raises `ToolFailed`."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        with ExitStack() as stack:
            self._place.mkdir(parents=True, exist_ok=True)
            if self._options.has_power_cuts:
                self._disk = LoopDisk(self._place)
                stack.callback(self._disk.close)
                self._disk.make()
            counts, recovery_counts = await self._survey()
            points = plan(
                counts,
                recovery_counts,
                points_max=self._options.points_max,
                offset=self._options.seed,
            )
            self._tell(
                0.0, f"the script makes {_in_words(counts)}: {len(points)} points to kill at"
            )
            for number, point in enumerate(points, start=1):
                await self._try(point)
                elapsed = loop.time() - began_at
                self._tell_progress(elapsed, number, len(points))
                if len(self._problems) >= PROBLEMS_MAX or 0 < self._options.seconds < elapsed:
                    break
        return self._report(counts, len(points), loop.time() - began_at)

    def _tell_progress(self, elapsed: float, number: int, total: int) -> None:
        if number % 100 == 0 or number == total:
            self._tell(elapsed, f"{number} of {total} points, {len(self._problems)} problems")

    def _report(self, counts: Mapping[str, int], points: int, seconds: float) -> SweepReport:
        if not self._kills:
            self._problems.append("no kill hit, so nothing was tried")
        return SweepReport(
            is_ok=not self._problems,
            problems=tuple(self._problems),
            operations=self._options.operations,
            calls=dict(counts),
            points=points,
            kills=self._kills,
            second_kills=self._second_kills,
            power_cuts=self._power_cuts,
            acknowledged=self._acknowledged,
            seconds=seconds,
        )

    async def _survey(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Return the calls of the whole script, and those of a start with nothing to add."""
        meddling = Meddling(self._options.calls)
        self._clear()
        _, _, counts = await self._run_script(meddling, operations=self._options.operations)
        _, _, recovery_counts = await self._run_script(meddling, operations=0)
        return counts, recovery_counts

    async def _try(self, point: Point) -> None:
        """Kill at the point, and take down what is wrong after."""
        self._clear()
        kill = Meddling((point.call,), "signal=SIGKILL", point.number)
        acknowledged, status, _ = await self._run_script(kill, operations=self._options.operations)
        problems = _check_script(acknowledged, status)
        self._acknowledged += len(acknowledged)
        if status == KILLED:
            self._kills += 1
            await self._cut_power()
            if point.again:
                problems += await self._kill_recovery(point)
        evidence = self._directory / f"killed-at-{point.call}-{point.number}"
        if self._data.exists():
            shutil.copytree(self._data, evidence)
        problems += await self._check_log(len(acknowledged))
        if problems:
            self._problems += [f"killed at {point}: {problem}" for problem in problems]
        else:
            shutil.rmtree(evidence, ignore_errors=True)

    async def _kill_recovery(self, point: Point) -> list[str]:
        kill = Meddling((point.call,), "signal=SIGKILL", point.again)
        _, status, _ = await self._run_script(kill, operations=0)
        if status == KILLED:
            self._second_kills += 1
            await self._cut_power()
        return _check_script((), status)

    async def _run_script(
        self, meddling: Meddling, *, operations: int
    ) -> tuple[Sequence[int], int, Mapping[str, int]]:
        """Return which items were acknowledged, the exit status, and the calls made."""
        options = ScriptOptions(str(self._data), operations)
        encoded = msgspec.json.encode(options).decode()
        child = await ChildProcess.start(
            (*self._program, encoded),
            log=self._directory / "script.log",
        )
        try:
            thread = int(await child.read_line())
            output = self._directory / "trace"
            trace = await Trace.attach(thread, meddling, output, has_threads=False)
            await child.write_line("go")
            acknowledged = [int(line) async for line in child.lines()]
            status = await child.wait()
            await trace.wait_ended()
            return acknowledged, status, trace.counts()
        finally:
            await child.kill()

    async def _check_log(self, acknowledged: int) -> list[str]:
        """Return what is wrong with the log: it is opened twice, and takes an item each time."""
        disk = SystemDisk()
        try:
            least, most = acknowledged, acknowledged + 1
            for _ in range(2):
                async with solo_node(self._data, disk) as todo:
                    items = await todo.items()
                    problems = check_items(items, least=least, most=most)
                    if problems:
                        return problems
                    await todo.add(text_of(len(items) + 1))
                    least = most = len(items) + 1
        except LiferaftError as error:
            return [f"{type(error).__name__}: {error}"]
        finally:
            await disk.close()
        return []

    def _clear(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        # A power cut before the script's own first sync would bring back what was removed.
        SystemDisk().sync_directory(str(self._place))

    async def _cut_power(self) -> None:
        if self._disk is not None:
            self._disk.cut_power()
            await self._disk.unmount_when_left()
            self._disk.mount()
            self._power_cuts += 1


def check_items(items: Sequence[Item], *, least: int, most: int) -> list[str]:
    """Return what is wrong with a list that must hold items 1 up to between `least` and `most`."""
    found = [(item.id, item.text) for item in items]
    wanted = [(number, text_of(number)) for number in range(1, len(items) + 1)]
    problems: list[str] = []
    if len(items) < least:
        problems.append(f"{least} items were acknowledged, and {len(items)} are there")
    if len(items) > most:
        problems.append(f"{most} items were added at most, and {len(items)} are there")
    if found != wanted:
        wrong = next(pair for pair in zip(found, wanted, strict=True) if pair[0] != pair[1])
        problems.append(f"the list has {wrong[0]} where {wrong[1]} was added")
    return problems


def _check_script(acknowledged: Sequence[int], status: int) -> list[str]:
    problems: list[str] = []
    if status not in (0, KILLED):
        problems.append(f"the process ended with status {status}: see script.log")
    if list(acknowledged) != list(range(1, len(acknowledged) + 1)):
        problems.append(f"the items were acknowledged as {list(acknowledged)}")
    return problems


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {call}" for call, count in sorted(counts.items()))
