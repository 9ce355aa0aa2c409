"""Which disk goes with which name: so that a voter that lost its disk is not taken for itself.

A disk that forgot its vote may vote a second time in a term, and one that forgot its log lends its
weight to leaders who lack what it had acknowledged. So each data directory draws a number when it
is made, every message says from which disk it comes and for which it is meant, and the leader has
the members' numbers written into the configuration as soon as it has heard of them. From then on a
name with another disk behind it is heard by nobody, and is told so by whoever writes to it.

Until a member's disk is in the configuration, its name alone counts: for the first moments of a
cluster, or of a member in it.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from liferaft.cluster.driver import Driver
from liferaft.errors import ChangeRefused, OutcomeUnknown
from liferaft.raft.configuration import members
from liferaft.raft.types import NodeId

COMPLETE_WITHIN: Final = 5.0
"""Seconds that the leader waits for members it has not heard of, so that one entry tells all."""

TRY_AGAIN_AFTER: Final = 1.0
"""Seconds between an attempt that another change was in the way of, and the next."""


class Disks:
    """What one node knows of the members' disks, and has written down while it leads."""

    def __init__(self, node_id: NodeId, disk_id: str) -> None:
        self.own: Final = disk_id
        self._known: dict[NodeId, str] = {}
        self._heard: dict[NodeId, str] = {node_id: disk_id} if disk_id else {}
        self._heard_at = 0.0
        self._tried_at = float("-inf")
        self._binding: asyncio.Task[None] | None = None

    @property
    def known(self) -> Mapping[NodeId, str]:
        """The disks that the configuration tells of."""
        return self._known

    def learn(self, disks: tuple[tuple[NodeId, str], ...]) -> None:
        """Go by what the configuration tells from now on."""
        self._known = dict(disks)

    def is_stranger(self, node_id: NodeId, disk_id: str) -> bool:
        """Return whether a message of this node comes from another disk than the member's."""
        known = self._known.get(node_id, "")
        return bool(known and disk_id and known != disk_id)

    def heard(self, node_id: NodeId, disk_id: str, driver: Driver) -> None:
        """Learn from which disk a node speaks, and have it written down where this node leads."""
        if disk_id and self._heard.get(node_id) != disk_id:
            self._heard[node_id] = disk_id
            self._heard_at = asyncio.get_running_loop().time()
        if driver.core.role == "leader" and not self._binding:
            self._bind_if_due(driver)

    def _bind_if_due(self, driver: Driver) -> None:
        now = asyncio.get_running_loop().time()
        if now < self._tried_at + TRY_AGAIN_AFTER:
            return
        missing = [n for n in members(driver.core.configuration) if n not in self._known]
        heard = [node_id for node_id in missing if node_id in self._heard]
        if heard and (len(heard) == len(missing) or now > self._heard_at + COMPLETE_WITHIN):
            self._tried_at = now
            self._binding = asyncio.get_running_loop().create_task(self._bind(driver))

    async def _bind(self, driver: Driver) -> None:
        configuration = driver.core.configuration
        kept = set(members(configuration))
        heard = {n: disk for n, disk in self._heard.items() if n in kept}
        disks = tuple(sorted({**heard, **dict(configuration.disks)}.items()))
        try:
            # Another change may be under way, or another leader: then it is tried again.
            with contextlib.suppress(ChangeRefused, OutcomeUnknown):
                await driver.change(replace(configuration, disks=disks))
        finally:
            self._binding = None

    async def stop(self) -> None:
        """End what is under way."""
        if self._binding is not None:
            self._binding.cancel()
            await asyncio.gather(self._binding, return_exceptions=True)
