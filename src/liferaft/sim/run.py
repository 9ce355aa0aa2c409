"""One simulation from one seed: a cluster, clients, faults, and a verdict.

The same seed gives the same run: `SimulationResult.digest`, taken of every entry that was applied
and of every client's outcome, is equal in every process.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Final

import msgspec

from liferaft.errors import InvariantViolated, LiferaftError
from liferaft.recipes.todo import Item, TodoList
from liferaft.rpc.caller import CallerStubCreator
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.interface import Interface
from liferaft.sim.faults import FaultInjector
from liferaft.sim.loop import run_simulated
from liferaft.sim.workload import AsyncTodo, Client, History
from liferaft.sim.world import World

OBJECT: Final = "TodoList"
PROGRESS_SECONDS: Final = 30.0
"""How long, in virtual seconds, a cluster may take to go on after the last fault has ended."""


class SimulationFailed(LiferaftError):
    """A promise was broken; the message holds the command that repeats the run."""


class SimulationResult(msgspec.Struct, frozen=True):
    """What one run did."""

    seed: int
    digest: str
    virtual_seconds: float
    events: int
    elections: int
    applied: int
    acknowledged: int
    unknown: int
    reads: int
    faults: dict[str, int]


def simulate(
    seed: int, *, nodes: int = 3, clients: int = 4, seconds: float = 8.0
) -> SimulationResult:
    """Run one cluster under faults for so many virtual seconds, and check all its promises.

    Raises `SimulationFailed` when one of them is broken.
    """
    simulation = Simulation(seed, nodes=nodes, clients=clients, seconds=seconds)
    try:
        return run_simulated(simulation.run)
    except LiferaftError as violation:
        raise SimulationFailed(
            f"seed {seed}: {violation}\n"
            f"repeat it: python -m liferaft.sim --seed {seed} --nodes {nodes} "
            f"--clients {clients} --seconds {seconds:g}"
        ) from violation


class Simulation:
    """One run; `run` is its main coroutine, to be given to a virtual loop."""

    def __init__(self, seed: int, *, nodes: int, clients: int, seconds: float) -> None:
        self._seed = seed
        self._nodes = nodes
        self._clients = clients
        self._seconds = seconds
        self._history = History()
        self._connections: list[CallerConnection] = []
        self._is_over = False

    async def run(self) -> SimulationResult:
        """Run all of it and return what it did."""
        world = World(self._seed, self._nodes, lambda: {OBJECT: TodoList()})
        injector = FaultInjector(world, world.random("faults"))
        for node_id in world.node_ids:
            await world.start(node_id)
        creator = CallerStubCreator(Interface.of(AsyncTodo))
        clients = [
            asyncio.create_task(self._run_client(world, creator, f"client-{i + 1}"))
            for i in range(self._clients)
        ]
        await injector.run(self._seconds)
        self._is_over = True
        await asyncio.gather(*clients)
        await self._check_end(world, creator)
        for connection in self._connections:
            await connection.aclose()
        await world.stop()
        return self._result(world, injector.counts)

    async def _run_client(self, world: World, creator: CallerStubCreator, name: str) -> None:
        random = world.random(f"{name} workload")
        client = Client(name, self._stub(world, creator, name, timeout=3.0), self._history, random)
        while not self._is_over and not world.violations:
            await asyncio.sleep(random.uniform(0.0, 0.03))
            await client.step()

    def _stub(
        self, world: World, creator: CallerStubCreator, name: str, *, timeout: float
    ) -> AsyncTodo:
        connection = world.connection(name, creator, timeout=timeout)
        connection.open()
        self._connections.append(connection)
        stub: AsyncTodo = creator.create(connection)
        return stub

    async def _check_end(self, world: World, creator: CallerStubCreator) -> None:
        _raise_first(world)
        todo = self._stub(world, creator, "judge", timeout=PROGRESS_SECONDS)
        try:
            await todo.add("the last word", by="judge")
            items = await todo.items()
        except LiferaftError as error:
            _raise_first(world)
            raise InvariantViolated(f"no progress after the faults ended: {error!r}") from error
        self._history.acknowledged.append("the last word")
        self._history.check_final(items)
        await self._check_replicas(world, items)
        _raise_first(world)

    async def _check_replicas(self, world: World, items: list[Item]) -> None:
        """Wait until every node has applied everything, and compare their states."""
        last = len(world.safety.applied)
        deadline = asyncio.get_running_loop().time() + PROGRESS_SECONDS
        while min(node.status().applied_index for node in world.nodes.values()) < last:
            _raise_first(world)
            if asyncio.get_running_loop().time() > deadline:
                raise InvariantViolated("a replica does not catch up after the faults ended")
            await asyncio.sleep(0.05)
        digests = {node_id: node.digest() for node_id, node in sorted(world.nodes.items())}
        if len(set(digests.values())) != 1:
            raise InvariantViolated(f"the replicas differ: {digests}")
        assert items, "the last word is there"

    def _result(self, world: World, faults: Mapping[str, int]) -> SimulationResult:
        history = self._history
        trace = hashlib.blake2b(digest_size=16)
        trace.update(msgspec.msgpack.encode(tuple(world.safety.applied)))
        trace.update(msgspec.msgpack.encode([history.acknowledged, history.unknown]))
        return SimulationResult(
            seed=self._seed,
            digest=trace.hexdigest(),
            virtual_seconds=asyncio.get_running_loop().time(),
            events=world.safety.events,
            elections=world.safety.elections,
            applied=len(world.safety.applied),
            acknowledged=len(history.acknowledged),
            unknown=len(history.unknown),
            reads=history.reads,
            faults=dict(sorted(faults.items())),
        )


def _raise_first(world: World) -> None:
    for violation in (*world.violations, *(node.failure for node in world.nodes.values())):
        if violation is not None:
            raise violation
