"""A shared to-do list: a plain class, hosted by one process or replicated on several.

Nothing in it knows where it runs. `Todo` is what clients see, `TodoList` what is hosted.
"""

from dataclasses import dataclass, replace
from typing import Protocol

from liferaft.replicated.determinism import now
from liferaft.replicated.machine import query
from liferaft.rpc.interface import raises


@dataclass(frozen=True)
class Item:
    """One thing to do. `added_wall` is in seconds since 1970; `done_by` is empty until done."""

    id: int
    text: str
    added_by: str
    added_wall: float
    done_by: str = ""


class NoSuchItem(LookupError):
    """The list has no item of that number."""

    item_id: int

    def __init__(self, item_id: int) -> None:
        super().__init__(f"the list has no item {item_id}")
        self.item_id = item_id


class Todo(Protocol):
    """The interface: all that a client needs to know."""

    def add(self, text: str, *, by: str = "") -> Item:
        """Add an item at the end and return it."""

    @raises(NoSuchItem)
    def complete(self, item_id: int, *, by: str = "") -> Item:
        """Mark an item as done, once, and return it; who did it first is kept."""

    def items(self) -> list[Item]:
        """Return all items, the oldest first."""


class TodoList:
    """The implementation."""

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}

    def add(self, text: str, *, by: str = "") -> Item:
        """Add an item at the end and return it."""
        item = Item(id=len(self._items) + 1, text=text, added_by=by, added_wall=now())
        self._items[item.id] = item
        return item

    @raises(NoSuchItem)
    def complete(self, item_id: int, *, by: str = "") -> Item:
        """Mark an item as done, once, and return it; who did it first is kept."""
        item = self._items.get(item_id)
        if item is None:
            raise NoSuchItem(item_id)
        if not item.done_by:
            item = replace(item, done_by=by or "somebody")
            self._items[item_id] = item
        return item

    @query
    def items(self) -> list[Item]:
        """Return all items, the oldest first."""
        return list(self._items.values())
