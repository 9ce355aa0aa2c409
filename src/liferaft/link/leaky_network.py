"""LeakyNetwork: a network all of whose links are leaky, and may be changed while they live.

Each link's chances come from the network's seed and from the number of the link, so the same links,
made in the same order, leak the same frames again.
"""

import asyncio
import itertools
from collections.abc import Callable
from random import Random

import msgspec

from liferaft.link.address import Address
from liferaft.link.base import Link, Listener, Network
from liferaft.link.leak import Leak
from liferaft.link.leaky import LeakySocket, LeakyStatistics


class Leaks(msgspec.Struct, frozen=True):
    """What a network does to a link, in both directions, seen from this side."""

    outgoing: Leak
    incoming: Leak

    @property
    def is_cut(self) -> bool:
        """Whether the link is cut in one direction at least, so that no connection is made."""
        return self.outgoing.is_cut or self.incoming.is_cut


class LeakyNetwork:
    """Wraps a network so that each link that it makes or accepts is leaky; a `Network`.

    What is set for one peer counts for the links connected to its address. Accepted links have no
    such address: for them counts what is set for all.
    """

    def __init__(
        self,
        inner: Network,
        *,
        seed: int,
        outgoing: Leak | None = None,
        incoming: Leak | None = None,
    ) -> None:
        self._inner = inner
        self._seed = seed
        self._numbers = itertools.count(1)
        self._leaks = Leaks(outgoing or Leak(), incoming or Leak())
        self._leaks_by_peer: dict[Address, Leaks] = {}
        # The live links in the order in which they were made, with the address connected to.
        self._links: dict[LeakySocket, Address | None] = {}
        self._statistics_of_ended = LeakyStatistics()
        self._changed = asyncio.Event()

    @property
    def links(self) -> tuple[LeakySocket, ...]:
        """The links that live, in the order in which they were made."""
        return tuple(self._links)

    def set(
        self,
        *,
        outgoing: Leak | None = None,
        incoming: Leak | None = None,
        peer: Address | None = None,
    ) -> None:
        """Change what happens to all links, or to those connected to `peer`, now and later.

        A direction that is not given stays as it is.
        """

        def change(leaks: Leaks) -> Leaks:
            return Leaks(outgoing or leaks.outgoing, incoming or leaks.incoming)

        self._change(change, peer)

    def cut(self, peer: Address, *, outgoing: bool = True, incoming: bool = True) -> None:
        """Let nothing pass on the links connected to `peer`, and connect no more of them."""
        self._change(_cutter(True, outgoing=outgoing, incoming=incoming), peer)

    def heal(self, peer: Address, *, outgoing: bool = True, incoming: bool = True) -> None:
        """Undo `cut`, in the directions named."""
        self._change(_cutter(False, outgoing=outgoing, incoming=incoming), peer)

    def cut_all(self, *, outgoing: bool = True, incoming: bool = True) -> None:
        """Cut this side off from everybody."""
        self._change(_cutter(True, outgoing=outgoing, incoming=incoming), None)

    def heal_all(self, *, outgoing: bool = True, incoming: bool = True) -> None:
        """Undo every cut, in the directions named."""
        self._change(_cutter(False, outgoing=outgoing, incoming=incoming), None)

    def reset_all(self) -> None:
        """Break every connection that there is; new ones may come at once."""
        for link in self.links:
            link.reset()

    def statistics(self) -> LeakyStatistics:
        """Return what happened so far on all links, those that have ended included."""
        total = self._statistics_of_ended
        for link in self._links:
            total = total.plus(link.statistics())
        return total

    # Network.

    @property
    def frame_bytes_max(self) -> int:
        """How large a frame its links take: as large as those that it wraps."""
        return self._inner.frame_bytes_max

    async def connect(self, address: Address) -> Link:
        """Return a link to whoever listens there.

        While the peer is cut off nothing comes back, as from a black hole: this waits until it is
        healed, or until the caller gives up.
        """
        while self._leaks_of(address).is_cut:
            await self._changed.wait()
        return self._wrap(await self._inner.connect(address), address)

    async def listen(self, address: Address, accept: Callable[[Link], None]) -> Listener:
        """Call `accept` with each new link, leaky, until the listener is closed."""
        return await self._inner.listen(address, lambda link: accept(self._wrap(link, None)))

    def _leaks_of(self, peer: Address | None) -> Leaks:
        if peer is None:
            return self._leaks
        return self._leaks_by_peer.get(peer, self._leaks)

    def _wrap(self, link: Link, peer: Address | None) -> LeakySocket:
        leaks = self._leaks_of(peer)
        leaky = LeakySocket(
            link,
            Random(f"{self._seed} {next(self._numbers)}"),
            outgoing=leaks.outgoing,
            incoming=leaks.incoming,
            ended=self._forget,
        )
        self._links[leaky] = peer
        return leaky

    def _forget(self, link: LeakySocket) -> None:
        del self._links[link]
        self._statistics_of_ended = self._statistics_of_ended.plus(link.statistics())

    def _change(self, change: Callable[[Leaks], Leaks], peer: Address | None) -> None:
        if peer is None:
            self._leaks = change(self._leaks)
            self._leaks_by_peer = {p: change(leaks) for p, leaks in self._leaks_by_peer.items()}
        else:
            self._leaks_by_peer[peer] = change(self._leaks_of(peer))
        for link, connected_to in self._links.items():
            if peer is None or peer == connected_to:
                leaks = self._leaks_of(connected_to)
                link.outgoing, link.incoming = leaks.outgoing, leaks.incoming
        # Who waits in `connect` looks again; whoever comes later waits for the next change.
        self._changed.set()
        self._changed = asyncio.Event()


def _cutter(is_cut: bool, *, outgoing: bool, incoming: bool) -> Callable[[Leaks], Leaks]:
    def change(leaks: Leaks) -> Leaks:
        return Leaks(
            msgspec.structs.replace(leaks.outgoing, is_cut=is_cut) if outgoing else leaks.outgoing,
            msgspec.structs.replace(leaks.incoming, is_cut=is_cut) if incoming else leaks.incoming,
        )

    return change
