"""A cluster of real processes on loopback that a plain test drives, with stubs that block.

It is `liferaft.ops.processes.LocalCluster` for tests that have no event loop of their own.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from typing_extensions import TypeForm

from liferaft import api
from liferaft.cluster.admin import NodeStatus
from liferaft.errors import ConfigurationError
from liferaft.link.leak import Leak
from liferaft.ops.processes import LocalCluster
from liferaft.raft.types import NodeId
from liferaft.rpc.views import Reads

InterfaceT = TypeVar("InterfaceT")
ResultT = TypeVar("ResultT")

Objects = type | Mapping[str, type]
"""A class, hosted by its own name; or classes by the objects' names."""


class RunningCluster:
    """Nodes n1, n2, ... that run; a context manager, at whose end they have ended."""

    def __init__(self, local: LocalCluster) -> None:
        self.local: Final = local
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._stubs: list[object] = []
        self._is_closed = False

    def __enter__(self) -> Self:
        try:
            self._run(self.local.__aenter__())
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
            for stub in self._stubs:
                api.close(stub)
        finally:
            try:
                self._run(self.local.__aexit__(kind, error, traceback))
            finally:
                self._runner.close()

    @property
    def nodes(self) -> tuple[NodeId, ...]:
        """The names of all nodes."""
        return self.local.nodes

    @property
    def address(self) -> str:
        """The addresses of all nodes, as `liferaft.connect` takes them."""
        return self.local.address

    def connect(
        self,
        interface: TypeForm[InterfaceT],
        name: str = "",
        *,
        timeout: float | None = 30.0,
        reads: Reads = "linearizable",
    ) -> InterfaceT:
        """Return a stub as `liferaft.connect` makes it; it is closed when the test ends."""
        stub = api.connect(interface, self.address, name=name, timeout=timeout, reads=reads)
        self._stubs.append(stub)
        return stub

    def wait_leader(self, within: float = 30.0) -> NodeId:
        """Wait until a node leads with a majority's consent, and return its name.

        Raises `NoLeader` after so many seconds.
        """
        return self._run(self.local.wait_leader(within)).node_id

    def statuses(self) -> list[NodeStatus]:
        """Return how each node that answers sees itself."""
        return self._run(self.local.statuses())

    def kill(self, *nodes: NodeId) -> None:
        """End nodes at once with SIGKILL."""
        self._run(self.local.kill(*nodes))

    def start(self, node: NodeId) -> None:
        """Start a node that does not run, and wait until it listens.

        Raises `NodeDidNotStart`.
        """
        self._run(self.local.start(node))

    def pause(self, node: NodeId) -> None:
        """Freeze a node with SIGSTOP."""
        self.local.pause(node)

    def resume(self, node: NodeId) -> None:
        """Let a paused node go on."""
        self.local.resume(node)

    def cut(self, node: NodeId) -> None:
        """Cut a node off from everybody: all links seem open, and nothing comes through."""
        self._run(self.local.cut(node))

    def heal(self, node: NodeId) -> None:
        """Undo `cut`."""
        self._run(self.local.heal(node))

    def _run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._runner.run(work)
        work.close()
        raise ConfigurationError(
            "this cluster blocks: let the test be a plain def, or take "
            "`async with local_cluster.on_loop(...)` in a test that is awaited"
        )


class LocalClusterFactory:
    """What the fixture `local_cluster` is: called, it makes a cluster that runs."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self._stack = stack
        self._directory = directory
        self._count = 0

    def __call__(
        self, objects: Objects, *, size: int = 3, seed: int = 0, leak: Leak | None = None
    ) -> RunningCluster:
        """Return a cluster of so many processes; each of them listens already.

        `leak` is for what each node sends; its chances come from `seed`.
        """
        local = self.on_loop(objects, size=size, seed=seed, leak=leak)
        return self._stack.enter_context(RunningCluster(local))

    def on_loop(
        self, objects: Objects, *, size: int = 3, seed: int = 0, leak: Leak | None = None
    ) -> LocalCluster:
        """Return a cluster for a test that is awaited: `async with` starts and ends it."""
        self._count += 1
        return LocalCluster(
            size,
            objects=described(objects),
            directory=self._directory / f"cluster-{self._count}",
            leak=leak,
            seed=seed,
        )


def described(objects: Objects) -> list[str]:
    """Return the objects as `liferaft node --object` reads them.

    Raises `ConfigurationError` for a class that another process could not import.
    """
    classes = {objects.__name__: objects} if isinstance(objects, type) else objects
    for found in classes.values():
        if "." in found.__qualname__ or found.__module__ == "__main__":
            raise ConfigurationError(
                f"{found.__module__}.{found.__qualname__} cannot be imported by the nodes: "
                "let the class stand at the top of a module"
            )
    return [f"{name}={found.__module__}:{found.__qualname__}" for name, found in classes.items()]
