"""One node's part in one Raft group: its core, its state machine, and what belongs to both.

It makes the parts and ties them together; what they do, they do. Where the group's log lies, over
which links its messages travel and where calls come in is the business of who hosts it.
"""

import asyncio
import contextlib
import math
import random as random_module
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from liferaft.cluster.admin import NodeStatistics, NodeStatus, StateDigest
from liferaft.cluster.config import NodeConfig
from liferaft.cluster.divergence import ComparedMachine, Comparison
from liferaft.cluster.divergence import Reach as ReachReplica
from liferaft.cluster.driver import Driver, Log, Observer, Rest, StateMachine
from liferaft.cluster.envelope import Introduction
from liferaft.cluster.introductions import Introductions
from liferaft.cluster.snapshot_source import Reach, SnapshotShelf
from liferaft.cluster.snapshotting import Position, Snapshots
from liferaft.errors import (
    ChangeRefused,
    ConfigurationError,
    DataDirectoryError,
    LiferaftError,
    OutcomeUnknown,
    Removed,
    StubClosed,
)
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import ConfigurationChanged
from liferaft.raft.events import Event, Received
from liferaft.raft.log import LogSummary
from liferaft.raft.messages import Message
from liferaft.raft.types import Configuration, NodeId, Snapshot
from liferaft.rpc.dispatch import Dispatcher
from liferaft.storage.disk import Disk
from liferaft.storage.recovery import Recovered
from liferaft.storage.snapshots import SnapshotStore

DispatcherMaker = Callable[[Driver, Mapping[NodeId, str]], Mapping[str, Dispatcher]]
"""Makes what answers the clients' calls, by the names of the objects; it sees all addresses."""


class InspectableStateMachine(StateMachine, ComparedMachine, Protocol):
    """A state machine whose replicas can be compared."""

    def digest(self) -> str:
        """Return the digest of the whole state."""

    def encoded_state(self, name: str) -> bytes:
        """Return the state of one object as bytes; raises `NoSuchObject`."""


class Transport(Protocol):
    """How a group's messages reach the other members."""

    @property
    def deliver(self) -> Callable[[NodeId, tuple[Message, ...]], None]:
        """Send messages to a node, or lose them; never blocks."""

    @property
    def reach(self) -> Callable[[Mapping[NodeId, str]], None]:
        """Reach these nodes at these addresses from now on."""

    @property
    def meet(self) -> Callable[[NodeId, str], bool]:
        """Reach a node that says where it is, unless it is known; return whether it is new."""

    @property
    def reach_snapshots(self) -> Reach:
        """Connect to a node's snapshots of this group."""


class Member:
    """A member of a group; `recover`, `connect` and `start` it in this order, once each.

    `own` is what the node says of itself. `on_failure` learns why this member cannot go on; it must
    still be stopped.
    """

    def __init__(
        self,
        config: NodeConfig,
        machine: InspectableStateMachine,
        own: Introduction,
        *,
        disk: Disk,
        random: random_module.Random,
        on_failure: Callable[[LiferaftError], None],
        observer: Observer | None = None,
        work_clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.config: Final = config
        self.introductions: Final = Introductions(config.node_id, own)
        self._machine = machine
        self._disk = disk
        self._random = random
        self._fail = on_failure
        self._observer = observer
        self._work_clock = work_clock
        self._addresses = dict(config.peers)
        self._recovered: tuple[RaftCore, Log, SnapshotStore] | None = None
        self._driver: Driver | None = None
        self._comparison: Comparison | None = None
        self._transport: Transport | None = None

    # Its life.

    async def recover(
        self, first: Configuration, log: Log, recovered: Recovered, store: SnapshotStore
    ) -> None:
        """Take up what the disk holds; `first` counts until log or snapshot have another.

        Raises `ConfigurationError` where this program is too old for the group, and `DamagedLog`
        where a damaged snapshot had what is nowhere else on the disk.
        """
        core = self._make_core(first, recovered, store.newest)
        store.check_reached(core.state.log.has)
        if store.newest is not None:
            state = store.state(store.newest)
            prepared = await self._disk.run(partial(self._machine.prepare, state))
            prepared.install()
        self._addresses.update(core.configuration.addresses)
        self.introductions.learn(core.configuration)
        self._check_level(core.configuration)
        self._recovered = (core, log, store)

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

    def connect(
        self,
        transport: Transport,
        rest: Rest | None = None,
        *,
        reach_replica: ReachReplica | None = None,
    ) -> Driver:
        """Make the driver and return it; `rest` is for groups that may fall silent.

        Without `reach_replica` the states of the replicas are not compared.
        """
        assert self._recovered is not None
        core, log, store = self._recovered
        self._transport = transport
        self._driver = Driver(
            core=core,
            log=log,
            machine=self._machine,
            deliver=transport.deliver,
            snapshots=partial(self._snapshots, store, transport.reach_snapshots),
            on_failure=self._fail,
            on_configuration=self._configuration_changed,
            observer=self._observer,
            rest=rest,
            work_clock=self._work_clock,
        )
        if reach_replica is not None:
            self._comparison = self._make_comparison(self._driver, reach_replica)
        return self._driver

    def _make_comparison(self, driver: Driver, reach: ReachReplica) -> Comparison:
        config = self.config
        return Comparison(
            config.node_id,
            config.cluster_id,
            self._machine,
            interval=config.compare_interval,
            disk=self._disk,
            reach=reach,
            configuration=lambda: driver.core.configuration,
            on_diverged=driver.fail,
        )

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

    def start(self) -> None:
        """Take part."""
        self.driver.start()

    async def hand_over(self) -> None:
        """Let the best of the others lead, if this node does: so nobody has to miss it first.

        Returns when that is so, or after two election timeouts at most.
        """
        driver = self._driver
        if driver is None or driver.core.role != "leader":
            return
        patience = 2 * self.config.raft.election_timeout
        with contextlib.suppress(ChangeRefused, OutcomeUnknown, TimeoutError):
            async with asyncio.timeout(patience):
                await driver.transfer(None)
                # The other may need this one's vote, too.
                await driver.wait_leader(patience)

    async def stop(self) -> None:
        """Take part no more; everyone who waits is sent away."""
        # First of all: while anything else is waited for here, the driver would take more turns, on
        # a disk that may be gone, and let the others begin anew what has just been ended.
        if self._driver is not None:
            await self._driver.stop()
            self._driver = None
        await self.introductions.stop()
        if self._comparison is not None:
            await self._comparison.stop()

    # What others see of it.

    @property
    def driver(self) -> Driver:
        """The running driver; raises `StubClosed` when there is none."""
        if self._driver is None:
            raise StubClosed(f"node {self.config.node_id} is not running")
        return self._driver

    @property
    def is_running(self) -> bool:
        """Whether it takes part, or is about to: it was connected, and not stopped."""
        return self._driver is not None

    @property
    def comparison(self) -> Comparison:
        """What compares its state with the others'; raises `StubClosed` where nothing does."""
        if self._comparison is None:
            raise StubClosed(f"node {self.config.node_id} compares no states")
        return self._comparison

    @property
    def shelf(self) -> SnapshotShelf:
        """The snapshots, for who reads them; raises `StubClosed` before they were found."""
        if self._recovered is None:
            raise StubClosed(f"node {self.config.node_id} is not running")
        return SnapshotShelf(self._recovered[2], self.config.cluster_id)

    @property
    def addresses(self) -> Mapping[NodeId, str]:
        """Where each node that this one knows of is reached; it changes with the members."""
        return self._addresses

    def status(self) -> NodeStatus:
        """Return who leads, and how far this member is."""
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
            compared_index=0 if self._comparison is None else self._comparison.compared_index,
        )

    def statistics(self) -> NodeStatistics:
        """Return what is counted."""
        driver = self.driver
        return NodeStatistics(
            core=driver.core.statistics(),
            reads=dict(driver.reads_answered),
            age=driver.age if math.isfinite(driver.age) else None,
        )

    def digest(self) -> StateDigest:
        """Return the digest of the state machine as it is now."""
        return StateDigest(self.driver.applied_index, self._machine.digest())

    def encoded_state(self, name: str) -> bytes:
        """Return the state of one object as it is on this node."""
        return self._machine.encoded_state(name)

    # What the other members say.

    def receive(self, messages: Sequence[Message], source: Introduction) -> None:
        """Take messages of a peer, unless another disk than that peer's sent them."""
        peer = messages[0].source
        if self._driver is None or not self.introduced(peer, source):
            return
        if source.address and peer not in self._addresses:
            self._meet(peer, source.address)
        for message in messages:
            self._driver.post(Received(message))

    def introduced(self, node_id: NodeId, said: Introduction) -> bool:
        """Learn what a node says of itself; return whether it is the one on its disk."""
        if self._driver is None or self.introductions.is_stranger(node_id, said.disk_id):
            return False
        self.introductions.heard(node_id, said, self._driver)
        return True

    def _meet(self, node_id: NodeId, address: str) -> None:
        """Know where a node is that the log has not told of yet; what the log tells goes before."""
        if self._transport is not None and self._transport.meet(node_id, address):
            self._addresses[node_id] = address

    def is_taken_for(self, disk_id: str) -> bool:
        """Return whether this node is the one on that disk; it ends if not."""
        if self.introductions.own.disk_id in ("", disk_id):
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

    # Who the members are.

    def _configuration_changed(self, effect: ConfigurationChanged) -> None:
        configuration = effect.configuration
        self._addresses.update(configuration.addresses)
        self.introductions.learn(configuration)
        try:
            self._check_level(configuration)
        except ConfigurationError as error:
            self._fail(error)
        if self._transport is not None:
            own = self.config.node_id
            self._transport.reach({n: at for n, at in configuration.addresses if n != own})
        if effect.is_committed and self.config.node_id in configuration.retired:
            self._fail(
                Removed(
                    f"node {self.config.node_id} was removed from cluster {self.config.cluster_id}:"
                    f" its name cannot be used again, and {self.config.data} is no longer needed"
                )
            )

    def _check_level(self, configuration: Configuration) -> None:
        own = self.introductions.own.level
        is_removed = self.config.node_id in configuration.retired
        if configuration.level > own and not is_removed:
            raise ConfigurationError(
                f"cluster {self.config.cluster_id} uses what came with level {configuration.level},"
                f" and this program is of level {own}: start node {self.config.node_id}"
                " with a newer liferaft, as the other nodes are"
            )
