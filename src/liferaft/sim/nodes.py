"""Which nodes a world is made of: each one of one cluster, or each a host of many groups.

The world starts them, strikes them and looks at their parts; what they are made of it leaves to
these makers. A node of one cluster has one part, in a group without a name (`ONLY`).
"""

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Final, Protocol

import msgspec
from msgspec.structs import replace

from liferaft.cluster.campaigns import AT_ONCE
from liferaft.cluster.config import NodeConfig
from liferaft.cluster.group_host import GroupHost, GroupObserver
from liferaft.cluster.group_rest import REST_AFTER, GroupRest
from liferaft.cluster.member import Member
from liferaft.cluster.node import Node
from liferaft.errors import InvariantViolated, LiferaftError
from liferaft.link.base import Network
from liferaft.replicated.node import replicated_groups, replicated_node
from liferaft.storage.disk import Disk

ONLY: Final = ""
"""The group of nodes that have one alone."""

Objects = Callable[[], Mapping[str, object]]
"""Makes what a group hosts, each object in its first state."""


def group_names(count: int) -> tuple[str, ...]:
    """Return the names of so many groups; none stands for nodes without groups."""
    return tuple(f"g{number + 1}" for number in range(count)) or (ONLY,)


def in_group(group: str, name: str) -> str:
    """Return how an object of a group, or a node's part in it, is called."""
    return f"{group}/{name}" if group else name


def of_group(violation: InvariantViolated, group: str) -> InvariantViolated:
    """Return the violation as one that tells in which group it is."""
    return InvariantViolated(f"{violation} (in group {group})") if group else violation


class Life(Protocol):
    """What a node of either kind is to the world: it starts, and ends."""

    async def start(self) -> None:
        """Recover from disk, listen, and take part."""

    async def hand_over(self) -> None:
        """Let others lead what this node leads."""

    async def stop(self) -> None:
        """End, and leave nothing behind."""

    async def wait_failed(self) -> LiferaftError:
        """Wait until the node cannot go on, and return why."""

    @property
    def failure(self) -> LiferaftError | None:
        """Why the node cannot go on, None while it can."""

    @property
    def is_running(self) -> bool:
        """Whether it has come as far as taking part, and was not stopped."""


class Made(msgspec.Struct, frozen=True):
    """A node that was made for one life.

    `parts` and `rests` are by group, as far as there are any now; `objects` by their whole names.
    """

    life: Life
    parts: Callable[[], Mapping[str, Member]]
    rests: Callable[[], Mapping[str, GroupRest]]
    objects: Mapping[str, object]


class NodeMaker(Protocol):
    """Makes the nodes of one world."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that each node takes part in."""

    def make(
        self,
        config: NodeConfig,
        *,
        network: Network,
        disk: Disk,
        random: Random,
        wall_clock: Callable[[], float],
        work_clock: Callable[[], float],
        level: int,
        observer: GroupObserver,
    ) -> Made:
        """Make a node, not started yet, with a program of this level."""


class ClusterMaker:
    """Makes nodes of one cluster."""

    def __init__(self, objects: Objects) -> None:
        self.groups: Final = (ONLY,)
        self._objects = objects

    def make(
        self,
        config: NodeConfig,
        *,
        network: Network,
        disk: Disk,
        random: Random,
        wall_clock: Callable[[], float],
        work_clock: Callable[[], float],
        level: int,
        observer: GroupObserver,
    ) -> Made:
        """Make a node that takes part in the cluster alone."""
        objects = self._objects()
        node = replicated_node(
            config,
            objects,
            network=network,
            disk=disk,
            random=random,
            wall_clock=wall_clock,
            work_clock=work_clock,
            level=level,
            observer=observer(ONLY),
        )
        return Made(node, partial(_part, node), dict, objects)


def _part(node: Node) -> Mapping[str, Member]:
    return {ONLY: node.member} if node.is_running else {}


class GroupsMaker:
    """Makes hosts of many groups, all of one patience and size of segments, which are drawn."""

    def __init__(self, count: int, objects: Objects, draw: Random) -> None:
        self.groups: Final = group_names(count)
        self._objects = objects
        self._rest_after = draw.choice((0.05, REST_AFTER, REST_AFTER, 1.0))
        self._campaigns_at_once = draw.choice((1, 2, AT_ONCE))
        # So small that the log which they share is shortened all the time, or as others have it.
        self._segment_bytes = draw.choice((4096, 8192, None))

    def make(
        self,
        config: NodeConfig,
        *,
        network: Network,
        disk: Disk,
        random: Random,
        wall_clock: Callable[[], float],
        work_clock: Callable[[], float],
        level: int,
        observer: GroupObserver,
    ) -> Made:
        """Make a node that takes part in all groups."""
        objects: dict[str, object] = {}
        groups = iter(self.groups)  # they are taken up in this order

        def objects_of_next() -> Mapping[str, object]:
            made, group = self._objects(), next(groups)
            objects.update((in_group(group, name), each) for name, each in made.items())
            return made

        host = replicated_groups(
            replace(config, segment_bytes=self._segment_bytes or config.segment_bytes),
            self.groups,
            objects_of_next,
            network=network,
            disk=disk,
            random=random,
            wall_clock=wall_clock,
            work_clock=work_clock,
            level=level,
            observer=observer,
            rest_after=self._rest_after,
            campaigns_at_once=self._campaigns_at_once,
        )
        return Made(host, partial(_parts, host), partial(_rests, host), objects)


def _parts(host: GroupHost) -> Mapping[str, Member]:
    if not host.is_running:
        return {}
    return {group: hosted.member for group, hosted in host.groups.items()}


def _rests(host: GroupHost) -> Mapping[str, GroupRest]:
    return {group: hosted.rest for group, hosted in host.groups.items()}


def maker_of(count: int, objects: Objects, draw: Random) -> NodeMaker:
    """Return the maker of nodes of so many groups; 0 for nodes of one cluster."""
    return GroupsMaker(count, objects, draw) if count else ClusterMaker(objects)
