"""Faults of disks: they fail, fill up, stick, and lie.

What must be recoverable stays recoverable, or a run would prove nothing. So damage to what lies on
a disk is done to a minority of the nodes at a time, and only to what is proven to have been synced:
the closed segments, whose end the next one vouches for, and the identity. (The last record before
its seal is the one window that no log on one disk can close; see storage/recovery.py.) A node must
refuse such a disk, or not need what was damaged; then the operator mends it.

A disk that is lost, or replaced by an old copy, makes a voter forget. No node can know that by
itself, so these happen only where the others hold all that it had promised.
"""

import asyncio
import errno
import random as random_module
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from liferaft.raft.effects import Effect, Persist
from liferaft.raft.events import Event
from liferaft.raft.types import NodeId
from liferaft.sim.chronicle import note
from liferaft.sim.process_faults import await_power_cut, restart
from liferaft.sim.trigger import Trigger
from liferaft.sim.world import DATA, World
from liferaft.storage.records import SEGMENT_HEADER_BYTES

BLOCK_BYTES: Final = 512
"""What a disk writes at once, whole or not at all."""

IDENTITY: Final = f"{DATA}/identity"
MOMENTS_MAX: Final = 100
MOMENT: Final = 0.01
"""How often, and after how many seconds, it is looked whether a disk may be lost now."""

REPAIR_SECONDS: Final = 1.5
"""How long it takes the operator to mend a disk, at most."""


def _failing(
    kind: str, operation: str, error: int
) -> Callable[[World, random_module.Random], Awaitable[None]]:
    async def fail(world: World, draw: random_module.Random) -> None:
        """Let an operation fail once or twice: the node ends, and is started again.

        Then the power fails, now and then: what was taken for stored must be there.
        """
        world.counts[kind] += 1
        node_id = draw.choice(world.node_ids)
        note(node_id)
        disk = world.disks[node_id]
        disk.fail(operation, error, count=draw.randint(1, 2))  # type: ignore[arg-type] # one of the three
        await asyncio.sleep(draw.uniform(0.1, 1.5))
        disk.heal()
        if draw.random() >= 0.5:
            return
        await await_power_cut(world, draw, node_id)
        if node_id in world.nodes:
            world.strike(node_id)
            await restart(world, node_id, after=draw.uniform(0.0, 0.5))

    return fail


async def _failing_read(world: World, draw: random_module.Random) -> None:
    """Let reads fail while a node recovers, where it reads most."""
    node_id = draw.choice(world.node_ids)
    note(node_id)
    disk = world.disks[node_id]
    disk.fail("read", errno.EIO, count=1)
    if node_id in world.nodes:
        world.strike(node_id)
    if node_id in world.down and node_id not in world.atlas.damaged:
        world.counts["EIO on read"] += 1
        await world.start(node_id)
    disk.heal()
    await asyncio.sleep(0.2)
    if node_id in world.down and node_id not in world.atlas.damaged:
        await world.start(node_id)


async def _short_reads(world: World, draw: random_module.Random) -> None:
    """Let the system return less than it was asked for, while a node recovers."""
    node_id = draw.choice(world.node_ids)
    note(node_id)
    disk = world.disks[node_id]
    disk.has_short_reads = True
    if node_id in world.nodes:
        world.strike(node_id)
    if node_id in world.down and node_id not in world.atlas.damaged:
        await world.start(node_id)
    await asyncio.sleep(draw.uniform(0.1, 1.0))
    disk.has_short_reads = False
    world.counts["short read"] += disk.short_reads > 0


async def _full_disk(world: World, draw: random_module.Random) -> None:
    world.counts["full disk"] += 1
    node_id = draw.choice(world.node_ids)
    note(node_id)
    disk = world.disks[node_id]
    disk.capacity_bytes = disk.used_bytes() + draw.randint(0, 20_000)
    await asyncio.sleep(draw.uniform(0.2, 3.0))
    disk.capacity_bytes = None


async def _slow_disk(world: World, draw: random_module.Random) -> None:
    world.counts["slow disk"] += 1
    node_id = draw.choice(world.node_ids)
    note(node_id)
    world.disk_latency_max[node_id] = draw.choice((0.01, 0.05, 0.2))
    await asyncio.sleep(draw.uniform(0.5, 4.0))
    world.calm_disk(node_id)


async def _stuck_disk(world: World, draw: random_module.Random) -> None:
    world.counts["stuck disk"] += 1
    node_id = draw.choice(world.node_ids)
    note(node_id)
    disk = world.disks[node_id]
    disk.stick()
    await asyncio.sleep(draw.uniform(0.2, 2.5))
    disk.unstick()


async def _overwritten_write(world: World, draw: random_module.Random) -> None:
    """Let another leader overwrite what a leader is still writing; its disk is done with it late.

    The completion of the old write must not be taken for that of what stands there (trap 17).
    """
    leader = world.leader()
    if leader is None:
        return
    world.counts["overwritten write"] += 1
    note(leader)
    others = [node_id for node_id in world.node_ids if node_id != leader]
    disk = world.disks[leader]
    disk.stick()
    trigger = Trigger(_Overwriting(), lambda _: None)
    world.triggers.pull(leader, trigger)
    pairs = [(leader, other) for other in others] + [(other, leader) for other in others]
    undo = world.network.cut(*pairs)
    await asyncio.sleep(draw.uniform(0.6, 1.6))
    undo()
    await world.triggers.wait_pulled(leader, trigger)
    await asyncio.sleep(draw.uniform(0.0, 0.1))
    world.disk_latency_max[leader] = 0.3  # so that the write of what replaced it takes its time
    disk.unstick()
    await asyncio.sleep(draw.uniform(0.2, 0.6))
    world.calm_disk(leader)


class _Overwriting:
    """Whether a turn of a node writes where it has written before, since this began to look."""

    def __init__(self) -> None:
        self._last_index = 0

    def __call__(self, _events: Sequence[Event], effects: Sequence[Effect]) -> bool:
        for effect in effects:
            if isinstance(effect, Persist) and effect.entries:
                if effect.entries[0].index <= self._last_index:
                    return True
                self._last_index = effect.entries[-1].index
        return False


Damage = Callable[[World, NodeId, random_module.Random], Callable[[], None] | None]
"""Damages a disk at rest and returns how to mend it, None where there is nothing to damage."""


def _damaging(
    kind: str, damage: Damage, *, is_at_rest: bool = True
) -> Callable[[World, random_module.Random], Awaitable[None]]:
    async def harm(world: World, draw: random_module.Random) -> None:
        """Damage one disk of a minority, let the node meet it, and mend it after a while."""
        node_id = draw.choice(world.node_ids)
        if not world.atlas.can_damage(node_id):
            return
        world.atlas.damage(node_id)
        undo = None
        if await _has_closed_segments(world, node_id, is_at_rest=is_at_rest):
            undo = damage(world, node_id, draw)
        if undo is not None:
            world.counts[kind] += 1
            world.atlas.damage(node_id, undo)
        if node_id in world.down:
            await world.start(node_id)
        await asyncio.sleep(draw.uniform(0.2, REPAIR_SECONDS))
        world.atlas.mend(node_id)
        if node_id in world.down:
            await world.start(node_id)

    return harm


async def _has_closed_segments(world: World, node_id: NodeId, *, is_at_rest: bool) -> bool:
    """Have the node begin a new segment, so that all earlier ones are vouched for.

    With `is_at_rest` the node is down when this returns.
    """
    if node_id in world.nodes:
        world.strike(node_id)
    if node_id in world.down and not await world.start(node_id):
        return False
    if is_at_rest and node_id in world.nodes:
        await world.stop_cleanly(node_id)
    return bool(_closed_segments(world, node_id))


def _closed_segments(world: World, node_id: NodeId) -> list[str]:
    """Return those whose end the next one vouches for: on a full disk it may be there and empty."""
    disk = world.disks[node_id]
    begun = [
        path
        for path in disk.paths()
        if path.endswith(".log") and len(disk.content(path).rstrip(b"\0")) > SEGMENT_HEADER_BYTES
    ]
    return begun[:-1]


def _flip_log(world: World, node_id: NodeId, draw: random_module.Random) -> Callable[[], None]:
    disk = world.disks[node_id]
    path = draw.choice(_closed_segments(world, node_id))
    content = disk.content(path)
    offset = draw.randrange(len(content))
    return disk.overwrite(path, offset, bytes([content[offset] ^ (1 << draw.randrange(8))]))


def _flip_hard_state(
    world: World, node_id: NodeId, draw: random_module.Random
) -> Callable[[], None] | None:
    """Flip a bit of a term or a vote: each segment's first record holds both."""
    disk = world.disks[node_id]
    path = draw.choice(_closed_segments(world, node_id))
    content = disk.content(path)
    name = draw.choice(world.node_ids).encode()
    at = content.find(name)
    if at < 0:
        return None
    offset = at - draw.randint(0, 8)
    return disk.overwrite(path, offset, bytes([content[offset] ^ (1 << draw.randrange(8))]))


def _flip_identity(world: World, node_id: NodeId, draw: random_module.Random) -> Callable[[], None]:
    disk = world.disks[node_id]
    content = disk.content(IDENTITY)
    offset = draw.randrange(len(content))
    return disk.overwrite(IDENTITY, offset, bytes([content[offset] ^ (1 << draw.randrange(8))]))


def _stale_block(world: World, node_id: NodeId, draw: random_module.Random) -> Callable[[], None]:
    """Let one block be as it was before it was written: the disk said that it wrote, and lied."""
    disk = world.disks[node_id]
    path = draw.choice(_closed_segments(world, node_id))
    return disk.overwrite(path, _draw_block(disk.content(path), draw), bytes(BLOCK_BYTES))


def _misdirected_write(
    world: World, node_id: NodeId, draw: random_module.Random
) -> Callable[[], None]:
    """Let one block lie where another should be, and its own place be stale."""
    disk = world.disks[node_id]
    path = draw.choice(_closed_segments(world, node_id))
    content = disk.content(path)
    source, target = _draw_block(content, draw), _draw_block(content, draw)
    block = content[source : source + BLOCK_BYTES]
    back = disk.overwrite(path, target, block)
    again = disk.overwrite(path, source, bytes(BLOCK_BYTES))

    def undo() -> None:
        again()
        back()

    return undo


def _draw_block(content: bytes, draw: random_module.Random) -> int:
    return draw.randrange((len(content) + BLOCK_BYTES - 1) // BLOCK_BYTES) * BLOCK_BYTES


def _flip_snapshot(
    world: World, node_id: NodeId, draw: random_module.Random
) -> Callable[[], None] | None:
    """Flip a bit of the newest snapshot; the node may put the file aside for it."""
    disk = world.disks[node_id]
    paths = [path for path in disk.paths() if path.endswith(".snapshot")]
    if not paths:
        return None
    path, content = paths[-1], disk.content(paths[-1])
    offset = draw.randrange(len(content))
    back = disk.overwrite(path, offset, bytes([content[offset] ^ (1 << draw.randrange(8))]))
    world.checkers[world.group_of(path)].snapshot_damaged(node_id)

    def undo() -> None:
        back()
        if f"{path}.damaged" in disk.paths() and path not in disk.paths():
            disk.move(f"{path}.damaged", path)

    return undo


def _lost_name(world: World, node_id: NodeId, draw: random_module.Random) -> Callable[[], None]:
    """Lose a file that was there: a damaged directory."""
    return world.disks[node_id].forget(draw.choice([*_closed_segments(world, node_id), IDENTITY]))


async def _lost_disk(world: World, draw: random_module.Random) -> None:
    """Lose all but the name of the disk: with another one, the others would not listen."""
    await _forget(
        world, draw, "lost disk", lambda node_id: {IDENTITY: world.disks[node_id].content(IDENTITY)}
    )


async def _old_copy(world: World, draw: random_module.Random) -> None:
    """Replace a disk by what it was some time ago."""
    node_id = draw.choice(world.node_ids)
    if node_id in world.atlas.damaged:
        return  # a copy of a damaged disk could never be mended
    image, taken_at = world.disks[node_id].image(), world.changed_at
    await asyncio.sleep(draw.uniform(0.5, 3.0))
    await _forget(
        world,
        draw,
        "old copy restored",
        lambda _: image,
        node_id,
        # By other members, which it then believes in again, it might even lead alone.
        is_possible=lambda: world.changed_at == taken_at,
    )


async def _forget(
    world: World,
    draw: random_module.Random,
    kind: str,
    image: Callable[[NodeId], dict[str, bytes]],
    node_id: NodeId | None = None,
    *,
    is_possible: Callable[[], bool] = lambda: True,
) -> None:
    """Wait for a moment at which a node may forget, and replace its disk."""
    node_id = node_id or draw.choice(world.node_ids)
    for _ in range(MOMENTS_MAX):
        if not is_possible():
            return
        if world.atlas.can_forget(node_id):
            break
        await asyncio.sleep(MOMENT)
    else:
        return
    leaders = world.leaders()
    world.counts[kind] += 1
    world.strike(node_id)
    world.disks[node_id].restore(image(node_id))
    for checker in world.checkers.values():
        checker.disk_lost(node_id)
    if await world.start(node_id):
        world.marks.hit("a node starts after it lost everything")
    # Leaders believe that the node still holds what it acknowledged; the next ones ask anew.
    await asyncio.sleep(draw.uniform(0.0, 0.2))
    for leader in leaders:
        if leader != node_id and leader in world.nodes:
            world.strike(leader)
            await world.start(leader)


KINDS: Final[Mapping[str, Callable[[World, random_module.Random], Awaitable[None]]]] = {
    "EIO on read": _failing_read,
    "EIO on write": _failing("EIO on write", "write", errno.EIO),
    "EIO on sync": _failing("EIO on sync", "sync", errno.EIO),
    "short read": _short_reads,
    "full disk": _full_disk,
    "slow disk": _slow_disk,
    "stuck disk": _stuck_disk,
    "overwritten write": _overwritten_write,
    "bit rot in the log": _damaging("bit rot in the log", _flip_log),
    "bit rot in the hard state": _damaging("bit rot in the hard state", _flip_hard_state),
    "bit rot in the identity": _damaging("bit rot in the identity", _flip_identity),
    "bit rot under a running node": _damaging(
        "bit rot under a running node", _flip_log, is_at_rest=False
    ),
    "bit rot in a snapshot": _damaging("bit rot in a snapshot", _flip_snapshot),
    "bit rot in a snapshot under a running node": _damaging(
        "bit rot in a snapshot under a running node", _flip_snapshot, is_at_rest=False
    ),
    "stale block": _damaging("stale block", _stale_block),
    "misdirected write": _damaging("misdirected write", _misdirected_write),
    "lost directory entry": _damaging("lost directory entry", _lost_name),
    "lost disk": _lost_disk,
    "old copy restored": _old_copy,
}
