"""Clients of a to-do list under simulation, and what their histories must show at the end."""

import random as random_module
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from liferaft.errors import DeadlineExceeded, InvariantViolated, LiferaftError, OutcomeUnknown
from liferaft.recipes.todo import Item, NoSuchItem
from liferaft.rpc.interface import raises


class AsyncTodo(Protocol):
    """The to-do list as a client on an event loop sees it."""

    async def add(self, text: str, *, by: str = "") -> Item:
        """Add an item."""

    @raises(NoSuchItem)
    async def complete(self, item_id: int, *, by: str = "") -> Item:
        """Mark an item as done."""

    async def items(self) -> list[Item]:
        """Return all items."""


@dataclass
class History:
    """What all clients together know: the texts of their adds, by outcome."""

    acknowledged: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    reads: int = 0

    def check_final(self, items: Sequence[Item]) -> None:
        """Raise `InvariantViolated` unless every add is there as often as its outcome allows."""
        times = Counter(item.text for item in items)
        for text in self.acknowledged:
            if times[text] != 1:
                raise InvariantViolated(f"{text!r} was acknowledged and is there {times[text]} x")
        for text in self.unknown:
            if times[text] > 1:
                raise InvariantViolated(f"{text!r} has an unknown outcome and is there twice")
        for text in self.refused:
            if times[text]:
                raise InvariantViolated(f"{text!r} was refused and is there")
        strangers = set(times) - {*self.acknowledged, *self.unknown}
        if strangers:
            raise InvariantViolated(f"nobody added {min(strangers)!r}")


class Client:
    """One client: adds, completes and reads, one call after the other, until it is told to end."""

    def __init__(
        self, name: str, todo: AsyncTodo, history: History, random: random_module.Random
    ) -> None:
        self._name = name
        self._todo = todo
        self._history = history
        self._random = random
        self._count = 0

    async def step(self) -> None:
        """Make one call and note its outcome."""
        draw = self._random.random()
        if draw < 0.6:
            await self._add()
        elif draw < 0.8:
            await self._read()
        else:
            await self._complete()

    async def _add(self) -> None:
        self._count += 1
        text = f"{self._name}/{self._count}"
        try:
            item = await self._todo.add(text, by=self._name)
        except (DeadlineExceeded, OutcomeUnknown):
            self._history.unknown.append(text)
        except LiferaftError:
            self._history.refused.append(text)
        else:
            if item.text != text:
                raise InvariantViolated(f"{text!r} was answered with {item!r}")
            self._history.acknowledged.append(text)

    async def _read(self) -> None:
        """Read; a linearizable read shows every add that was acknowledged before it began."""
        acknowledged = len(self._history.acknowledged)
        try:
            items = await self._todo.items()
        except LiferaftError:
            return
        self._history.reads += 1
        missing = set(self._history.acknowledged[:acknowledged]) - {item.text for item in items}
        if missing:
            raise InvariantViolated(f"a read began after {min(missing)!r} and does not show it")

    async def _complete(self) -> None:
        try:
            await self._todo.complete(self._random.randint(1, 30), by=self._name)
        except (LiferaftError, NoSuchItem):
            return
