"""What waits for a certain turn of a node, and then does something in the midst of it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from liferaft.raft.effects import Effect
from liferaft.raft.events import Event
from liferaft.raft.types import NodeId

SECONDS_MAX: Final = 2.0
"""How long, in virtual seconds, a moment is waited for that may never come."""


class Trigger:
    """Waits for a certain turn of a node, and then acts in the midst of it.

    `is_due` is asked after every turn of the node; `pulled` is set when it acted, or when the node
    ended before.
    """

    def __init__(
        self,
        is_due: Callable[[Sequence[Event], Sequence[Effect]], bool],
        act: Callable[[NodeId], None],
    ) -> None:
        self.is_due: Final = is_due
        self.act: Final = act
        self.pulled: Final = asyncio.Event()


class Triggers:
    """Those that wait, one for each node at most."""

    def __init__(self) -> None:
        self._waiting: dict[NodeId, Trigger] = {}

    def pull(self, node_id: NodeId, trigger: Trigger) -> None:
        """Let `trigger` watch the turns of a node, in place of the one before."""
        before, self._waiting[node_id] = self._waiting.get(node_id), trigger
        if before is not None:
            before.pulled.set()

    async def wait_pulled(self, node_id: NodeId, trigger: Trigger) -> None:
        """Wait until a trigger was pulled, or let it go when its moment does not come."""
        try:
            async with asyncio.timeout(SECONDS_MAX):
                await trigger.pulled.wait()
        except TimeoutError:
            if self._waiting.get(node_id) is trigger:
                del self._waiting[node_id]

    def forget(self, node_id: NodeId) -> None:
        """Let nobody wait for a node that has ended."""
        trigger = self._waiting.pop(node_id, None)
        if trigger is not None:
            trigger.pulled.set()

    def turn(self, node_id: NodeId, events: Sequence[Event], effects: Sequence[Effect]) -> None:
        """Look at a turn of a node, and act if it is the one."""
        trigger = self._waiting.get(node_id)
        if trigger is not None and trigger.is_due(events, effects):
            del self._waiting[node_id]
            trigger.act(node_id)
            trigger.pulled.set()
