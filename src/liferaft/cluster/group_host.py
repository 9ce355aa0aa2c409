"""One node's life with many Raft groups: shared links, one shared log, one beat for all of them.

Each group is a Raft of its own, with its own leader, members and state machine: a `Member`. What
they share is what would otherwise be paid for each: the connections, the syncs of the disk, and the
heartbeats. A group that is not used falls silent and costs nothing but memory.

Objects are hosted as `group/object`, what an operator asks of a group as `_node/group`. Every group
begins with the members that the node's directory was made with; one that was removed from the node
never comes back to it.
"""

import asyncio
import logging
import random as random_module
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Final

from msgspec.structs import replace

from liferaft.cluster.admin import ADMIN_OBJECT, NodeAdmin
from liferaft.cluster.administration import Admin, GroupsAdmin
from liferaft.cluster.campaigns import AT_ONCE, Campaigns
from liferaft.cluster.config import NodeConfig, checked
from liferaft.cluster.driver import Observer
from liferaft.cluster.ending import Ending
from liferaft.cluster.envelope import LEVEL, Introduction
from liferaft.cluster.exchange import (
    GROUPS_OBJECT,
    Exchange,
    GroupsPeer,
    GroupTransport,
)
from liferaft.cluster.group_admin import GROUP_ADMIN_OBJECT, GroupAdmin, GroupStatus
from liferaft.cluster.group_rest import REST_AFTER, GroupRest
from liferaft.cluster.hosted_group import HostedGroup, HostedGroups, Shelves, checked_name
from liferaft.cluster.member import DispatcherMaker, InspectableStateMachine, Member
from liferaft.cluster.snapshot_source import SNAPSHOT_OBJECT, SnapshotSource
from liferaft.errors import (
    ConfigurationError,
    LiferaftError,
    NoSuchObject,
    Removed,
    StorageError,
)
from liferaft.link.address import parse_address
from liferaft.link.base import Network
from liferaft.raft.config import HEARTBEATS_PER_ELECTION_TIMEOUT_MIN
from liferaft.raft.types import HardState
from liferaft.rpc.access import Tokens, read_token
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.directory import host_directory
from liferaft.rpc.dispatch import Dispatcher
from liferaft.rpc.interface import Interface
from liferaft.rpc.server import Server
from liferaft.storage.directory import SHARED_LOG, Directory, Identity, open_directory
from liferaft.storage.disk import Disk
from liferaft.storage.group_catalog import GroupCatalog
from liferaft.storage.recovery import Recovered
from liferaft.storage.shared_log import SharedLog
from liferaft.storage.snapshots import SnapshotStore, open_snapshots, remove_snapshots

_log = logging.getLogger("liferaft.cluster")

_GROUPS: Final = "groups"

_NOTHING: Final = Recovered(HardState(), first=1, last=0, runs=(), tail=(), torn=None)
"""What the log holds of a group that is new."""


GroupParts = Callable[[str], tuple[InspectableStateMachine, DispatcherMaker]]
"""Makes a group's state machine, in its first state, and what answers its clients, by its name.

The objects are named GROUP/NAME, or they could not be told from those of other groups.
"""

GroupObserver = Callable[[str], Observer]
"""Makes what sees every turn of a group, by the group's name."""


class GroupHost:
    """A node of many groups. Started once, stopped once; `groups` are hosted from the start.

    A group rests when it was not used for `rest_after` seconds, and as many campaign at a time as
    `campaigns_at_once` says. Another `level` than the program's own is for tests.

    Raises `ConfigurationError` for a name that no group can have.
    """

    def __init__(
        self,
        config: NodeConfig,
        groups: Iterable[str],
        parts: GroupParts,
        *,
        network: Network,
        disk: Disk,
        random: random_module.Random,
        observer: GroupObserver | None = None,
        rest_after: float = REST_AFTER,
        work_clock: Callable[[], float] = time.perf_counter,
        campaigns_at_once: int = AT_ONCE,
        level: int = LEVEL,
    ) -> None:
        self.config: Final = checked(config)
        self.groups: Final[dict[str, HostedGroup]] = {}
        self._first_groups = tuple(checked_name(group) for group in groups)
        self._parts = parts
        self._network = network
        self._disk = disk
        self._random = random
        self._observer = observer
        self._rest_after = rest_after
        self._work_clock = work_clock
        self._level = level
        self._directory: Directory | None = None
        self._log: SharedLog | None = None
        self._campaigns = Campaigns(config.raft.election_timeout, at_once=campaigns_at_once)
        self._catalog: GroupCatalog | None = None
        self._changing = asyncio.Lock()
        self._is_stopped = False
        self._recovered: dict[str, Recovered] = {}
        self._exchange: Exchange | None = None
        self._server: Server | None = None
        self._has_recovered = False
        self._removals: set[asyncio.Task[None]] = set()
        self._ending = Ending(config.node_id)

    # Its life.

    async def start(self) -> None:
        """Recover from disk, begin to listen, and take part in all groups.

        Raises as `Node.start` does. What was begun is undone.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        config = self.config
        self._directory = await open_directory(
            self._disk,
            config.data,
            Identity(cluster_id=config.cluster_id, node_id=config.node_id),
            config.configuration,
            disk_id=f"{self._random.getrandbits(128):032x}",
        )
        self._catalog = await GroupCatalog.open(self._disk, config.data)
        groups = self._catalog.hosted(self._first_groups)
        stores = {group: await self._open_store(group) for group in groups}
        self._log, recovered = await SharedLog.open(
            self._disk,
            f"{config.data}/{SHARED_LOG}",
            bases={group: store.base for group, store in stores.items()},
            segment_bytes=config.segment_bytes,
            on_blocked=self._ending.blocked,
        )
        self._recovered.update(recovered)
        self._log.start(on_failure=self._ending.fail)
        for group in self._catalog.removed:
            await self._forget(group)
        self._exchange = self._make_exchange(self._directory.disk_id)
        for group, store in stores.items():
            await self._take_up(group, store)
        self._has_recovered = True
        await self._listen()
        self._exchange.start()
        for hosted in self.groups.values():
            hosted.member.start()

    def _open_store(self, group: str) -> Coroutine[None, None, SnapshotStore]:
        config = self._group_config(group)
        return open_snapshots(self._disk, config.data, config.cluster_id)

    def _group_config(self, group: str) -> NodeConfig:
        config = self.config
        # Beats say who lives: a group's own heartbeats need only repeat what was lost.
        heartbeat_interval = config.raft.election_timeout / HEARTBEATS_PER_ELECTION_TIMEOUT_MIN
        return replace(
            config,
            cluster_id=f"{config.cluster_id}/{group}",
            raft=replace(config.raft, heartbeat_interval=heartbeat_interval),
            data=f"{config.data}/{_GROUPS}/{group}",
        )

    def _make_exchange(self, disk_id: str) -> Exchange:
        config = self.config
        return Exchange(
            config.cluster_id,
            Introduction(disk_id, self._level, address=config.peers[config.node_id]),
            config.node_id,
            {node: at for node, at in config.peers.items() if node != config.node_id},
            HostedGroups(config.node_id, self.groups),
            network=self._network,
            random=self._random,
            interval=config.raft.heartbeat_interval,
            silence_max=config.raft.election_timeout,
            token=read_token(config.token) if config.token else "",
        )

    async def _take_up(self, group: str, store: SnapshotStore) -> HostedGroup:
        """Make this node's part in a group of what the disk holds of it, and host its objects."""
        assert self._directory is not None
        assert self._exchange is not None
        assert self._log is not None
        machine, dispatchers = self._parts(group)
        exchange = self._exchange
        member = Member(
            self._group_config(group),
            machine,
            exchange.own,
            disk=self._disk,
            random=self._random,
            on_failure=partial(self._member_failed, group),
            observer=None if self._observer is None else self._observer(group),
            work_clock=self._work_clock,
        )
        recovered = self._recovered.pop(group, _NOTHING)
        await member.recover(
            self._directory.configuration, self._log.group(group), recovered, store
        )
        exchange.reach({n: at for n, at in member.addresses.items() if n != self.config.node_id})
        rest = GroupRest(
            group, exchange, self._campaigns, member.introductions, after=self._rest_after
        )
        hosted = HostedGroup(member, rest, dispatchers)
        driver = member.connect(GroupTransport(group, member.introductions, exchange), rest)
        rest.bind(driver.core)
        self.groups[group] = hosted
        return hosted

    async def _listen(self) -> None:
        self._server = Server(
            parse_address(self.config.address),
            network=self._network,
            random=self._random,
            tokens=Tokens.from_file(self.config.tokens) if self.config.tokens else None,
        )
        host_directory(self._server)
        peer = ObjectDispatcher(self._exchange, Interface.of(GroupsPeer), threads=0)
        self._server.host(GROUPS_OBJECT, peer)
        operations = ObjectDispatcher(GroupsAdmin(self), Interface.of(GroupAdmin))
        self._server.host(GROUP_ADMIN_OBJECT, operations)
        shelves = ObjectDispatcher(Shelves(self.groups), Interface.of(SnapshotSource))
        self._server.host(SNAPSHOT_OBJECT, shelves)
        for group, hosted in self.groups.items():
            self._host(self._server, group, hosted)
        await self._server.start()

    def _host(self, server: Server, group: str, hosted: HostedGroup) -> None:
        member = hosted.member
        admin = ObjectDispatcher(Admin(member), Interface.of(NodeAdmin))
        dispatchers: dict[str, Dispatcher] = {f"{ADMIN_OBJECT}/{group}": admin}
        dispatchers.update(hosted.dispatchers(member.driver, member.addresses))
        for name, dispatcher in dispatchers.items():
            server.host(name, dispatcher)
        hosted.objects = tuple(dispatchers)

    async def add(self, group: str) -> None:
        """Host one more group from now on, which the other nodes are to add, too.

        Raises `ConfigurationError` for one that is hosted already, has no name, was removed here,
        or cannot be made, and `DiskFailed`.
        """
        async with self._changing:
            assert self._catalog is not None
            assert self._server is not None
            if self._is_stopped:
                raise ConfigurationError(f"node {self.config.node_id} is being stopped")
            if checked_name(group) in self.groups:
                raise ConfigurationError(f"group {group!r} is hosted here already")
            if group in self._catalog.removed:
                raise ConfigurationError(
                    f"group {group!r} was removed from node {self.config.node_id}, which has"
                    " forgotten what it promised in it: choose another name"
                )
            await self._catalog.add(group)
            try:
                hosted = await self._take_up(group, await self._open_store(group))
            except BaseException:
                await self._catalog.withdraw(group)  # or the node could not start again
                raise
            self._host(self._server, group, hosted)
            hosted.member.start()

    def statuses(self) -> list[GroupStatus]:
        """Return how each group is, in the order in which they were added."""
        return [
            hosted.status(group)
            for group, hosted in self.groups.items()
            if hosted.member.is_running
        ]

    async def remove(self, group: str) -> None:
        """Host a group never again, and forget what this node has of it.

        Raises `NoSuchObject` for one that is not here, and `DiskFailed`.
        """
        if not await self._remove(group):
            raise NoSuchObject(f"group {group!r} is not hosted here")

    async def _remove(self, group: str) -> bool:
        """Return whether it was here."""
        async with self._changing:
            if self._is_stopped or group not in self.groups:
                return False
            assert self._catalog is not None
            # First of all: who has forgotten its votes must not be there again after a crash.
            await self._catalog.remove(group)
            hosted = self.groups.pop(group)
            if self._server is not None:
                for name in hosted.objects:
                    self._server.dispatchers.pop(name)
            await hosted.stop()
            await self._forget(group)
            return True

    async def _forget(self, group: str) -> None:
        """Leave nothing of a group that was removed."""
        assert self._log is not None
        self._recovered.pop(group, None)
        self._log.remove(group)
        await remove_snapshots(self._disk, self._group_config(group).data)

    async def hand_over(self) -> None:
        """Let other nodes lead the groups that this one leads; see `Member.hand_over`."""
        await asyncio.gather(*(hosted.member.hand_over() for hosted in self.groups.values()))

    async def stop(self) -> None:
        """End all groups, and leave nothing behind."""
        async with self._changing:  # a group that is being added or removed is so, first
            self._is_stopped = True
        for hosted in self.groups.values():
            await hosted.stop()
        if self._server is not None:
            await self._server.stop()
        if self._exchange is not None:
            await self._exchange.stop()
        await asyncio.gather(*self._removals)
        if self._log is not None:
            await self._log.close()
        if self._directory is not None:
            self._directory.close()
        self._ending.stopped()

    @property
    def is_running(self) -> bool:
        """Whether it takes part: it has recovered, and was not stopped."""
        members = [hosted.member for hosted in self.groups.values()]
        return self._has_recovered and bool(members) and all(each.is_running for each in members)

    async def wait_failed(self) -> LiferaftError:
        """Wait until the node cannot go on, and return why; it must still be stopped.

        Raises `asyncio.CancelledError` when the node is stopped instead.
        """
        return await self._ending.wait_failed()

    @property
    def failure(self) -> LiferaftError | None:
        """Why the node cannot go on, None while it can."""
        return self._ending.failure

    # When something ends.

    def _member_failed(self, group: str, error: LiferaftError) -> None:
        """Let one group go that this node was removed from; whatever else fails ends the node."""
        if not isinstance(error, Removed):
            self._ending.fail(error)
            return
        _log.warning("%s", error)
        task = asyncio.get_running_loop().create_task(self._remove_or_end(group))
        self._removals.add(task)
        task.add_done_callback(self._removals.discard)

    async def _remove_or_end(self, group: str) -> None:
        try:
            await self._remove(group)
        except StorageError as error:
            self._ending.fail(error)
