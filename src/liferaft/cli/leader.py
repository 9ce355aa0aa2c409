"""Finds the leader of a cluster for the verbs that ask it something."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from cyclopts import Parameter

from liferaft.api import aclose, aconnect
from liferaft.cli.access import Access
from liferaft.cluster.admin import ADMIN_OBJECT, NodeAdmin
from liferaft.errors import ConnectionLost, DeadlineExceeded, NoLeader

ResultT = TypeVar("ResultT")


@Parameter(name="*")
@dataclass(frozen=True)
class LeaderAccess(Access):
    """The options of every command that asks a leader something."""

    group: str = ""
    """Which group, where the nodes host many (liferaft node --groups)."""

    @property
    def object_name(self) -> str:
        """The name of what is asked at a node."""
        return f"{ADMIN_OBJECT}/{self.group}" if self.group else ADMIN_OBJECT


async def ask_leader(
    addresses: str, access: LeaderAccess | None, work: Callable[[NodeAdmin], Awaitable[ResultT]]
) -> ResultT:
    """Return what the leader answers; raises `NoLeader` when no address knows one."""
    access = access or LeaderAccess()
    admin = await _connect(await _leader(addresses, access), access)
    try:
        return await work(admin)
    finally:
        await aclose(admin)


async def _leader(addresses: str, access: LeaderAccess) -> str:
    """Return where the leader is, as whoever knows it first says; who is down costs no time."""
    asking = [
        asyncio.create_task(_leader_by(each.strip(), access)) for each in addresses.split(",")
    ]
    troubles: list[str] = []
    try:
        for asked in asyncio.as_completed(asking):
            try:
                found = await asked
            except (ConnectionLost, DeadlineExceeded) as error:
                troubles.append(str(error))
                continue
            if found:
                return found
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    known = "; ".join(troubles) or "every node answers, and none leads at present"
    raise NoLeader(f"nobody at {addresses} knows a leader that answers: {known}")


async def _leader_by(address: str, access: LeaderAccess) -> str:
    """Return where the node at this address says that the leader is, empty if it does not know."""
    admin = await _connect(address, access)
    try:
        if (await admin.status()).role == "leader":
            return address
        seen = await admin.members()
        return next((each.address for each in seen.members if each.is_leader), "")
    finally:
        await aclose(admin)


async def _connect(address: str, access: LeaderAccess) -> NodeAdmin:
    return await aconnect(
        NodeAdmin,
        address,
        name=access.object_name,
        timeout=access.timeout,
        tls=access.credentials(),
        token=access.token(),
        is_insecure=access.insecure,
    )
