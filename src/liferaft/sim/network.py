"""A network in memory, on the virtual clock, with every frame's fate drawn from the seed.

Each host sees it through `SimulatedNetwork.host(name)`, which is an ordinary `link.Network`; its
address is `memory:name`. Frames may be lost, repeated, delayed and reordered; a cut from one host
to another swallows frames in that direction while the links seem open; a host that crashes takes
its links with it, and its peers may or may not be told.
"""

import asyncio
import random as random_module
from collections.abc import Callable
from typing import Final

import msgspec

from liferaft.errors import AddressError, ConnectionLost, LiferaftError, Unreachable
from liferaft.link.address import Address
from liferaft.link.base import Link, Listener, Network, Receiver


class Conditions(msgspec.Struct, frozen=True):
    """How the network treats frames: probabilities from 0 to 1, delays in seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay_min: float = 0.0005
    delay_max: float = 0.002
    long_delay: float = 0.0
    """The probability of a tenfold delay: the tail that orders frames anew."""


class NetworkStatistics(msgspec.Struct):
    """What the network did to frames, so that a run can show that its faults were there."""

    sent: int = 0
    lost: int = 0
    duplicated: int = 0
    cut_off: int = 0
    resets: int = 0
    silences: int = 0


class SimulatedNetwork:
    """Knows all hosts, and draws what happens between them."""

    def __init__(self, random: random_module.Random, conditions: Conditions | None = None) -> None:
        self.conditions = conditions or Conditions()
        self.statistics: Final = NetworkStatistics()
        self._random = random
        self._listeners: dict[str, _SimulatedListener] = {}
        self._links: dict[str, list[_SimulatedLink]] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._healed = asyncio.Event()

    def host(self, name: str) -> Network:
        """Return the network as the host of that name sees it."""
        return _Host(self, name)

    def cut(self, source: str, target: str) -> None:
        """Swallow every frame from `source` to `target` until `heal`."""
        self._cuts.add((source, target))

    def partition(self, group: list[str], others: list[str]) -> None:
        """Cut both ways between each host of one group and each of the other."""
        for one in group:
            for other in others:
                self.cut(one, other)
                self.cut(other, one)

    def heal(self) -> None:
        """Undo every cut."""
        self._cuts.clear()
        self._healed.set()
        self._healed = asyncio.Event()

    async def wait_healed(self) -> None:
        """Wait for the next `heal`: whoever connects into a cut sees a black hole until then."""
        await self._healed.wait()

    def is_cut(self, source: str, target: str) -> bool:
        """Return whether frames in this direction are swallowed."""
        return (source, target) in self._cuts

    def crash(self, name: str) -> None:
        """End all that the host has; each peer learns it at once, or only by silence."""
        self._listeners.pop(name, None)
        for link in self._links.pop(name, []):
            link.vanish(is_told=self._random.random() < 0.5)

    def listener(self, name: str) -> "_SimulatedListener | None":
        """Return who listens on that host."""
        return self._listeners.get(name)

    def listen(self, name: str, listener: "_SimulatedListener") -> None:
        """Let `listener` take the links that are made to that host."""
        if name in self._listeners:
            raise AddressError(f"memory:{name} is in use by another listener")
        self._listeners[name] = listener

    def unlisten(self, name: str, listener: "_SimulatedListener") -> None:
        """Take no more links for that host, if it still is this listener that takes them."""
        if self._listeners.get(name) is listener:
            del self._listeners[name]

    def pair(self, caller: str, callee: str) -> "tuple[_SimulatedLink, _SimulatedLink]":
        """Return the two ends of a new link."""
        one, other = _SimulatedLink(self, caller, callee), _SimulatedLink(self, callee, caller)
        one.other, other.other = other, one
        for end in (one, other):
            ends = self._links.setdefault(end.local, [])
            ends[:] = [link for link in ends if not link.is_closed]
            ends.append(end)
        return one, other

    def delay(self) -> float:
        """Draw how long a frame is under way, in seconds."""
        conditions, draw = self.conditions, self._random
        delay = draw.uniform(conditions.delay_min, conditions.delay_max)
        return delay * 10 if draw.random() < conditions.long_delay else delay

    def delays_of_frame(self, source: str, target: str) -> tuple[float, ...]:
        """Draw after which delays a frame arrives: none when it is lost, two when repeated."""
        self.statistics.sent += 1
        if self.is_cut(source, target):
            self.statistics.cut_off += 1
            return ()
        if self._random.random() < self.conditions.loss:
            self.statistics.lost += 1
            return ()
        if self._random.random() < self.conditions.duplicate:
            self.statistics.duplicated += 1
            return (self.delay(), self.delay())
        return (self.delay(),)


class _Host:
    """One host's view of the network."""

    def __init__(self, network: SimulatedNetwork, name: str) -> None:
        self._network = network
        self._name = name

    async def connect(self, address: Address) -> Link:
        network, target = self._network, address.host
        await asyncio.sleep(2 * network.delay())
        while network.is_cut(self._name, target) or network.is_cut(target, self._name):
            await network.wait_healed()
        listener = network.listener(target)
        if listener is None:
            raise Unreachable(f"nobody listens at {address}")
        near, far = network.pair(self._name, target)
        listener.accept(far)
        return near

    async def listen(self, address: Address, accept: Callable[[Link], None]) -> Listener:
        listener = _SimulatedListener(self._network, address, accept)
        self._network.listen(address.host, listener)
        return listener


class _SimulatedListener:
    def __init__(
        self, network: SimulatedNetwork, address: Address, accept: Callable[[Link], None]
    ) -> None:
        self._network = network
        self._address = address
        self.accept: Final = accept

    @property
    def address(self) -> Address:
        return self._address

    async def close(self) -> None:
        self._network.unlisten(self._address.host, self)


class _SimulatedLink:
    """One end of a link."""

    other: "_SimulatedLink"

    def __init__(self, network: SimulatedNetwork, local: str, peer: str) -> None:
        self.local: Final = local
        self._network = network
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._receiver: Receiver | None = None
        self._inbox: list[bytes] = []
        self._is_closed = False
        self._is_flush_due = False
        self._closed = self._loop.create_future()

    @property
    def peer(self) -> str:
        return f"memory:{self._peer}"

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._schedule_flush()

    def send(self, frame: bytes) -> None:
        if self._is_closed:
            return
        for delay in self._network.delays_of_frame(self.local, self._peer):
            self._loop.call_later(delay, self.other.arrive, frame)

    def close(self) -> None:
        if not self._is_closed:
            if not self._network.is_cut(self.local, self._peer):
                self._loop.call_later(self._network.delay(), self.other.lose)
            self._end(None)

    def abort(self) -> None:
        self.close()

    async def wait_closed(self) -> None:
        await asyncio.shield(self._closed)

    def arrive(self, frame: bytes) -> None:
        if not self._is_closed and not self._network.is_cut(self._peer, self.local):
            self._inbox.append(frame)
            self._schedule_flush()

    def lose(self) -> None:
        """Learn that the other end has gone."""
        self._end(ConnectionLost(f"{self.peer} closed the connection"))

    def vanish(self, *, is_told: bool) -> None:
        """End as the links of a crashed process do: no callback on this side."""
        if self._is_closed:
            return
        statistics = self._network.statistics
        if is_told and not self._network.is_cut(self.local, self._peer):
            statistics.resets += 1
            self._loop.call_later(self._network.delay(), self.other.lose)
        else:
            statistics.silences += 1
        self._is_closed = True
        self._closed.set_result(None)

    def _schedule_flush(self) -> None:
        if self._inbox and self._receiver is not None and not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        if not self._is_closed and self._receiver is not None:
            frames, self._inbox = self._inbox, []
            self._receiver.frames_received(frames)

    def _end(self, reason: LiferaftError | None) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._closed.set_result(None)
            self._loop.call_soon(self._tell_closed, reason)

    def _tell_closed(self, reason: LiferaftError | None) -> None:
        if self._receiver is not None:
            self._receiver.link_closed(reason)
