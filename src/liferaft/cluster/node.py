"""One node's life: from its data directory to a server that answers, and back.

The node makes the parts and ties them together; what they do, they do. Everything undetermined
comes in from outside: the network, the disk, the randomness and the wall clock; the monotonic
clock is the running loop's. So a whole cluster of them runs in the simulator as it is.
"""

import asyncio
import logging
import random as random_module
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from liferaft.cluster.admin import ADMIN_OBJECT, NodeAdmin, NodeStatus, StateDigest
from liferaft.cluster.administration import Admin
from liferaft.cluster.config import NodeConfig, checked
from liferaft.cluster.driver import Driver, Observer, StateMachine
from liferaft.cluster.envelope import LEVEL, Introduction
from liferaft.cluster.introductions import Introductions
from liferaft.cluster.peers import PEER_OBJECT, Mailbox, Peers, RaftPeer
from liferaft.cluster.snapshot_source import (
    SNAPSHOT_OBJECT,
    Reach,
    SnapshotShelf,
    SnapshotSource,
)
from liferaft.cluster.snapshotting import Position, Snapshots
from liferaft.errors import (
    ConfigurationError,
    DataDirectoryError,
    DiskFull,
    LiferaftError,
    Removed,
    StorageError,
    StubClosed,
)
from liferaft.link.address import parse_address
from liferaft.link.base import Network
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import ConfigurationChanged
from liferaft.raft.events import Event, Received
from liferaft.raft.log import LogSummary
from liferaft.raft.messages import Message
from liferaft.raft.types import Configuration, NodeId, Snapshot
from liferaft.rpc.access import Tokens, read_token
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.directory import host_directory
from liferaft.rpc.dispatch import Dispatcher
from liferaft.rpc.interface import Interface
from liferaft.rpc.server import Server
from liferaft.storage.directory import Directory, Identity, open_directory
from liferaft.storage.disk import Disk
from liferaft.storage.recovery import Recovered
from liferaft.storage.snapshots import SnapshotStore, open_snapshots
from liferaft.storage.wal import WriteAheadLog

_log = logging.getLogger("liferaft.cluster")


class InspectableStateMachine(StateMachine, Protocol):
    """A state machine whose replicas can be compared."""

    def digest(self) -> str:
        """Return the digest of the whole state."""

    def encoded_state(self, name: str) -> bytes:
        """Return the state of one object as bytes; raises `NoSuchObject`."""


DispatcherMaker = Callable[[Driver, Mapping[NodeId, str]], Mapping[str, Dispatcher]]
"""Makes what answers the clients' calls, by the names of the objects; it sees all addresses."""


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
        self._addresses = dict(config.peers)
        self._directory: Directory | None = None
        self._introductions = Introductions(config.node_id, Introduction())
        self._shelf: SnapshotShelf | None = None
        self._wal: WriteAheadLog | None = None
        self._driver: Driver | None = None
        self._peers: Peers | None = None
        self._server: Server | None = None
        self._failure: asyncio.Future[LiferaftError] = asyncio.get_running_loop().create_future()

    @property
    def driver(self) -> Driver:
        """The running driver; raises `StubClosed` when the node does not run."""
        if self._driver is None:
            raise StubClosed(f"node {self.config.node_id} is not running")
        return self._driver

    @property
    def shelf(self) -> SnapshotShelf:
        """The node's snapshots, for who reads them; raises `StubClosed` as `driver` does."""
        if self._shelf is None:
            raise StubClosed(f"node {self.config.node_id} is not running")
        return self._shelf

    @property
    def is_running(self) -> bool:
        """Whether the node takes part: it has recovered, and was not stopped."""
        return self._driver is not None

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
        own = Introduction(
            self._directory.disk_id, self._level, address=config.peers[config.node_id]
        )
        self._introductions = Introductions(config.node_id, own)
        store = await open_snapshots(self._disk, config.data, config.cluster_id)
        self._wal, recovered = await WriteAheadLog.open(
            self._disk,
            config.data,
            base=store.base,
            segment_bytes=config.segment_bytes,
            on_blocked=self._blocked,
        )
        if recovered.torn is not None:
            _log.warning("node %s cut a torn tail off its log: %s", config.node_id, recovered.torn)
        core = self._make_core(self._directory.configuration, recovered, store.newest)
        await self._restore(store)
        self._addresses.update(core.configuration.addresses)
        self._introductions.learn(core.configuration)
        self._check_level(core.configuration)
        self._peers = Peers(
            config.cluster_id,
            {node: at for node, at in self._addresses.items() if node != config.node_id},
            network=self._network,
            random=self._random,
            introductions=self._introductions,
            token=read_token(config.token) if config.token else "",
        )
        self._driver = Driver(
            core=core,
            log=self._wal,
            machine=self._machine,
            deliver=self._peers.deliver,
            snapshots=partial(self._snapshots, store, self._peers.reach_snapshots),
            on_failure=self._fail,
            on_configuration=self._configuration_changed,
            observer=self._observer,
        )
        await self._listen(self._driver, SnapshotShelf(store, config.cluster_id))
        self._peers.start()
        self._driver.start()

    def _make_core(
        self, first: Configuration, recovered: Recovered, snapshot: Snapshot | None
    ) -> RaftCore:
        log = LogSummary(
            first=recovered.first,
            last=recovered.last,
            runs=recovered.runs,
            tail=recovered.tail,
            prior_term=recovered.prior_term,
            configurations=recovered.configurations,
        )
        return RaftCore(
            self.config.node_id,
            self.config.raft,
            first,
            recovered.hard_state,
            log,
            snapshot=snapshot,
            now=asyncio.get_running_loop().time(),
            random=self._random,
        )

    async def _restore(self, store: SnapshotStore) -> None:
        """Begin with the state of the newest snapshot."""
        if store.newest is not None:
            state = store.state(store.newest)
            prepared = await self._disk.run(partial(self._machine.prepare, state))
            prepared.install()

    def _snapshots(
        self,
        store: SnapshotStore,
        reach: Reach,
        post: Callable[[Event], None],
        position: Callable[[], Position],
    ) -> Snapshots:
        config = self.config
        return Snapshots(
            store,
            self._machine,
            disk=self._disk,
            cluster_id=config.cluster_id,
            policy=config.snapshots,
            reach=reach,
            post=post,
            position=position,
        )

    async def _listen(self, driver: Driver, shelf: SnapshotShelf) -> None:
        self._server = Server(
            parse_address(self.config.address),
            network=self._network,
            random=self._random,
            tokens=Tokens.from_file(self.config.tokens) if self.config.tokens else None,
        )
        mailbox = Mailbox(self.config.cluster_id, self.config.node_id, self)
        host_directory(self._server)
        self._server.host(PEER_OBJECT, ObjectDispatcher(mailbox, Interface.of(RaftPeer), threads=0))
        self._shelf = shelf
        source = ObjectDispatcher(shelf, Interface.of(SnapshotSource))
        self._server.host(SNAPSHOT_OBJECT, source)
        admin = Admin(self)
        self._server.host(ADMIN_OBJECT, ObjectDispatcher(admin, Interface.of(NodeAdmin)))
        for name, dispatcher in self._dispatchers(driver, self._addresses).items():
            self._server.host(name, dispatcher)
        await self._server.start()

    async def stop(self) -> None:
        """End the node, and leave nothing behind: no task, no timer, no socket, no open file."""
        await self._introductions.stop()
        if self._driver is not None:
            await self._driver.stop()
            self._driver = None
        if self._server is not None:
            await self._server.stop()
        if self._peers is not None:
            await self._peers.stop()
        if self._wal is not None:
            await self._wal.close()
        if self._directory is not None:
            self._directory.close()
        if not self._failure.done():
            self._failure.cancel()

    async def wait_failed(self) -> LiferaftError:
        """Wait until the node cannot go on, and return why; it must still be stopped.

        Raises `asyncio.CancelledError` when the node is stopped instead.
        """
        return await asyncio.shield(self._failure)

    @property
    def failure(self) -> LiferaftError | None:
        """Why the node cannot go on, None while it can."""
        failure = self._failure
        return failure.result() if failure.done() and not failure.cancelled() else None

    def status(self) -> NodeStatus:
        """Return who leads, and how far this node is."""
        driver = self.driver
        core = driver.core
        return NodeStatus(
            node_id=self.config.node_id,
            cluster_id=self.config.cluster_id,
            role=core.role,
            current_term=core.current_term,
            leader=core.leader,
            commit_index=core.commit_index,
            applied_index=driver.applied_index,
            last_index=core.last_index,
        )

    @property
    def addresses(self) -> Mapping[NodeId, str]:
        """Where each node that this one knows of is reached; it changes with the members."""
        return self._addresses

    def _configuration_changed(self, effect: ConfigurationChanged) -> None:
        configuration = effect.configuration
        self._addresses.update(configuration.addresses)
        self._introductions.learn(configuration)
        try:
            self._check_level(configuration)
        except ConfigurationError as error:
            self._fail(error)
        if self._peers is not None:
            own = self.config.node_id
            self._peers.reach({n: at for n, at in configuration.addresses if n != own})
        if effect.is_committed and self.config.node_id in configuration.retired:
            self._fail(
                Removed(
                    f"node {self.config.node_id} was removed from cluster {self.config.cluster_id}:"
                    f" its name cannot be used again, and {self.config.data} is no longer needed"
                )
            )

    def _check_level(self, configuration: Configuration) -> None:
        if configuration.level > self._level:
            raise ConfigurationError(
                f"cluster {self.config.cluster_id} uses what came with level {configuration.level},"
                f" and this program is of level {self._level}: start node {self.config.node_id}"
                " with a newer liferaft, as the other nodes are"
            )

    def digest(self) -> StateDigest:
        """Return the digest of the state machine as it is now."""
        return StateDigest(self.driver.applied_index, self._machine.digest())

    def encoded_state(self, name: str) -> bytes:
        """Return the state of one object as it is on this node."""
        return self._machine.encoded_state(name)

    def receive(self, messages: Sequence[Message], source: Introduction) -> None:
        """Take messages of a peer, unless another disk than that peer's sent them."""
        peer, known = messages[0].source, self._introductions
        if self._driver is None or known.is_stranger(peer, source.disk_id):
            return
        known.heard(peer, source, self._driver)
        if source.address and peer not in self._addresses:
            self._meet(peer, source.address)
        for message in messages:
            self._driver.post(Received(message))

    def _meet(self, node_id: NodeId, address: str) -> None:
        """Know where a node is that the log has not told of yet; what the log tells goes before."""
        if self._peers is not None and self._peers.meet(node_id, address):
            self._addresses[node_id] = address

    def is_taken_for(self, disk_id: str) -> bool:
        """Return whether this node is the one on that disk; it ends if not."""
        if self._introductions.own.disk_id in ("", disk_id):
            return True
        node_id, cluster_id = self.config.node_id, self.config.cluster_id
        self._fail(
            DataDirectoryError(
                f"{self.config.data} is not the disk on which node {node_id} of cluster"
                f" {cluster_id} gave its votes and kept its log: put that back, or move this one"
                " away and let the node join under a new name (`liferaft member replace`)"
            )
        )
        return False

    def _blocked(self, reason: DiskFull | None) -> None:
        if reason is None:
            _log.warning("node %s: there is space again, and writes go on", self.config.node_id)
        else:
            _log.error("node %s: %s", self.config.node_id, reason)

    def _fail(self, error: LiferaftError) -> None:
        # Where the disk is to blame the sentence says it all; a traceback means a fault of ours.
        shown = None if isinstance(error, StorageError | Removed) else error
        _log.critical("node %s ends: %s", self.config.node_id, error, exc_info=shown)
        if not self._failure.done():
            self._failure.set_result(error)
