"""One node's life: from its data directory to a server that answers, and back.

The node makes the parts and ties them together; what they do, they do. Everything undetermined
comes in from outside: the network, the disk, the randomness and the wall clock; the monotonic
clock is the running loop's. So a whole cluster of them runs in the simulator as it is.
"""

import logging
import random as random_module
import time
from collections.abc import Callable, Mapping

from liferaft.cluster.admin import ADMIN_OBJECT, NodeAdmin, NodeStatus, StateDigest
from liferaft.cluster.administration import Admin
from liferaft.cluster.config import NodeConfig, checked
from liferaft.cluster.divergence import COMPARISON_OBJECT, ReplicaComparison
from liferaft.cluster.driver import Driver, Observer
from liferaft.cluster.ending import Ending
from liferaft.cluster.envelope import LEVEL, Introduction
from liferaft.cluster.member import DispatcherMaker, InspectableStateMachine, Member
from liferaft.cluster.peers import PEER_OBJECT, Mailbox, Peers, RaftPeer
from liferaft.cluster.snapshot_source import SNAPSHOT_OBJECT, SnapshotShelf, SnapshotSource
from liferaft.errors import (
    LiferaftError,
    StubClosed,
)
from liferaft.link.address import parse_address
from liferaft.link.base import Network
from liferaft.raft.types import NodeId
from liferaft.rpc.access import Tokens, read_token
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.directory import host_directory
from liferaft.rpc.interface import Interface
from liferaft.rpc.server import Server
from liferaft.storage.directory import Directory, Identity, open_directory
from liferaft.storage.disk import Disk
from liferaft.storage.snapshots import open_snapshots
from liferaft.storage.wal import WriteAheadLog

_log = logging.getLogger("liferaft.cluster")


class Node:
    """A member of a cluster. Started once, stopped once.

    `level` is what it says that it can do; another than the program's own is for tests.
    """

    def __init__(
        self,
        config: NodeConfig,
        machine: InspectableStateMachine,
        *,
        dispatchers: DispatcherMaker,
        network: Network,
        disk: Disk,
        random: random_module.Random,
        observer: Observer | None = None,
        work_clock: Callable[[], float] = time.perf_counter,
        level: int = LEVEL,
    ) -> None:
        self.config = checked(config)
        self._level = level
        self._machine = machine
        self._dispatchers = dispatchers
        self._network = network
        self._disk = disk
        self._random = random
        self._observer = observer
        self._work_clock = work_clock
        self._directory: Directory | None = None
        self._member: Member | None = None
        self._wal: WriteAheadLog | None = None
        self._peers: Peers | None = None
        self._server: Server | None = None
        self._ending = Ending(config.node_id)

    @property
    def member(self) -> Member:
        """Its part in the cluster; raises `StubClosed` when the node does not run."""
        if self._member is None:
            raise StubClosed(f"node {self.config.node_id} is not running")
        return self._member

    @property
    def driver(self) -> Driver:
        """The running driver; raises `StubClosed` when the node does not run."""
        return self.member.driver

    @property
    def shelf(self) -> SnapshotShelf:
        """The node's snapshots, for who reads them; raises `StubClosed` as `driver` does."""
        return self.member.shelf

    @property
    def is_running(self) -> bool:
        """Whether the node takes part: it has recovered, and was not stopped."""
        return self._member is not None and self._member.is_running

    async def start(self) -> None:
        """Recover from disk, begin to listen, and take part.

        Raises `DataDirectoryError` or `DamagedLog` when the data directory cannot be used, and
        `AddressError` when the node cannot listen. What was begun is undone.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config = self.config
        identity = Identity(cluster_id=config.cluster_id, node_id=config.node_id)
        self._directory = await open_directory(
            self._disk,
            config.data,
            identity,
            config.configuration,
            disk_id=f"{self._random.getrandbits(128):032x}",
        )
        store = await open_snapshots(self._disk, config.data, config.cluster_id)
        self._wal, recovered = await WriteAheadLog.open(
            self._disk,
            config.data,
            base=store.base,
            segment_bytes=config.segment_bytes,
            on_blocked=self._ending.blocked,
        )
        if recovered.torn is not None:
            _log.warning("node %s cut a torn tail off its log: %s", config.node_id, recovered.torn)
        member = self._make_member(self._directory.disk_id)
        await member.recover(self._directory.configuration, self._wal, recovered, store)
        self._peers = Peers(
            config.cluster_id,
            {node: at for node, at in member.addresses.items() if node != config.node_id},
            network=self._network,
            random=self._random,
            introductions=member.introductions,
            token=read_token(config.token) if config.token else "",
        )
        driver = member.connect(self._peers, reach_replica=self._peers.reach_replica)
        self._member = member
        await self._listen(member, driver)
        self._peers.start()
        member.start()

    def _make_member(self, disk_id: str) -> Member:
        config = self.config
        return Member(
            config,
            self._machine,
            Introduction(disk_id, self._level, address=config.peers[config.node_id]),
            disk=self._disk,
            random=self._random,
            on_failure=self._ending.fail,
            observer=self._observer,
            work_clock=self._work_clock,
        )

    async def _listen(self, member: Member, driver: Driver) -> None:
        self._server = Server(
            parse_address(self.config.address),
            network=self._network,
            random=self._random,
            tokens=Tokens.from_file(self.config.tokens) if self.config.tokens else None,
        )
        mailbox = Mailbox(self.config.cluster_id, self.config.node_id, member)
        host_directory(self._server)
        self._server.host(PEER_OBJECT, ObjectDispatcher(mailbox, Interface.of(RaftPeer), threads=0))
        source = ObjectDispatcher(member.shelf, Interface.of(SnapshotSource))
        self._server.host(SNAPSHOT_OBJECT, source)
        comparison = ObjectDispatcher(member.comparison, Interface.of(ReplicaComparison))
        self._server.host(COMPARISON_OBJECT, comparison)
        admin = Admin(member)
        self._server.host(ADMIN_OBJECT, ObjectDispatcher(admin, Interface.of(NodeAdmin)))
        for name, dispatcher in self._dispatchers(driver, member.addresses).items():
            self._server.host(name, dispatcher)
        await self._server.start()

    async def hand_over(self) -> None:
        """Let another node lead, if this one does; see `Member.hand_over`."""
        if self._member is not None:
            await self._member.hand_over()

    async def stop(self) -> None:
        """End the node, and leave nothing behind: no task, no timer, no socket, no open file."""
        if self._member is not None:
            await self._member.stop()
        if self._server is not None:
            await self._server.stop()
        if self._peers is not None:
            await self._peers.stop()
        if self._wal is not None:
            await self._wal.close()
        if self._directory is not None:
            self._directory.close()
        self._ending.stopped()

    async def wait_failed(self) -> LiferaftError:
        """Wait until the node cannot go on, and return why; it must still be stopped.

        Raises `asyncio.CancelledError` when the node is stopped instead.
        """
        return await self._ending.wait_failed()

    @property
    def failure(self) -> LiferaftError | None:
        """Why the node cannot go on, None while it can."""
        return self._ending.failure

    def status(self) -> NodeStatus:
        """Return who leads, and how far this node is."""
        return self.member.status()

    @property
    def addresses(self) -> Mapping[NodeId, str]:
        """Where each node that this one knows of is reached; it changes with the members."""
        return self.member.addresses

    def digest(self) -> StateDigest:
        """Return the digest of the state machine as it is now."""
        return self.member.digest()
