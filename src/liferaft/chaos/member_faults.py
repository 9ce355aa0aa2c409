"""Nodes whose disks are lost or damaged and that are replaced, and leadership handed over."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from liferaft.chaos.disk_faults import DAMAGED_STATUS
from liferaft.chaos.stage import Fault, Lane, Stage
from liferaft.errors import ChangeRefused, LiferaftError
from liferaft.ops.processes import NodeDidNotStart
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
        stage.tell(f"{old} lost its disk")
    await _replace_lost(stage, old)
    return True


async def _rot(stage: Stage) -> bool:
    """Flip a bit of what lies on the disk of a node: it must see that, or be none the worse for it.

    In the newest segment of the log it could be taken for a write that was under way.
    """
    node = await stage.pick()
    cluster = stage.cluster
    with stage.marked("killed", node):
        await cluster.kill(node)
        data = cluster.data(node)
        files = [*sorted(data.glob("*.log"))[:-1], *sorted(data.glob("snapshots/*.snapshot"))]
        if not files:
            await stage.start(node)
            return False
        file = stage.random.choice(files)
        _flip(file, stage.random.randrange(8 * file.stat().st_size))
        stage.tell(f"a bit of {file.name} of {node} is flipped while it is down")
        is_refused = not await _starts_on_damage(stage, node)
    if is_refused:
        await _replace_lost(stage, node)
    return True


def _flip(file: Path, bit: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(bit // 8)
        (byte,) = opened.read(1)
        opened.seek(bit // 8)
        opened.write(bytes([byte ^ 1 << bit % 8]))


async def _starts_on_damage(stage: Stage, node: NodeId) -> bool:
    """Return whether a node starts; one that does not must say why, and tell its damage."""
    try:
        await stage.cluster.start(node)
    except NodeDidNotStart:
        status, words = await stage.cluster.wait_ended(node), stage.cluster.last_words(node)
        if status != DAMAGED_STATUS or not words.startswith("liferaft: "):
            stage.complain(f"{node} ended with status {status} on a damaged disk: {words}")
        return False
    return True


async def _replace_lost(stage: Stage, old: NodeId) -> None:
    """Give the place of a node that is down for good to one of a new name, by an operator."""
    new = stage.renew(old)
    with stage.marked("joins", new):
        stage.tell(f"{new} takes the place of {old}")
        await stage.start(new)
        try:
            async with asyncio.timeout(REPLACED_WITHIN):
                await _see_to_it(stage, old, new)
        except TimeoutError:
            stage.complain(f"{new} did not take the place of {old} within {REPLACED_WITHIN:g} s")


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
    Fault("rot", Lane.NODES, "a bit flipped in a snapshot or a segment that is full", _rot),
    Fault("replace", Lane.NODES, "a node without its disk, replaced under a new name", _replace),
    Fault("transfer", Lane.NODES, "leadership handed over", _transfer),
)
