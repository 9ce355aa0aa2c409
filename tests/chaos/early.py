"""A to-do list to host on a node that answers before its disk has the write.

It is imported by the node's process alone, when the node loads the class that it hosts.
"""

from liferaft.cluster.driver import Driver
from liferaft.raft.effects import Persist
from liferaft.recipes.todo import TodoList

__all__ = ["TodoList"]

_persist = Driver._persist
_stored = Driver._stored


def _persist_and_say_so(driver: Driver, effect: Persist) -> None:
    _persist(driver, effect)
    _stored(driver, effect.mark)


def _say_nothing(driver: Driver, mark: int) -> None:
    """Stand in for the report of the disk, which comes too late to tell anything."""


setattr(Driver, "_persist", _persist_and_say_so)  # noqa: B010 - no type checker lets it pass
setattr(Driver, "_stored", _say_nothing)  # noqa: B010 - otherwise
