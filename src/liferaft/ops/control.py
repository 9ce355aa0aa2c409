"""The leaks of one process's links, changed and read from another process while it runs.

The object answers on a link of its own that never leaks, so that a node that is cut off from
everybody can still be healed.
"""

from typing import Final, Protocol

from liferaft.link.leak import Leak
from liferaft.link.leaky import LeakyStatistics
from liferaft.link.leaky_network import LeakyNetwork

CONTROL_OBJECT: Final = "LinkControl"


class LinkControl(Protocol):
    """What may be done to a process's links from outside."""

    async def set_leak(
        self, *, loss: float, delay_min: float, delay_max: float, duplicate: float
    ) -> None:
        """Change what happens to the frames that the process sends; delays in seconds.

        A cut stays as it is. Raises `ConfigurationError` when a value is out of its range.
        """

    async def cut(self) -> None:
        """Let no frame pass in either direction, while all links seem open."""

    async def heal(self) -> None:
        """Undo `cut`."""

    async def statistics(self) -> LeakyStatistics:
        """Return what happened to the frames so far."""


class LinkController:
    """Does it, on one `LeakyNetwork`."""

    def __init__(self, network: LeakyNetwork) -> None:
        self._network = network
        self._is_cut = False

    async def set_leak(
        self, *, loss: float, delay_min: float, delay_max: float, duplicate: float
    ) -> None:
        """Change what happens to the frames that the process sends."""
        leak = Leak(
            loss=loss,
            delay_min=delay_min,
            delay_max=delay_max,
            duplicate=duplicate,
            is_cut=self._is_cut,
        )
        self._network.set(outgoing=leak)

    async def cut(self) -> None:
        """Let no frame pass in either direction."""
        self._is_cut = True
        self._network.cut_all()

    async def heal(self) -> None:
        """Undo `cut`."""
        self._is_cut = False
        self._network.heal_all()

    async def statistics(self) -> LeakyStatistics:
        """Return what happened to the frames so far."""
        return self._network.statistics()
