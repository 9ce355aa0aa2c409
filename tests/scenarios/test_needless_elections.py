"""Nobody campaigns while the leader lives, though every twentieth frame is lost.

An hour of it is run by hand: `python -m tests.scenarios.test_needless_elections 3600`.
"""

import asyncio
import contextlib
import sys
import time

import pytest

from liferaft.errors import LiferaftError
from liferaft.raft.config import PROFILES
from liferaft.recipes.todo import TodoList
from liferaft.sim.network import Conditions
from liferaft.sim.settings import Settings
from liferaft.testing.simulated import SimulatedCluster

LOSS = 0.05
SECONDS = 120.0


def terms_of(profile: str, seconds: float, *, loss: float = LOSS, seed: int = 1) -> tuple[int, int]:
    """Return how many terms a loaded cluster goes through, and how many commands it carries out."""
    cluster = SimulatedCluster(TodoList, seed=seed, settings=Settings(raft=PROFILES[profile]))
    with cluster:

        async def scene() -> tuple[int, int]:
            await cluster.wait_leader()
            todo = cluster.stub(TodoList)
            await todo.add("the first")
            cluster.world.network.set_weather(Conditions(loss=loss))
            before = max(core.current_term for core in cluster.world.cores().values())
            count = 0
            while cluster.now < seconds:
                with contextlib.suppress(LiferaftError):
                    await todo.complete(1)
                    count += 1
                await asyncio.sleep(0.1)
            after = max(core.current_term for core in cluster.world.cores().values())
            return after - before, count

        return cluster.run(scene)


@pytest.mark.slow
@pytest.mark.parametrize("profile", ["default", "lan"])
def test_a_loaded_cluster_keeps_its_leader_while_frames_are_lost(profile: str) -> None:
    terms, count = terms_of(profile, SECONDS)

    assert terms == 0
    assert count > SECONDS


def test_a_cluster_that_loses_far_more_does_not() -> None:
    """Or the others would prove nothing."""
    terms, _ = terms_of("lan", 30.0, loss=0.7)

    assert terms > 0


if __name__ == "__main__":
    for each in ("default", "lan"):
        began = time.perf_counter()
        found, commands = terms_of(each, float(sys.argv[1]))
        took = time.perf_counter() - began
        print(  # noqa: T201
            f"{each}: {found} needless elections, {commands} commands, {took:.0f} s of work"
        )
