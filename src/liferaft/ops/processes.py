"""A cluster of real processes on this machine, to try things on: started, killed, paused, cut off.

Each node is `liferaft node` in a process of its own, with its own data directory, behind links that
leak as they are told. It is an async context manager, and no process outlives it: not when the
block is left by an error, and not when this process is killed (see `liferaft.ops.child`).
"""

import asyncio
import random as random_module
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from liferaft import api
from liferaft.cluster.admin import ADMIN_OBJECT, NodeAdmin, NodeStatus
from liferaft.cluster.config import CLUSTER_ID_DEFAULT
from liferaft.errors import (
    ConfigurationError,
    LiferaftError,
    NoLeader,
    OutcomeUnknown,
    RemoteError,
)
from liferaft.link.leak import Leak
from liferaft.ops.child import ChildProcess
from liferaft.ops.control import CONTROL_OBJECT, LinkControl
from liferaft.raft.types import NodeId
from liferaft.rpc.deadline import deadline
from liferaft.storage.wal import SEGMENT_BYTES

START_TIMEOUT: Final = 30.0
"""Seconds from a node's start until it listens; a recovery of a long log is the longest part."""

STOP_TIMEOUT: Final = 30.0
"""Seconds that `stop_node` gives a node, however slow the machine, before SIGKILL."""

POLL_INTERVAL: Final = 0.05
"""Seconds between two questions for who leads: nodes answer, they do not call."""

STATUS_TIMEOUT: Final = 1.0

PORTS: Final = range(10_000, 32_000)
"""Below the ports that systems draw for outgoing connections. A port from there could be taken, or
even be connected to itself, by a peer that knocks while the node that owns it is down."""


class NodeDidNotStart(LiferaftError):
    """A node's process ended, or hung, before it listened; the message has its last log line."""


def copies_of(pid: int) -> list[int]:
    """Return the processes that a process has made of itself and that live still."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []  # it has ended, or the system does not tell
    return [int(child) for child in children.split()]


def has_ended(pid: int) -> bool:
    """Return whether a process has ended, be it that nobody has asked how."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


class LocalCluster:
    """Nodes n1, n2, ... as processes on loopback.

    `objects` is what each hosts, as `liferaft node --object` reads it. `directory` holds the nodes'
    data and their logs (n1.log, ...), a temporary one without it. `leak` is for what each node
    sends; its chances come from `seed`. `options` are further ones of `liferaft node`.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        objects: Sequence[str],
        directory: Path | None = None,
        leak: Leak | None = None,
        seed: int = 0,
        cluster_id: str = CLUSTER_ID_DEFAULT,
        segment_bytes: int = SEGMENT_BYTES,
        options: Sequence[str] = (),
    ) -> None:
        if size < 1:
            raise ConfigurationError(f"a cluster of {size} nodes: give 1 or more")
        self.nodes: tuple[NodeId, ...] = tuple(f"n{n}" for n in range(1, size + 1))
        self.addresses: Final = dict(zip(self.nodes, free_addresses(size), strict=True))
        self._peers = {node: dict(self.addresses) for node in self.nodes}
        self._joining: set[NodeId] = set()
        self._objects = tuple(objects)
        self._leak = leak or Leak()
        self._seed = seed
        self._cluster_id = cluster_id
        self._segment_bytes = segment_bytes
        self._options = tuple(options)
        # Paths of Unix sockets are short by law, and a user's directory may be anywhere.
        name = f"liferaft-{random_module.SystemRandom().randbytes(6).hex()}"
        self._scratch = Path(tempfile.gettempdir()) / name
        self.directory: Final = directory or self._scratch
        self._is_kept = False
        self._children: dict[NodeId, ChildProcess] = {}
        self._admins: dict[NodeId, NodeAdmin] = {}
        self._left: list[NodeAdmin] = []

    @property
    def address(self) -> str:
        """The addresses of all nodes, as `liferaft.connect` takes them."""
        return ",".join(self.addresses.values())

    async def __aenter__(self) -> Self:
        try:
            await self.start_all()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, LiferaftError):
            self.keep()  # the logs may tell why
        await self.stop()

    def is_running(self, node: NodeId) -> bool:
        """Whether the node's process lives, paused or not."""
        child = self._children.get(node)
        return child is not None and child.returncode is None

    def pid(self, node: NodeId) -> int:
        """Return the id of the node's process, or of its last one when it does not run."""
        return self._children[node].pid

    def data(self, node: NodeId) -> Path:
        """Where the node's data lies."""
        return self.directory / node

    def log_file(self, node: NodeId) -> Path:
        """Where the node's stderr goes, over all its lives."""
        return self.directory / f"{node}.log"

    def keep(self) -> Path:
        """Let the directory be there after the cluster, and return it."""
        self._is_kept = True
        return self.directory

    async def start_all(self) -> None:
        """Start every node that does not run, and wait until all of them listen."""
        if not self._scratch.exists():
            self._scratch.mkdir(mode=0o700)
        starting = [node for node in self.nodes if not self.is_running(node)]
        for node in starting:
            await self.spawn(node)
        for node in starting:
            await self._wait_listening(node)

    async def start(self, node: NodeId) -> None:
        """Start a node that does not run, and wait until it listens.

        Raises `NodeDidNotStart`.
        """
        await self.spawn(node)
        await self._wait_listening(node)

    async def spawn(self, node: NodeId) -> None:
        """Begin the process of a node that does not run, and leave it alone with its start."""
        assert not self.is_running(node), f"{node} runs already"
        self.directory.mkdir(parents=True, exist_ok=True)
        self._children[node] = await ChildProcess.start(
            self._command(node), log=self.log_file(node)
        )

    async def kill(self, *nodes: NodeId) -> None:
        """End nodes at once with SIGKILL: all of them are hit before the first is waited for."""
        for node in nodes:
            self._children[node].send_signal(signal.SIGKILL)
        for node in nodes:
            await self._children[node].wait()

    async def stop_node(self, node: NodeId) -> int:
        """End a node cleanly with SIGTERM, and return its exit status."""
        return await self._children[node].stop(STOP_TIMEOUT)

    async def wait_ended(self, node: NodeId) -> int:
        """Wait until a node's process ends by itself, and return its status: -9 for SIGKILL."""
        return await self._children[node].wait()

    def last_words(self, node: NodeId) -> str:
        """Return the last line of the node's log."""
        return _last_line(self.log_file(node))

    def succeed(self, old: NodeId) -> NodeId:
        """Let a node of a new name have the address of one that is down for good; return its name.

        The old one is none of `nodes` any more. The new one, with a data directory of its own, is
        started to join, and waits to be added.
        """
        assert not self.is_running(old), f"{old} runs still"
        new = f"n{len(self._peers) + 1}"
        if old in self._admins:
            self._left.append(self._admins.pop(old))  # somebody may be asking it just now
        self._children.pop(old, None)
        self.addresses[new] = self.addresses.pop(old)
        self.nodes = tuple(new if node == old else node for node in self.nodes)
        self._peers[new] = {node: self.addresses[node] for node in self.nodes}
        self._joining.add(new)
        return new

    def pause(self, node: NodeId) -> None:
        """Freeze a node with SIGSTOP."""
        self._children[node].send_signal(signal.SIGSTOP)

    def resume(self, node: NodeId) -> None:
        """Let a paused node go on, as if no time had passed."""
        self._children[node].send_signal(signal.SIGCONT)

    async def cut(
        self,
        node: NodeId,
        *,
        peers: Sequence[NodeId] | None = None,
        outgoing: bool = True,
        incoming: bool = True,
    ) -> None:
        """Cut a node off: nothing passes in the directions named, while all links seem open.

        Without `peers` it is cut off from everybody, clients included; with them only on its own
        links to these nodes, so that a pair is cut when both are told.
        """
        known = self.addresses
        addresses = None if peers is None else [known[peer] for peer in peers if peer in known]
        async with _link_control(self._control(node)) as control:
            await control.cut(peers=addresses, outgoing=outgoing, incoming=incoming)

    async def heal(self, node: NodeId) -> None:
        """Undo every `cut` of a node."""
        async with _link_control(self._control(node)) as control:
            await control.heal()

    async def set_leak(self, node: NodeId, leak: Leak) -> None:
        """Change what happens to the frames that a node sends, until its process ends."""
        async with _link_control(self._control(node)) as control:
            await control.set_leak(leak)

    async def reset(self, node: NodeId) -> None:
        """Break every connection of a node; its links may be made again at once."""
        async with _link_control(self._control(node)) as control:
            await control.reset()

    async def admin(self, node: NodeId) -> NodeAdmin:
        """Return a stub of the node's `_node` object; raises `Unreachable`."""
        if node not in self._admins:
            self._admins[node] = await api.aconnect(
                NodeAdmin, self.addresses[node], name=ADMIN_OBJECT
            )
        return self._admins[node]

    async def status(self, node: NodeId, *, within: float = STATUS_TIMEOUT) -> NodeStatus | None:
        """Return how a node sees itself, None when it does not answer within so many seconds."""
        if not self.is_running(node):
            return None
        try:
            with deadline(within):
                return await (await self.admin(node)).status()
        except (ConnectionError, TimeoutError, OutcomeUnknown, RemoteError):
            return None  # it is silent, was started anew meanwhile, or is about to end

    async def wait_leader(self, timeout: float = 30.0) -> NodeStatus:  # noqa: ASYNC109 - its error
        """Wait until a node leads with a majority's consent, and return its status.

        Raises `NoLeader` after `timeout` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                leader = None
                while leader is None:
                    await asyncio.sleep(POLL_INTERVAL)
                    leader = agreed_leader(await self.statuses(), len(self.nodes))
        except TimeoutError:
            raise NoLeader(
                f"no node leads after {timeout:g} s; the nodes' logs are in {self.directory}"
            ) from None
        return leader

    async def statuses(self) -> list[NodeStatus]:
        """Return the statuses of the nodes that answer, in the nodes' order."""
        found = await asyncio.gather(*(self.status(node) for node in self.nodes))
        return [status for status in found if status is not None]

    async def stop(self) -> None:
        """End every process, leave none behind, and remove the temporary directory unless kept.

        May be called again.
        """
        for admin in (*self._admins.values(), *self._left):
            await api.aclose(admin)
        self._admins.clear()
        self._left.clear()
        await asyncio.gather(*(child.stop() for child in self._children.values()))
        if not self._is_kept:
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _command(self, node: NodeId) -> list[str]:
        peers = ",".join(f"{name}={address}" for name, address in self._peers[node].items())
        command = [sys.executable, "-m", "liferaft", "node", "--stop-with-stdin"]
        command += ["--id", node, "--peers", peers, "--cluster", self._cluster_id]
        command += ["--data", str(self.data(node)), "--control", self._control(node)]
        command += [f"--segment-bytes={self._segment_bytes}"]
        command += [f"--loss={self._leak.loss}", f"--delay-max={self._leak.delay_max}"]
        command += [f"--duplicate={self._leak.duplicate}", f"--seed={self._seed}"]
        command += ["--join"] if node in self._joining else []
        for spec in self._objects:
            command += ["--object", spec]
        return [*command, *self._options]

    def _control(self, node: NodeId) -> str:
        return f"unix:{self._scratch / node}.sock"

    async def _wait_listening(self, node: NodeId) -> None:
        child = self._children[node]
        try:
            async with asyncio.timeout(START_TIMEOUT):
                line = await child.read_line()
        except TimeoutError:
            await child.kill()
            line = ""
        if not line:
            await child.stop()
            raise NodeDidNotStart(f"node {node} did not start: {self.last_words(node)}")


@asynccontextmanager
async def _link_control(address: str) -> AsyncIterator[LinkControl]:
    control = await api.aconnect(LinkControl, address, name=CONTROL_OBJECT)
    try:
        yield control
    finally:
        await api.aclose(control)


def agreed_leader(statuses: Sequence[NodeStatus], size: int) -> NodeStatus | None:
    """Return the status of the leader that a majority of `size` nodes follows in its own term."""
    for candidate in statuses:
        if candidate.role != "leader":
            continue
        agreeing = [
            status
            for status in statuses
            if (status.leader, status.current_term) == (candidate.node_id, candidate.current_term)
        ]
        if len(agreeing) > size // 2:
            return candidate
    return None


def free_addresses(count: int) -> list[str]:
    """Return addresses on loopback whose ports are free now: each was bound a moment ago."""
    addresses: list[str] = []
    # Not from a seed: two clusters with one seed run side by side.
    for port in random_module.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # somebody has it
        addresses.append(f"127.0.0.1:{port}")
        if len(addresses) == count:
            return addresses
    raise ConfigurationError(f"there are no {count} free ports on this machine")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return lines[-1] if lines else "it said nothing"
