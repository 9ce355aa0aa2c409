"""`liferaft groups`: the Raft groups of a node that hosts many of them."""

import asyncio
from collections import Counter

import msgspec

from liferaft.api import aclose, aconnect
from liferaft.cli.access import Access
from liferaft.cli.exits import ExitStatus
from liferaft.cluster.group_admin import GROUP_ADMIN_OBJECT, GroupAdmin, GroupStatus


def groups(address: str, /, *, access: Access | None = None, json: bool = False) -> int:
    """Print the groups that a node hosts, and how each is.

    Parameters
    ----------
    address
        Where the node is.
    json
        Print one line of JSON for each group.
    """
    statuses = asyncio.run(_statuses(address, access or Access()))
    if json:
        for status in statuses:
            print(msgspec.json.encode(status).decode())
        return ExitStatus.OK
    rows = [("GROUP", "IS", "LEADER", "TERM", "APPLIED", "")]
    rows += [
        (
            each.group,
            each.role,
            each.leader or "-",
            str(each.current_term),
            str(each.applied_index),
            "rests" if each.is_resting else "",
        )
        for each in statuses
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())
    print(_summary(statuses))
    return ExitStatus.OK


async def _statuses(address: str, access: Access) -> list[GroupStatus]:
    admin = await aconnect(
        GroupAdmin,
        address,
        name=GROUP_ADMIN_OBJECT,
        timeout=access.timeout,
        tls=access.credentials(),
        token=access.token(),
        is_insecure=access.insecure,
    )
    try:
        return await admin.groups()
    finally:
        await aclose(admin)


def _summary(statuses: list[GroupStatus]) -> str:
    roles = Counter(each.role for each in statuses)
    resting = sum(each.is_resting for each in statuses)
    return f"{len(statuses)} groups: {roles['leader']} led from here, {resting} at rest"
