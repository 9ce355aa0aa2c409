"""Faults of links, made by the live controls of the nodes' leaky sockets."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from liferaft.chaos.stage import Fault, Lane, Stage
from liferaft.errors import OutcomeUnknown
from liferaft.link.leak import Leak
from liferaft.raft.types import NodeId
from liferaft.rpc.deadline import deadline

CONTROL_TIMEOUT: Final = 2.0
"""Seconds for a node to do what it is told; a paused one is asked again after."""

TRIES_MAX: Final = 20
"""No pause of a round is nearly as long as that many timeouts."""

LONGEST: Final = 4.0
"""Seconds that a fault of the links lasts at most: several elections."""


async def _told(
    stage: Stage, nodes: Iterable[NodeId], order: Callable[[NodeId], Awaitable[None]]
) -> bool:
    """Tell nodes; return whether one at least heard. One that is down when its turn comes does not.

    It lost what it was told before when its process ended, so that nothing is left to be undone.
    """
    heard = await asyncio.gather(*(_tell_one(stage, node, order) for node in nodes))
    return any(heard)


async def _tell_one(stage: Stage, node: NodeId, order: Callable[[NodeId], Awaitable[None]]) -> bool:
    for _ in range(TRIES_MAX):
        if not stage.cluster.is_running(node):
            return False
        try:
            with deadline(CONTROL_TIMEOUT):
                await order(node)
        except (ConnectionError, TimeoutError, OutcomeUnknown):
            continue  # it is paused, down or started anew: other faults of this round
        return True
    stage.complain(f"{node} runs, and does not do what its links' control is told")
    return False


async def _hold_and_heal(stage: Stage, nodes: Sequence[NodeId], mark: str) -> None:
    with stage.marked(mark, *nodes):
        try:
            await stage.hold(0.5, LONGEST)
        finally:
            await _told(stage, nodes, stage.cluster.heal)


async def _isolate(stage: Stage) -> bool:
    """Cut a node off from everybody, its clients included."""
    node = await stage.pick()
    is_made = await _told(stage, [node], stage.cluster.cut)
    if is_made:
        stage.tell(f"{node} is cut off from everybody")
        await _hold_and_heal(stage, [node], "cut off")
    return is_made


async def _one_way(stage: Stage) -> bool:
    """Let a node hear and not be heard, or the other way round."""
    node = await stage.pick()
    is_deaf = stage.random.random() < 0.5

    async def cut(node: NodeId) -> None:
        await stage.cluster.cut(node, outgoing=not is_deaf, incoming=is_deaf)

    is_made = await _told(stage, [node], cut)
    if is_made:
        mark = "hears nothing" if is_deaf else "is not heard"
        stage.tell(f"{node} {mark}")
        await _hold_and_heal(stage, [node], mark)
    return is_made


async def _cut_pairs(stage: Stage, strangers: Mapping[NodeId, Sequence[NodeId]]) -> bool:
    """Cut each node's links to the nodes that it is to have nothing to do with."""

    async def cut(node: NodeId) -> None:
        await stage.cluster.cut(node, peers=strangers[node])

    return await _told(stage, strangers, cut)


async def _split(stage: Stage) -> bool:
    """Split the nodes into two groups that clients still reach both."""
    nodes = list(stage.cluster.nodes)
    stage.random.shuffle(nodes)
    border = stage.random.randint(1, len(nodes) - 1)
    left, right = nodes[:border], nodes[border:]
    strangers = dict.fromkeys(left, right) | dict.fromkeys(right, left)
    is_made = await _cut_pairs(stage, strangers)
    if is_made:
        stage.tell(f"{', '.join(left)} and {', '.join(right)} are parted; clients reach both")
        await _hold_and_heal(stage, nodes, "parted")
    return is_made


async def _bridge(stage: Stage) -> bool:
    """Part the nodes but for one, which both sides hear."""
    nodes = list(stage.cluster.nodes)
    stage.random.shuffle(nodes)
    bridge, others = nodes[0], nodes[1:]
    left, right = others[: len(others) // 2], others[len(others) // 2 :]
    strangers = dict.fromkeys(left, right) | dict.fromkeys(right, left)
    is_made = await _cut_pairs(stage, strangers)
    if is_made:
        stage.tell(f"{', '.join(left)} and {', '.join(right)} hear only {bridge}")
        await _hold_and_heal(stage, others, "parted")
    return is_made


async def _leak(stage: Stage) -> bool:
    """Let all nodes lose, hold and repeat what they send."""
    random = stage.random
    leak = Leak(
        loss=random.uniform(0.05, 0.3),
        delay_max=random.choice((0.0, 0.01, 0.1)),
        duplicate=random.uniform(0.0, 0.2),
        reorder=random.choice((0.0, 0.1)),
    )
    return await _leak_for_a_while(
        stage,
        leak,
        f"links lose {leak.loss:.0%} of the frames, repeat {leak.duplicate:.0%} "
        f"and hold them for up to {leak.delay_max:g} s",
    )


async def _slow_links(stage: Stage) -> bool:
    """Let little pass of what all nodes send, so that everything waits in a queue."""
    leak = Leak(bytes_per_second=stage.random.choice((5_000.0, 20_000.0, 100_000.0)))
    return await _leak_for_a_while(
        stage, leak, f"links carry {leak.bytes_per_second:g} bytes a second"
    )


async def _leak_for_a_while(stage: Stage, leak: Leak, sentence: str) -> bool:
    nodes = stage.cluster.nodes
    is_made = await _told(stage, nodes, lambda node: stage.cluster.set_leak(node, leak))
    if is_made:
        stage.tell(sentence)
        try:
            await stage.hold(0.5, LONGEST)
        finally:
            await _told(stage, nodes, lambda node: stage.cluster.set_leak(node, Leak()))
    return is_made


async def _reset(stage: Stage) -> bool:
    """Break all connections of one node up to all of them, three times."""
    nodes = stage.random.sample(
        stage.cluster.nodes, stage.random.randint(1, len(stage.cluster.nodes))
    )
    is_made = False
    for _ in range(3):
        is_made |= await _told(stage, nodes, stage.cluster.reset)
        await stage.hold(0.0, 0.5)
    stage.tell(f"all connections of {', '.join(nodes)} were reset three times")
    return is_made


async def _flap(stage: Stage) -> bool:
    """Cut a node off and heal it in short turns, so that terms and links come and go."""
    node = await stage.pick()
    is_made = False
    for _ in range(4):
        is_made |= await _told(stage, [node], stage.cluster.cut)
        await stage.hold(0.1, 0.5)
        await _told(stage, [node], stage.cluster.heal)
        await stage.hold(0.1, 0.5)
    stage.tell(f"{node} was cut off and healed four times")
    return is_made


FAULTS: Final = (
    Fault("isolate", Lane.LINKS, "a node cut off from everybody, clients included", _isolate),
    Fault("one-way", Lane.LINKS, "a node that hears nothing, or is not heard", _one_way),
    Fault("split", Lane.LINKS, "two groups, with clients that reach both", _split),
    Fault("bridge", Lane.LINKS, "two groups that hear only one node in common", _bridge),
    Fault("flap", Lane.LINKS, "a node cut off and healed in short turns", _flap),
    Fault("leak", Lane.LINKS, "frames of all nodes lost, held and repeated", _leak),
    Fault("slow-links", Lane.LINKS, "links of all nodes that carry little", _slow_links),
    Fault("reset", Lane.LINKS, "all connections of one node up to all of them reset", _reset),
)
