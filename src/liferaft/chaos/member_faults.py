"""Nodes that lose all that they had and are replaced, and leadership that is handed over."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Final

from liferaft.chaos.stage import Fault, Lane, Stage
from liferaft.errors import ChangeRefused, LiferaftError
from liferaft.raft.types import NodeId
from liferaft.rpc.deadline import deadline

REPLACED_WITHIN: Final = 60.0
"""Seconds until the new node votes: links that are cut for a while are no excuse."""

ASK_AGAIN_AFTER: Final = 0.3

ASK_TIMEOUT: Final = 2.0

TRANSFER_TIMEOUT: Final = 5.0


async def _replace(stage: Stage) -> bool:
    """Lose a node with its disk, and let one under a new name join in its place.

    At its address, as a machine that was set up anew, so that clients need not know.
    """
    old = await stage.pick()
    with stage.marked("lost", old):
        await stage.cluster.kill(old)
        new = stage.renew(old)
    with stage.marked("joins", new):
        stage.tell(f"{old} lost its disk, and {new} takes its place")
        await stage.start(new)
        try:
            async with asyncio.timeout(REPLACED_WITHIN):
                await _see_to_it(stage, old, new)
        except TimeoutError:
            stage.complain(f"{new} did not take the place of {old} within {REPLACED_WITHIN:g} s")
    return True


async def _see_to_it(stage: Stage, old: NodeId, new: NodeId) -> None:
    """Ask until the new node is a member, and wait until it votes and the old one is gone."""
    kinds: Mapping[NodeId, str] = {old: "voter"}
    while old in kinds or kinds.get(new) != "voter":
        if new not in kinds:
            await _ask(stage, old, new)
        await asyncio.sleep(ASK_AGAIN_AFTER)
        kinds = await _kinds(stage) or kinds


async def _ask(stage: Stage, old: NodeId, new: NodeId) -> None:
    """Do what an operator does; what came of it is seen in the members."""
    cluster = stage.cluster
    words = ("member", "replace", cluster.address, old, new, cluster.addresses[new])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "liferaft",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _kinds(stage: Stage) -> Mapping[NodeId, str] | None:
    """Return what each member is, as the leader says; None while nobody leads who answers."""
    leader = await _leader(stage)
    if leader is None:
        return None
    try:
        with deadline(ASK_TIMEOUT):
            seen = await (await stage.cluster.admin(leader)).members()
    except LiferaftError:
        return None
    return {member.node_id: member.kind for member in seen.members}


async def _leader(stage: Stage) -> NodeId | None:
    leading = [each for each in await stage.cluster.statuses() if each.role == "leader"]
    return max(leading, key=lambda each: each.current_term).node_id if leading else None


async def _transfer(stage: Stage) -> bool:
    """Let the leader hand over to somebody, or to whoever is best."""
    leader = await _leader(stage)
    if leader is None:
        return False
    others = [node for node in stage.cluster.nodes if node != leader]
    target = stage.random.choice(("", *others))
    try:
        with deadline(TRANSFER_TIMEOUT):
            await (await stage.cluster.admin(leader)).transfer(target)
    except ChangeRefused as error:
        stage.tell(f"{leader} does not hand over: {error}")
        return False
    except LiferaftError:
        return False  # cut off, or deposed meanwhile: what came of it nobody knows
    stage.tell(f"{leader} hands over leadership" + (f" to {target}" if target else ""))
    return True


FAULTS: Final = (
    Fault("replace", Lane.NODES, "a node without its disk, replaced under a new name", _replace),
    Fault("transfer", Lane.NODES, "leadership handed over", _transfer),
)
