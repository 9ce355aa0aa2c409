"""Where the operator of a whole stack sits: asks nodes who leads, and the leader for the rest.

It makes the calls that `liferaft member` and `liferaft transfer` make, over the same network as
everybody else, so each may be refused, lost, or answered by a node that leads no more.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from liferaft.cluster.admin import ADMIN_OBJECT, NodeAdmin
from liferaft.errors import ChangeRefused, DeadlineExceeded, LiferaftError, OutcomeUnknown
from liferaft.link.address import Address, parse_address
from liferaft.rpc.caller import CallerStubCreator
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.interface import Interface
from liferaft.sim.world import World

ASK_SECONDS: Final = 0.5
"""How long a node may take to say who leads, before another one is asked."""

CALL_SECONDS: Final = 3.0
"""How long a change may take before its outcome is taken for unknown."""

PATIENCE: Final = 3.0
"""Seconds after which the operator gives up."""

Work = Callable[[NodeAdmin], Awaitable[bool]]
"""Asks the leader for something; returns whether it asked at all."""


class Desk:
    """One step's place: a host of its own on the network."""

    def __init__(self, world: World, draw: Random) -> None:
        self._world = world
        self._draw = draw
        self._name = f"operator {draw.getrandbits(32):08x}"
        self._calls = 0

    async def ask(self, work: Work) -> bool:
        """Have the leader do it, again and again until it has or patience is over.

        Returns whether it was done. `work` looks anew each time at what there is to do.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE
        while loop.time() < end:
            try:
                leader = await self._leader()
                if leader is not None:
                    async with self._admin(leader, CALL_SECONDS) as admin:
                        return await work(admin)
            except ChangeRefused:
                self._world.marks.hit("a change is refused")
            except (OutcomeUnknown, DeadlineExceeded):
                self._world.marks.hit("a change's outcome is unknown")
            except LiferaftError:
                pass  # it could not be reached, so nothing was done
            await asyncio.sleep(self._draw.uniform(0.05, 0.3))
        return False

    async def _leader(self) -> Address | None:
        """Return where the leader is, as the first node says that knows one."""
        nodes = self._draw.sample(self._world.node_ids, len(self._world.node_ids))
        for node_id in nodes:
            address = Address("memory", node_id)
            try:
                async with self._admin(address, ASK_SECONDS) as admin:
                    if (await admin.status()).role == "leader":
                        return address
                    seen = await admin.members()
            except LiferaftError:
                continue
            for member in seen.members:
                if member.is_leader:
                    return parse_address(member.address)
        return None

    @asynccontextmanager
    async def _admin(self, address: Address, timeout: float) -> AsyncIterator[NodeAdmin]:  # noqa: ASYNC109 - it is the stub's, for each call
        self._calls += 1
        host = f"{self._name} {self._calls}"
        creator = CallerStubCreator(Interface.of(NodeAdmin))
        connection = CallerConnection(
            [address],
            interface=creator.interface,
            object=ADMIN_OBJECT,
            network=self._world.network.host(host),
            random=self._world.random(host),
            timeout=timeout,
        )
        connection.open()
        try:
            yield creator.create(connection)
        finally:
            await connection.aclose()
