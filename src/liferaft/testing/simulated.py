"""A cluster in one process, on a virtual clock, that a test drives step by step.

The nodes, the clients' stubs and all between them are the code that ships; clock, network and disks
are simulated, so that a test of ten minutes takes a moment and is the same each time. Between two
calls of `run` no virtual time passes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from typing_extensions import TypeForm

from liferaft.errors import ConfigurationError, InvariantViolated, LiferaftError, NoLeader
from liferaft.raft.types import NodeId
from liferaft.rpc.caller import CallerStubCreator
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.interface import Interface
from liferaft.rpc.views import Reads, view_metadata, view_suffix
from liferaft.sim.loop import VirtualLoop
from liferaft.sim.nodes import ONLY
from liferaft.sim.run import behind
from liferaft.sim.settings import Settings
from liferaft.sim.world import World

ResultT = TypeVar("ResultT")

Objects = type | Mapping[str, Callable[[], object]]
"""A class, hosted by its own name; or what makes each object, by the objects' names."""

POLL_INTERVAL: Final = 0.01
"""Virtual seconds between two looks at the nodes: looking costs nothing."""


class SimulatedCluster:
    """Nodes n1, n2, ... that run; a context manager, at whose end they are stopped.

    Everything that is not a coroutine may be called from the test itself as well as from within
    what `run` runs. `lease_clock_error` is that of `RaftConfig`. Raises `ConfigurationError` for
    what cannot be: a node of another name, or one that is not down when it is started.
    """

    def __init__(
        self,
        objects: Objects,
        *,
        size: int = 3,
        seed: int = 0,
        lease_clock_error: float | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Make a cluster whose nodes have these settings, or ones drawn from the seed."""
        if not 1 <= size <= 15:
            raise ConfigurationError(f"a cluster of {size} nodes: give 1 to 15")
        makers = {objects.__name__: objects} if isinstance(objects, type) else dict(objects)
        if not makers:
            raise ConfigurationError("a cluster that hosts nothing: give it a class")
        self.seed: Final = seed
        self._names: Final = tuple(makers)
        self._connections: list[CallerConnection] = []
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._is_closed = False
        self.world: Final = World(
            seed,
            size,
            lambda: {name: make() for name, make in makers.items()},
            settings=settings,
            lease_clock_error=lease_clock_error,
        )
        """The simulated world itself, for faults that have no method here."""

    def __enter__(self) -> Self:
        try:
            self.run(self._start_all)
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self.run(self._stop_all)
        finally:
            self._runner.close()

    # Running.

    def run(self, main: Awaitable[ResultT] | Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Run a coroutine, or an async function without arguments, and return its result.

        Virtual time passes as fast as it can. Raises what it raises; `InvariantViolated` when a
        promise of Raft was broken meanwhile, which goes before; `LiferaftError` when something
        raised where nobody awaited it.
        """
        self._check_outside()

        async def awaited() -> ResultT:
            return await (main() if callable(main) else main)

        try:
            return self._runner.run(awaited())
        finally:
            self.check()

    def sleep(self, seconds: float) -> None:
        """Let so many virtual seconds pass; to be called from the test, not from within `run`."""
        self.run(asyncio.sleep(seconds))

    @property
    def now(self) -> float:
        """The virtual time in seconds, from 0."""
        return self._loop.true_time

    def check(self) -> None:
        """Raise the first violation of a promise, if there was one."""
        for violation in self.world.violations:
            raise violation
        unhandled, self._loop.unhandled[:] = list(self._loop.unhandled), []
        for context in unhandled:
            error = context.get("exception")
            raise LiferaftError(f"nobody handled it: {context['message']}: {error!r}") from error

    # Clients.

    def stub(
        self,
        interface: TypeForm[object],
        name: str = "",
        *,
        timeout: float = 10.0,
        reads: Reads = "linearizable",
        nodes: Sequence[NodeId] = (),
    ) -> Any:
        """Return a stub, of a client of its own, whose methods are awaited.

        `interface` may be the hosted class itself: there is no thread in a simulation, so here the
        methods that block elsewhere are awaited, too. `name` says which object, where the cluster
        hosts several and the interface is not named like one. `timeout` bounds each call, in
        virtual seconds. `reads` is that of `liferaft.connect`. The client knows the addresses of
        `nodes`, the first of them first; of all nodes if none is given.
        """
        creator = CallerStubCreator(Interface.of(interface))
        for node_id in nodes:
            self._check_named(node_id)
        return self._on_loop(lambda: self._connect(creator, name, timeout, reads, nodes))

    # Nodes.

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """The names of all nodes."""
        return tuple(self.world.node_ids)

    @property
    def down(self) -> list[NodeId]:
        """The names of the nodes that do not run."""
        return self.world.down

    @property
    def leader(self) -> NodeId | None:
        """Who leads, in the highest term; None when nobody does."""
        return self.world.leader()

    def replica(self, node_id: NodeId, name: str = "") -> Any:
        """Return a node's own object as it is now: to be looked at, never to be changed."""
        self._check_running(node_id)
        return self.world.instances[node_id][name or self._only_name()]

    def digests(self) -> dict[NodeId, str]:
        """Return the digest of each running node's state; equal states have equal digests."""
        parts = {node_id: self.world.parts(node_id) for node_id in sorted(self.world.nodes)}
        return {node_id: each[ONLY].digest().digest for node_id, each in parts.items() if each}

    async def wait_leader(self, within: float = 30.0) -> NodeId:
        """Wait until a node leads and return its name; raises `NoLeader` after so many seconds."""
        deadline = self.now + within
        while (leader := self.leader) is None:
            if self.now > deadline:
                raise NoLeader(f"no node leads after {within:g} virtual seconds")
            await asyncio.sleep(POLL_INTERVAL)
        return leader

    async def wait_equal(self, within: float = 30.0) -> str:
        """Wait until every running node has applied all commands, and return their digest.

        Raises `InvariantViolated` when they do not within so many virtual seconds, or when they
        have and their states differ.
        """
        deadline = self.now + within
        while late := self._late():
            if self.now > deadline:
                names = ", ".join(late)
                raise InvariantViolated(f"progress: {names} did not catch up in {within:g} s")
            await asyncio.sleep(POLL_INTERVAL)
        digests = self.digests()
        if len(set(digests.values())) != 1:
            raise InvariantViolated(f"equal replicas: their states differ: {digests}")
        return next(iter(digests.values()))

    def crash(self, *node_ids: NodeId) -> None:
        """Cut the power of nodes, all at once: what was not synced is lost, in any part."""
        self._strike(node_ids, is_power_cut=True)

    def kill(self, *node_ids: NodeId) -> None:
        """End the processes of nodes, all at once: what they wrote stays."""
        self._strike(node_ids, is_power_cut=False)

    async def restart(self, node_id: NodeId) -> None:
        """Start a node with the disk that it left behind; one that runs is stopped before."""
        self._check_named(node_id)
        if node_id in self.world.nodes:
            await self.world.stop_cleanly(node_id)
        await self.world.start(node_id)
        self.check()

    def pause(self, node_id: NodeId) -> None:
        """Let a node stand still, as a stopped process or a virtual machine that is moved."""
        self._check_running(node_id)
        self._on_loop(lambda: self.world.pause(node_id))

    def resume(self, node_id: NodeId) -> None:
        """Let a paused node go on, as if no time had passed."""
        self._check_named(node_id)
        self._on_loop(lambda: self.world.resume(node_id))

    # The network.

    def partition(self, *groups: Iterable[NodeId]) -> None:
        """Cut the nodes into groups that do not hear each other, until `heal`.

        Nodes that are in none of the groups are one more group. Clients reach all of them.
        """
        parts = [tuple(group) for group in groups]
        named = [node_id for part in parts for node_id in part]
        for node_id in named:
            self._check_named(node_id)
        if len(set(named)) != len(named):
            raise ConfigurationError(f"a node is in two groups: {groups}")
        parts.append(tuple(node_id for node_id in self.nodes if node_id not in named))
        self.cut(
            *(
                (source, target)
                for part in parts
                for other in parts
                if part is not other
                for source in part
                for target in other
            )
        )

    def cut(self, *directions: tuple[str, str]) -> None:
        """Swallow what is sent in each direction (source, target), until `heal`."""
        self._on_loop(lambda: self.world.network.cut(*directions))

    def heal(self) -> None:
        """Undo every cut."""
        self._on_loop(self.world.network.heal)

    # Within.

    @property
    def _loop(self) -> VirtualLoop:
        loop = self._runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        return loop

    def _on_loop(self, work: Callable[[], ResultT]) -> ResultT:
        """Do the work while the virtual loop runs, which it does already within `run`."""
        if _running() is self._loop:
            return work()

        async def worked() -> ResultT:
            return work()

        return self.run(worked)

    def _check_outside(self) -> None:
        if _running() is not None:
            raise ConfigurationError(
                "a simulated cluster has a loop of its own: let the test be a plain def, and give "
                "`run` what is to be awaited; within `run`, await it"
            )

    def _connect(
        self,
        creator: CallerStubCreator,
        name: str,
        timeout: float,
        reads: Reads,
        nodes: Sequence[NodeId],
    ) -> Any:
        interface = creator.interface.name
        name = name or (interface if interface in self._names else self._only_name())
        connection = self.world.connection(
            f"client-{len(self._connections) + 1}",
            creator,
            object_name=name + view_suffix(reads),
            timeout=timeout,
            nodes=nodes,
            metadata=view_metadata(reads),
        )
        connection.open()
        self._connections.append(connection)
        return creator.create(connection)

    def _only_name(self) -> str:
        if len(self._names) > 1:
            raise ConfigurationError(f"name the object: the cluster hosts {self._names}")
        return self._names[0]

    def _check_named(self, node_id: NodeId) -> None:
        if node_id not in self.nodes:
            raise ConfigurationError(f"there is no node {node_id!r}: the nodes are {self.nodes}")

    def _check_running(self, node_id: NodeId) -> None:
        self._check_named(node_id)
        if node_id not in self.world.nodes:
            raise ConfigurationError(f"{node_id} is down: `await cluster.restart({node_id!r})`")

    def _strike(self, node_ids: Iterable[NodeId], *, is_power_cut: bool) -> None:
        struck = tuple(node_ids)
        for node_id in struck:
            self._check_running(node_id)

        def strike() -> None:
            for node_id in struck:
                self.world.strike(node_id, is_power_cut=is_power_cut)

        self._on_loop(strike)

    def _late(self) -> list[NodeId]:
        late = behind(self.world)
        return [node_id for node_id in late if node_id in self.world.nodes]

    async def _start_all(self) -> None:
        for node_id in self.nodes:
            await self.world.start(node_id)

    async def _stop_all(self) -> None:
        for connection in self._connections:
            await connection.aclose()
        await self.world.stop()


class SimulatedClusterFactory:
    """What the fixture `simulated_cluster` is: called, it makes a cluster that runs."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(
        self,
        objects: Objects,
        *,
        size: int = 3,
        seed: int = 0,
        lease_clock_error: float | None = None,
    ) -> SimulatedCluster:
        """Return a cluster of so many nodes; the same seed gives the same run."""
        return self._stack.enter_context(
            SimulatedCluster(objects, size=size, seed=seed, lease_clock_error=lease_clock_error)
        )


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
