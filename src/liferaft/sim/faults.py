"""What goes wrong in a world, and when: a schedule drawn up front, and the steps of it.

Every step is drawn on its own from the run's seed and the step's number, begins at its own time and
undoes itself, beside all others that go on at that time. So a run can be repeated with some of its
steps alone, and those behave as they did: that is how a failing run is made shorter.

`KINDS` is the catalogue; which of them a run draws, and how often, is its profile's choice.
"""

import asyncio
import random as random_module
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from liferaft.errors import ConfigurationError, InvariantViolated
from liferaft.sim import (
    clock_faults,
    disk_faults,
    member_changes,
    network_faults,
    process_faults,
    upgrades,
)
from liferaft.sim.schedule import PROFILES, FaultStep
from liferaft.sim.world import World

Fault = Callable[[World, random_module.Random], Awaitable[None]]
"""Does harm for a while and undoes it."""

FAMILIES: Final[Mapping[str, Mapping[str, Fault]]] = {
    "network": network_faults.KINDS,
    "process": process_faults.KINDS,
    "disk": disk_faults.KINDS,
    "clock": clock_faults.KINDS,
}

KINDS: Final[Mapping[str, Fault]] = {
    name: fault for family in FAMILIES.values() for name, fault in family.items()
}

_ALL_KINDS: Final[Mapping[str, Fault]] = {
    **KINDS,
    **member_changes.KINDS,
    **upgrades.KINDS,
}

_FAMILIES_OF: Final[Mapping[str, Mapping[str, float]]] = {
    "mixed": {"network": 3.0, "process": 3.0, "disk": 2.0, "clock": 1.0},
    "network": {"network": 1.0},
    "process": {"process": 1.0},
    "disk": {"disk": 2.0, "process": 1.0},
    "clock": {"clock": 2.0, "network": 1.0},
    "calm": {},
}

START_SECONDS: Final = 10.0
"""How long, in virtual seconds, a node may take to start once nothing is wrong with it any more."""

assert tuple(_FAMILIES_OF) == PROFILES

INTERVAL: Final = 0.45
"""Seconds between two steps on average: most steps last longer, so that they overlap."""


def draw_schedule(seed: int, *, profile: str, seconds: float) -> tuple[FaultStep, ...]:
    """Return what is to go wrong within so many seconds; raises `ConfigurationError`."""
    families = _FAMILIES_OF.get(profile)
    if families is None:
        raise ConfigurationError(f"there is no profile {profile!r}: take one of {PROFILES}")
    draw = random_module.Random(f"{seed} schedule")
    steps: list[FaultStep] = []
    at = draw.uniform(0.1, 1.0)
    while families and at < seconds:
        family = draw.choices(list(families), list(families.values()))[0]
        kind = draw.choice(list(FAMILIES[family]))
        steps.append(FaultStep(len(steps), at, kind))
        at += draw.expovariate(1 / INTERVAL)
    return tuple(steps)


class FaultInjector:
    """Carries out a schedule."""

    def __init__(self, world: World, schedule: tuple[FaultStep, ...]) -> None:
        self._world = world
        self._schedule = schedule
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> None:
        """Make the faults for so many virtual seconds, then end them all."""
        loop = asyncio.get_running_loop()
        for step in self._schedule:
            await asyncio.sleep(max(0.0, step.at - loop.time()))
            if self._world.violations:
                break
            task = asyncio.create_task(self._carry_out(step))
            self._running.add(task)
            task.add_done_callback(self._ended)
        await asyncio.sleep(max(0.0, seconds - loop.time()))
        await self._end_all()

    async def _carry_out(self, step: FaultStep) -> None:
        if len(self._world.node_ids) < 2 and step.kind in network_faults.KINDS:
            return  # a node alone has no links to others
        draw = random_module.Random(f"{self._world.seed} fault {step.number}")
        with self._world.chronicle.fault(step.number, step.kind, _family_of(step.kind)):
            await _ALL_KINDS[step.kind](self._world, draw)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._world.violate(error)

    async def _end_all(self) -> None:
        """Let every fault come to its end, then see to it that nothing is left of any."""
        while self._running:
            await asyncio.wait(self._running)
        world = self._world
        world.network.heal()
        world.return_dead()
        for node_id in world.node_ids:
            world.make_well(node_id)
        # A node that ended by itself may still be stopping, or be started by its supervisor.
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while missing := [node for node in world.node_ids if node not in world.nodes]:
            if world.violations:
                break
            if asyncio.get_running_loop().time() > deadline:
                raise InvariantViolated(f"progress: {', '.join(missing)} did not start again")
            for node_id in world.down:
                if node_id not in world.nodes:
                    await world.start(node_id)
            await asyncio.sleep(0.05)


def _family_of(kind: str) -> str:
    return next((family for family, kinds in FAMILIES.items() if kind in kinds), "")
