"""A node that hosts replicated objects: a cluster's node and the state machine of their classes."""

import random as random_module
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from liferaft.cluster.campaigns import AT_ONCE
from liferaft.cluster.config import NodeConfig
from liferaft.cluster.driver import Driver, Observer
from liferaft.cluster.envelope import LEVEL
from liferaft.cluster.group_host import GroupHost, GroupObserver
from liferaft.cluster.group_rest import REST_AFTER
from liferaft.cluster.member import DispatcherMaker, InspectableStateMachine
from liferaft.cluster.node import Node
from liferaft.cluster.reads import ReadKind
from liferaft.link.base import Network
from liferaft.raft.types import NodeId
from liferaft.replicated.admission import WAIT_MIN, Admission
from liferaft.replicated.host import ReplicatedDispatcher
from liferaft.replicated.machine import ReplicatedMachine
from liferaft.replicated.views import READ_ONLY_VIEWS, ReadOnlyDispatcher
from liferaft.rpc.dispatch import Dispatcher
from liferaft.rpc.views import View
from liferaft.storage.disk import Disk


def replicated_node(
    config: NodeConfig,
    objects: Mapping[str, object],
    *,
    network: Network,
    disk: Disk,
    random: random_module.Random,
    wall_clock: Callable[[], float] = time.time,
    observer: Observer | None = None,
    work_clock: Callable[[], float] = time.perf_counter,
    level: int = LEVEL,
) -> Node:
    """Return a node, not started yet, that hosts `objects` by their names.

    Each object must be in its first state, the same on every node: what happened since comes from
    the log. Another `level` than the program's own is for tests.

    Raises `InterfaceError` for a class whose methods cannot be commands, and `ConfigurationError`
    for one whose state cannot be encoded.
    """
    machine = ReplicatedMachine(objects)
    return Node(
        config,
        machine,
        dispatchers=partial(
            _dispatchers,
            machine=machine,
            random=random,
            wall_clock=wall_clock,
            admission=_admission(config),
        ),
        network=network,
        disk=disk,
        random=random,
        observer=observer,
        work_clock=work_clock,
        level=level,
    )


def replicated_groups(
    config: NodeConfig,
    groups: Iterable[str],
    objects: Callable[[], Mapping[str, object]],
    *,
    network: Network,
    disk: Disk,
    random: random_module.Random,
    wall_clock: Callable[[], float] = time.time,
    observer: GroupObserver | None = None,
    rest_after: float = REST_AFTER,
    work_clock: Callable[[], float] = time.perf_counter,
    campaigns_at_once: int = AT_ONCE,
    level: int = LEVEL,
) -> GroupHost:
    """Return a node of many groups, not started yet; each hosts its own `objects`, as GROUP/NAME.

    `objects` is called for each group in turn. What else it takes and raises is told at
    `replicated_node` and `GroupHost`; it raises when a group is made.
    """

    def parts(group: str) -> tuple[InspectableStateMachine, DispatcherMaker]:
        # Named as clients name them: the log carries the very frames of the clients.
        machine = ReplicatedMachine({f"{group}/{name}": each for name, each in objects().items()})
        # Of its own: a group that cannot commit must not keep the commands of the others out.
        admission = _admission(config)
        return machine, partial(
            _dispatchers,
            machine=machine,
            random=random,
            wall_clock=wall_clock,
            admission=admission,
        )

    return GroupHost(
        config,
        groups,
        parts,
        network=network,
        disk=disk,
        random=random,
        observer=observer,
        rest_after=rest_after,
        work_clock=work_clock,
        campaigns_at_once=campaigns_at_once,
        level=level,
    )


def _admission(config: NodeConfig) -> Admission:
    return Admission(
        wait_max=config.wait_max or max(WAIT_MIN, config.raft.election_timeout),
        queue_bytes_max=config.raft.uncommitted_bytes_max,
    )


def _dispatchers(
    driver: Driver,
    addresses: Mapping[NodeId, str],
    *,
    machine: ReplicatedMachine,
    random: random_module.Random,
    wall_clock: Callable[[], float],
    admission: Admission,
) -> Mapping[str, Dispatcher]:
    dispatchers: dict[str, Dispatcher] = {}
    for name, hosted in machine.objects.items():
        for suffix, reads in (("", ReadKind.QUORUM), (View.LEASE.value, ReadKind.LEASE)):
            dispatchers[name + suffix] = ReplicatedDispatcher(
                name,
                machine=machine,
                driver=driver,
                addresses=addresses,
                wall_clock=wall_clock,
                random=random,
                admission=admission,
                reads=reads,
            )
        for view in READ_ONLY_VIEWS:
            dispatchers[name + view.value] = ReadOnlyDispatcher(hosted, view, driver)
    return dispatchers
