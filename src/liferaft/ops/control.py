"""The leaks of one process's links, changed and read from another process while it runs.

The object answers on a link of its own that never leaks, so that a node that is cut off from
everybody can still be healed.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from liferaft.link.address import Address, parse_address
from liferaft.link.leak import Leak
from liferaft.link.leaky import LeakyStatistics
from liferaft.link.leaky_network import LeakyNetwork

CONTROL_OBJECT: Final = "LinkControl"


class LinkControl(Protocol):
    """What may be done to a process's links from outside."""

    async def set_leak(self, leak: Leak) -> None:
        """Change what happens to the frames that the process sends. What is cut stays so."""

    async def cut(
        self, *, peers: list[str] | None = None, outgoing: bool = True, incoming: bool = True
    ) -> None:
        """Let no frame pass in the directions named, while all links seem open.

        With `peers`, only on the links that this process connected to these addresses: what they
        send on links of their own still arrives, until they are told the same. Cuts add up. Raises
        `AddressError`.
        """

    async def heal(self) -> None:
        """Undo every `cut`."""

    async def reset(self) -> None:
        """Break every connection, as a router that restarts does; new ones may come at once."""

    async def statistics(self) -> LeakyStatistics:
        """Return what happened to the frames so far."""


class _Cut(msgspec.Struct, frozen=True):
    """What is cut: every link where there are no peers, else those connected to them."""

    peers: tuple[Address, ...] | None
    outgoing: bool
    incoming: bool


class LinkController:
    """Does it, on one `LeakyNetwork`."""

    def __init__(self, network: LeakyNetwork) -> None:
        self._network = network
        self._cuts: list[_Cut] = []

    async def set_leak(self, leak: Leak) -> None:
        """Change what happens to the frames that the process sends."""
        self._network.set(outgoing=leak)
        for cut in self._cuts:
            self._apply(cut)

    async def cut(
        self, *, peers: Sequence[str] | None = None, outgoing: bool = True, incoming: bool = True
    ) -> None:
        """Let no frame pass in the directions named."""
        addresses = None if peers is None else tuple(map(parse_address, peers))
        cut = _Cut(addresses, outgoing, incoming)
        self._cuts.append(cut)
        self._apply(cut)

    def _apply(self, cut: _Cut) -> None:
        if cut.peers is None:
            self._network.cut_all(outgoing=cut.outgoing, incoming=cut.incoming)
            return
        for peer in cut.peers:
            self._network.cut(peer, outgoing=cut.outgoing, incoming=cut.incoming)

    async def heal(self) -> None:
        """Undo every `cut`."""
        self._cuts.clear()
        self._network.heal_all()

    async def reset(self) -> None:
        """Break every connection."""
        self._network.reset_all()

    async def statistics(self) -> LeakyStatistics:
        """Return what happened to the frames so far."""
        return self._network.statistics()
