"""A to-do list to host on a node whose syncs do nothing: what a power cut must bring to light.

It is imported by the node's process alone, when the node loads the class that it hosts.
"""

from liferaft.recipes.todo import TodoList
from liferaft.storage.disk import SystemFile

__all__ = ["TodoList"]


def _promise(file: SystemFile) -> None:
    """Say that everything is on stable storage."""


setattr(SystemFile, "sync", _promise)  # noqa: B010 - no type checker lets it pass otherwise
