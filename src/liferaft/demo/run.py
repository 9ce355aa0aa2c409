"""The demonstration from start to verdict."""

import asyncio
import math
import random as random_module
from contextlib import AsyncExitStack
from typing import Final

from liferaft.cluster.admin import NodeStatus
from liferaft.demo.crew import Crew
from liferaft.demo.narrator import Narrator, Scene
from liferaft.demo.options import DemoOptions
from liferaft.demo.summary import Leadership, Summary, sentences
from liferaft.demo.timeline import Fault, timeline
from liferaft.ops.inspection import inspect
from liferaft.ops.processes import LocalCluster
from liferaft.ops.verdict import NodeView, find_problems, longest_gap
from liferaft.raft.types import NodeId

OBJECT: Final = "Todo=liferaft.recipes.todo:TodoList"
LOOK_INTERVAL: Final = 0.25
"""Seconds between two looks at the nodes."""


class Demo:
    """One run on a cluster that is there already. It ends with the clients gone and a summary."""

    def __init__(self, options: DemoOptions, cluster: LocalCluster, narrator: Narrator) -> None:
        self._options = options
        self._cluster = cluster
        self._narrator = narrator
        self._random = random_module.Random(options.seed)
        self._crew = Crew(options, cluster.address, cluster.directory)
        self._began_at = math.inf
        self._statuses: dict[NodeId, NodeStatus | None] = dict.fromkeys(cluster.nodes)
        self._leaderships: dict[int, NodeId] = {}
        self._marks: dict[NodeId, str] = {}
        self._fault_times: dict[Fault, float] = {}
        self._victim: NodeId = ""

    async def run(self) -> Summary:
        """Let the clients write while the faults happen, and compare what is left."""
        self._introduce()
        self._note_leader(await self._cluster.wait_leader())
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._crew.stop)
            await self._crew.start()
            self._began_at = self._now()
            self._tell(f"{len(self._crew.names)} clients begin to add and complete items")
            watcher = asyncio.create_task(self._watch())
            stack.push_async_callback(_cancel, watcher)
            await self._play()
            ended_at = self._now()
            self._tell("the clients finish their last calls")
            crew_problems = await self._crew.finish()
        self._tell("the nodes catch up, and are compared")
        views = await inspect(self._cluster)
        summary = self._summary(views, crew_problems, ended_at)
        self._narrator.conclude(sentences(summary), is_ok=summary.is_ok)
        return summary

    async def _play(self) -> None:
        for step in timeline(self._options.duration):
            await asyncio.sleep(self._began_at + step.at - self._now())
            self._fault_times[step.fault] = self._now()
            await self._carry_out(step.fault)
        await asyncio.sleep(self._began_at + self._options.duration - self._now())

    async def _carry_out(self, fault: Fault) -> None:
        cluster = self._cluster
        match fault:
            case Fault.KILL_LEADER:
                self._victim = (await cluster.wait_leader()).node_id
                self._marks[self._victim] = "killed"
                await cluster.kill(self._victim)
                self._tell(f"{self._victim}, the leader, is killed with SIGKILL")
            case Fault.RESTART:
                await cluster.start(self._victim)
                del self._marks[self._victim]
                self._tell(f"{self._victim} is started again, and recovers from its log")
            case Fault.CUT_FOLLOWER:
                leader = (await cluster.wait_leader()).node_id
                self._victim = self._random.choice([n for n in cluster.nodes if n != leader])
                self._marks[self._victim] = "cut off"
                await cluster.cut(self._victim)
                self._tell(f"{self._victim}, a follower, is cut off from everybody")
            case Fault.HEAL:
                await cluster.heal(self._victim)
                del self._marks[self._victim]
                self._tell(f"the partition is healed, and {self._victim} catches up")

    async def _watch(self) -> None:
        """Ask the nodes how they are, over and over, and tell what changes."""
        while True:
            found = await asyncio.gather(*map(self._cluster.status, self._cluster.nodes))
            self._statuses = dict(zip(self._cluster.nodes, found, strict=True))
            for status in found:
                if status is not None and status.role == "leader":
                    self._note_leader(status)
            self._narrator.show(self._scene())
            await asyncio.sleep(LOOK_INTERVAL)

    def _note_leader(self, status: NodeStatus) -> None:
        if status.current_term not in self._leaderships:
            self._leaderships[status.current_term] = status.node_id
            self._tell(
                f"{status.node_id} leads in term {status.current_term}, "
                f"commit index {status.commit_index}"
            )

    def _scene(self) -> Scene:
        return Scene(
            elapsed=self._elapsed(),
            duration=self._options.duration,
            nodes=self._statuses,
            marks=self._marks,
            clients=self._crew.ledger.tallies,
        )

    def _summary(
        self, views: tuple[NodeView, ...], crew_problems: tuple[str, ...], ended_at: float
    ) -> Summary:
        ledger = self._crew.ledger
        witness = ledger.witness()
        problems = (*crew_problems, *find_problems(witness, views, self._cluster.nodes))
        killed_at, cut_at = (
            self._fault_times[fault] for fault in (Fault.KILL_LEADER, Fault.CUT_FOLLOWER)
        )
        unknown = set(witness.unknown)
        found = {item.text for view in views for item in view.items if item.text in unknown}
        return Summary(
            is_ok=not problems,
            problems=problems,
            options=self._options,
            adds_acknowledged=len(witness.added),
            adds_unknown=len(unknown),
            adds_unknown_found=len(found),
            completions_acknowledged=len(witness.completed),
            longest_gap=longest_gap(ledger.acknowledged_at, self._began_at, ended_at),
            gap_after_kill=longest_gap(ledger.acknowledged_at, killed_at, cut_at),
            leaderships=tuple(Leadership(*item) for item in sorted(self._leaderships.items())),
            applied_index={view.node_id: view.applied_index for view in views},
            items={view.node_id: len(view.items) for view in views},
            digests={view.node_id: view.digest for view in views},
        )

    def _introduce(self) -> None:
        options = self._options
        self._tell(
            f"{options.nodes} nodes listen; every link loses {options.loss:.0%} of its frames each "
            f"way, repeats {options.duplicate:.0%} and delays all by up to {options.delay:g} s "
            f"(seed {options.seed})"
        )

    def _tell(self, sentence: str) -> None:
        self._narrator.tell(self._elapsed(), sentence)

    def _elapsed(self) -> float:
        """Return the seconds since the clients began, 0 before."""
        return max(0.0, self._now() - self._began_at)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _cancel(task: asyncio.Task[None]) -> None:
    """End a task that runs for ever; raises what it died of before, if it did."""
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
