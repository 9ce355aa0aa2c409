"""Waits for a certain turn of a node, and then does something in the midst of it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from liferaft.raft.effects import Effect
from liferaft.raft.events import Event
from liferaft.raft.types import NodeId


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
