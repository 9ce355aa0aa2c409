"""`liferaft member` and `liferaft transfer`: who takes part in a cluster, and who leads it.

Each command asks the nodes at the given addresses who leads, and the leader for the rest.
"""

import asyncio
from functools import partial

import msgspec
from cyclopts import App

from liferaft.cli.exits import ExitStatus
from liferaft.cli.leader import LeaderAccess, ask_leader
from liferaft.cluster.admin import Membership, NodeAdmin

member = App(name="member", help="Show and change who takes part in a cluster.")


@member.command(name="list")
def show(addresses: str, /, *, access: LeaderAccess | None = None, json: bool = False) -> int:
    """Print the members as the leader sees them, and how many more voters may fail.

    Parameters
    ----------
    addresses
        Where nodes of the cluster are, separated by commas; one that answers is enough.
    json
        Print one line of JSON.
    """
    membership = asyncio.run(ask_leader(addresses, access, lambda admin: admin.members()))
    if json:
        print(msgspec.json.encode(membership).decode())
        return ExitStatus.OK
    print(_table(membership))
    return ExitStatus.OK


@member.command
def add(
    addresses: str,
    node: str,
    address: str,
    /,
    *,
    learner: bool = False,
    access: LeaderAccess | None = None,
) -> int:
    """Add a node that was started with --join; it votes once it has caught up.

    Parameters
    ----------
    addresses
        Where nodes of the cluster are, separated by commas.
    node
        The new node's name. One that was ever removed cannot be used again.
    address
        Where the other nodes and the clients reach it.
    learner
        Let it receive the log, and never vote.
    """
    asyncio.run(ask_leader(addresses, access, partial(_add, node, address, is_learner=learner)))
    print(f"{node} is a member, and " + ("learns" if learner else "votes once it has caught up"))
    return ExitStatus.OK


@member.command
def replace(
    addresses: str, old: str, node: str, address: str, /, *, access: LeaderAccess | None = None
) -> int:
    """Add a node that takes the place of another voter, dead or alive, once it has caught up.

    Parameters
    ----------
    addresses
        Where nodes of the cluster are, separated by commas.
    old
        The voter that goes.
    node
        The new node's name.
    address
        Where the other nodes and the clients reach it.
    """
    asyncio.run(ask_leader(addresses, access, partial(_add, node, address, replaces=old)))
    print(f"{node} takes the place of {old} once it has caught up")
    return ExitStatus.OK


@member.command
def remove(
    addresses: str, node: str, /, *, force: bool = False, access: LeaderAccess | None = None
) -> int:
    """Remove a member, the leader too; its name is used up.

    Parameters
    ----------
    addresses
        Where nodes of the cluster are, separated by commas.
    node
        The member that goes; its process ends by itself if it runs.
    force
        Remove it though then one failure more could stop the cluster.
    """
    asyncio.run(ask_leader(addresses, access, lambda admin: admin.remove(node, is_forced=force)))
    print(f"{node} is a member no longer")
    return ExitStatus.OK


@member.command
def promote(addresses: str, node: str, /, *, access: LeaderAccess | None = None) -> int:
    """Let a learner become a voter once it has caught up.

    Parameters
    ----------
    addresses
        Where nodes of the cluster are, separated by commas.
    node
        The learner.
    """
    asyncio.run(ask_leader(addresses, access, lambda admin: admin.promote(node)))
    print(f"{node} votes once it has caught up")
    return ExitStatus.OK


@member.command
def prioritize(
    addresses: str, node: str, priority: int, /, *, access: LeaderAccess | None = None
) -> int:
    """Say how much a node should lead: the one of the highest priority does while it can.

    Parameters
    ----------
    addresses
        Where nodes of the cluster are, separated by commas.
    node
        The voter.
    priority
        0, as all have at first, or more.
    """
    asyncio.run(ask_leader(addresses, access, lambda admin: admin.prioritize(node, priority)))
    print(f"{node} has priority {priority}")
    return ExitStatus.OK


def transfer(addresses: str, /, *, to: str = "", access: LeaderAccess | None = None) -> int:
    """Hand over leadership of a cluster, without a pause for an election timeout.

    Parameters
    ----------
    addresses
        Where nodes of the cluster are, separated by commas.
    to
        Who shall lead; the best voter that answers if left out.
    """
    asyncio.run(ask_leader(addresses, access, lambda admin: admin.transfer(to)))
    print(f"{to} leads" if to else "another node leads")
    return ExitStatus.OK


async def _add(
    node: str, address: str, admin: NodeAdmin, *, is_learner: bool = False, replaces: str = ""
) -> None:
    await admin.add(node, address, is_learner=is_learner, replaces=replaces)


def _table(membership: Membership) -> str:
    rows = [("NODE", "ADDRESS", "IS", "LOG UP TO", "LAST HEARD")]
    for each in membership.members:
        heard = "-" if each.silence is None else f"{each.silence:.1f} s ago"
        kind = "leader" if each.is_leader else each.kind
        rows.append((each.node_id, each.address, kind, str(each.match_index), heard))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    if membership.spare < 0:
        lines.append("too few voters answer: nothing can be written")
    else:
        lines.append(f"voters that may still fail: {membership.spare}")
    return "\n".join(line.rstrip() for line in lines)
