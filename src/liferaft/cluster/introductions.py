"""What the members say of themselves, and what the leader writes down of it: disk and level.

A disk that forgot its vote may vote a second time in a term, and one that forgot its log lends its
weight to leaders who lack what it had acknowledged. So each data directory draws a number when it
is made, every envelope says from which disk it comes and for which it is meant, and the leader has
the members' numbers written into the configuration as soon as it has heard of them. From then on a
name with another disk behind it is heard by nobody, and is told so by whoever writes to it. Until a
member's disk is in the configuration, its name alone counts: for the first moments of a cluster, or
of a member in it.

A program of a higher level can do what an older one would misunderstand. The leader raises the
configuration's level when every member has said that it is that far, and only then does anybody use
what the level brings. From then on an older program cannot take part any more, and says so.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from liferaft.cluster.driver import Driver
from liferaft.cluster.envelope import Introduction
from liferaft.errors import ChangeRefused, OutcomeUnknown
from liferaft.raft.configuration import members
from liferaft.raft.types import Configuration, NodeId

COMPLETE_WITHIN: Final = 5.0
"""Seconds that the leader waits for members it has not heard of, so that one entry tells all."""

TRY_AGAIN_AFTER: Final = 1.0
"""Seconds between an attempt that another change was in the way of, and the next."""


class Introductions:
    """What one node knows of the members, and has written down while it leads."""

    def __init__(self, node_id: NodeId, own: Introduction) -> None:
        self.node_id: Final = node_id
        self.own: Final = own
        self._disks: Mapping[NodeId, str] = {}
        self._heard: dict[NodeId, Introduction] = {node_id: own}
        self._heard_at = 0.0
        # The configuration that has all that was heard: most messages come while there is nothing.
        self._without_news: Configuration | None = None
        self._tried_at = float("-inf")
        self._writing: asyncio.Task[None] | None = None

    @property
    def disks(self) -> Mapping[NodeId, str]:
        """The disks that the configuration tells of."""
        return self._disks

    def learn(self, configuration: Configuration) -> None:
        """Go by what the configuration tells from now on."""
        self._disks = dict(configuration.disks)

    def is_stranger(self, node_id: NodeId, disk_id: str) -> bool:
        """Return whether a message of this node comes from another disk than the member's."""
        known = self._disks.get(node_id, "")
        return bool(known and disk_id and known != disk_id)

    def heard(self, node_id: NodeId, said: Introduction, driver: Driver) -> None:
        """Learn what a node says of itself, and have it written down where this node leads.

        Of a message that another node passes on nothing is said.
        """
        if not said.level:
            return
        if self._heard.get(node_id) != said:
            self._heard[node_id] = said
            self._heard_at = asyncio.get_running_loop().time()
            self._without_news = None
        if driver.core.role == "leader" and not self._writing:
            self._write_if_due(driver)

    def has_news(self, configuration: Configuration) -> bool:
        """Return whether something was heard of the members that the configuration lacks."""
        if configuration is self._without_news:
            return False
        if self._target(configuration) != configuration:
            return True
        self._without_news = configuration
        return False

    def _write_if_due(self, driver: Driver) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._tried_at + TRY_AGAIN_AFTER:
            return
        configuration = driver.core.configuration
        if not self.has_news(configuration):
            return
        target = self._target(configuration)
        everybody = set(members(configuration))
        is_complete = everybody <= set(self._heard)
        if is_complete or now > self._heard_at + COMPLETE_WITHIN:
            self._tried_at = now
            self._writing = asyncio.get_running_loop().create_task(self._write(driver, target))

    def _target(self, configuration: Configuration) -> Configuration:
        """Return the configuration with all that was heard of its members."""
        everybody = members(configuration)
        heard = {node_id: said for node_id, said in self._heard.items() if node_id in everybody}
        disks = {node_id: said.disk_id for node_id, said in heard.items() if said.disk_id}
        levels = [said.level for said in heard.values()]
        level = min(levels) if len(heard) == len(everybody) else 0
        return replace(
            configuration,
            disks=tuple(sorted({**disks, **dict(configuration.disks)}.items())),
            level=max(level, configuration.level),
        )

    async def _write(self, driver: Driver, target: Configuration) -> None:
        try:
            # Another change may be under way, or another leader: then it is tried again.
            with contextlib.suppress(ChangeRefused, OutcomeUnknown):
                await driver.change(target)
        finally:
            self._writing = None

    async def stop(self) -> None:
        """End what is under way."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
