"""A network in memory, on the virtual clock, with every frame's fate drawn from the seed.

Each host sees it through `SimulatedNetwork.host(name)`, which is an ordinary `link.Network`; its
address is `memory:name`. In fair weather a link is what TCP is: whole and in order. In foul weather
(`Conditions`) frames are lost, repeated, held up and overtaken, as `LeakySocket` does. A cut from
one host to another swallows frames in that direction while the links seem open; whoever connects
into it waits as before a black hole. A host that crashes takes its links with it, and its peers
may be told (a reset) or not (half-open).

Frames leave at the end of the sender's turn and arrive in turns of the receiver, so a host that is
paused neither sends nor reads. Nothing here knows what a frame means.
"""

import asyncio
import random as random_module
from collections import Counter
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Final

import msgspec

from liferaft.errors import AddressError, ConnectionLost, LiferaftError, Unreachable
from liferaft.link.address import Address
from liferaft.link.base import FRAME_BYTES_MAX, Link, Listener, Network, Receiver
from liferaft.link.frames import Sendable, joined
from liferaft.sim.chronicle import note
from liferaft.sim.loop import SimulatedHost, running_loop


class Conditions(msgspec.Struct, frozen=True):
    """How the network treats frames: probabilities from 0 to 1, delays in seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """The probability that a frame may be overtaken by those sent after it."""
    delay_min: float = 0.0005
    delay_max: float = 0.002
    long_delay: float = 0.0
    """The probability of a tenfold delay: the long tail."""

    @property
    def is_fair(self) -> bool:
        """Whether frames sent together stay together."""
        return not (self.loss or self.duplicate or self.reorder or self.long_delay)


FAIR: Final = Conditions()


def _described(conditions: Conditions) -> str:
    """Return what is out of the ordinary in these conditions."""
    values = msgspec.structs.asdict(conditions)
    fair = msgspec.structs.asdict(FAIR)
    changed = {name: value for name, value in values.items() if value != fair[name]}
    return ", ".join(f"{name} {value:.2g}" for name, value in changed.items())


Undo = Callable[[], None]
"""Takes back what was done; may be called again."""


class NetworkStatistics(msgspec.Struct):
    """What the network did to frames, so that a run can show that its faults were there."""

    sent: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    held_up: int = 0
    cut_off: int = 0
    resets: int = 0
    silences: int = 0


class SimulatedNetwork:
    """Knows all hosts, and draws what happens between them."""

    def __init__(self, random: random_module.Random, conditions: Conditions | None = None) -> None:
        self.statistics: Final = NetworkStatistics()
        self._random = random
        self._weather: list[Conditions] = [conditions or FAIR]
        self._listeners: dict[str, _SimulatedListener] = {}
        self._links: dict[str, list[_SimulatedLink]] = {}
        self._cuts: Counter[tuple[str, str]] = Counter()
        self._slow: dict[tuple[str, str], float] = {}
        self._healed = asyncio.Event()

    @property
    def conditions(self) -> Conditions:
        """The weather: the latest that was called for and not taken back."""
        return self._weather[-1]

    def host(self, name: str, machine: SimulatedHost | None = None) -> Network:
        """Return the network as the host of that name sees it; its code runs on `machine`."""
        return _Host(self, name, machine)

    # What goes wrong.

    def set_weather(self, conditions: Conditions) -> Undo:
        """Let the weather be this, until it is taken back; a later call goes before."""
        # Its own copy, so that of two equal weathers the right one ends.
        mine = msgspec.structs.replace(conditions)
        self._weather.append(mine)
        note(_described(mine))

        def undo() -> None:
            self._weather[:] = [each for each in self._weather if each is not mine]

        return undo

    def cut(self, *directions: tuple[str, str]) -> Undo:
        """Swallow every frame from source to target for each (source, target).

        Cuts of several callers add up: a direction is open again when all are taken back.
        """
        self._cuts.update(directions)
        for source, target in directions:
            note(f"{source} → {target}")
        pending = [directions]

        def undo() -> None:
            if pending:
                self._cuts.subtract(pending.pop())
                self._tell_healed()

        return undo

    def slow_down(self, source: str, target: str, seconds: float) -> Undo:
        """Let every frame in this direction take so much longer."""
        self._slow[source, target] = seconds
        note(f"{source} → {target}, {seconds:.2f} s")

        def undo() -> None:
            self._slow.pop((source, target), None)

        return undo

    def reset_links(self, name: str) -> None:
        """Break every link of a host; both ends are told at once."""
        note(name)
        for link in self._open_links(name):
            self.statistics.resets += 1
            link.lose()
            link.other.lose()

    def silence_links(self, name: str) -> None:
        """Let every link of a host die at its end alone: the peers believe them open."""
        note(name)
        for link in self._open_links(name):
            self.statistics.silences += 1
            link.lose()

    def heal(self) -> None:
        """Undo every cut, every slow link and all foul weather."""
        self._cuts.clear()
        self._slow.clear()
        del self._weather[1:]
        self._tell_healed()

    def crash(self, name: str) -> None:
        """End all that the host has; each peer learns it at once, or only by silence."""
        self._listeners.pop(name, None)
        for link in self._links.pop(name, []):
            link.vanish(is_told=self._random.random() < 0.5)

    # What hosts and links ask.

    async def wait_healed(self) -> None:
        """Wait until a cut ends: whoever connects into one sees a black hole until then."""
        await self._healed.wait()

    def is_cut(self, source: str, target: str) -> bool:
        """Return whether frames in this direction are swallowed."""
        return bool(self._cuts) and self._cuts[source, target] > 0

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

    def keep(self, link: "_SimulatedLink") -> None:
        """Remember a link of its host, and forget those that have ended."""
        links = self._links.setdefault(link.local, [])
        links[:] = [each for each in links if not each.is_closed]
        links.append(link)

    def delay(self, source: str, target: str) -> float:
        """Draw how long a frame is under way, in seconds."""
        conditions, draw = self.conditions, self._random
        # uniform() in one expression: it is drawn for every frame.
        span = conditions.delay_max - conditions.delay_min
        delay = conditions.delay_min + span * draw.random()
        if conditions.long_delay and draw.random() < conditions.long_delay:
            self.statistics.held_up += 1
            delay *= 10
        return delay + self._slow.get((source, target), 0.0) if self._slow else delay

    def delays_of_frame(self, source: str, target: str) -> tuple[float, ...]:
        """Draw after which delays a frame arrives: none when it is lost, two when repeated."""
        conditions, draw = self.conditions, self._random
        if draw.random() < conditions.loss:
            self.statistics.lost += 1
            return ()
        if draw.random() < conditions.duplicate:
            self.statistics.duplicated += 1
            return (self.delay(source, target), self.delay(source, target))
        return (self.delay(source, target),)

    def may_be_overtaken(self) -> bool:
        """Draw whether the frames sent after this one may arrive before it."""
        is_free = self._random.random() < self.conditions.reorder
        self.statistics.reordered += is_free
        return is_free

    def _open_links(self, name: str) -> list["_SimulatedLink"]:
        return [link for link in self._links.get(name, []) if not link.is_closed]

    def _tell_healed(self) -> None:
        self._healed.set()
        self._healed = asyncio.Event()


class _Host:
    """One host's view of the network."""

    def __init__(self, network: SimulatedNetwork, name: str, machine: SimulatedHost | None) -> None:
        self._network = network
        self._name = name
        self._machine = machine
        self.frame_bytes_max = FRAME_BYTES_MAX

    async def connect(self, address: Address) -> Link:
        network, target = self._network, address.host
        await asyncio.sleep(2 * network.delay(self._name, target))
        while network.is_cut(self._name, target) or network.is_cut(target, self._name):
            await network.wait_healed()
        listener = network.listener(target)
        if listener is None:
            raise Unreachable(f"nobody listens at {address}")
        near = _SimulatedLink(network, self._name, target, self._machine)
        far = _SimulatedLink(network, target, self._name, listener.machine)
        near.other, far.other = far, near
        network.keep(near)
        network.keep(far)
        listener.accept(far)
        return near

    async def listen(self, address: Address, accept: Callable[[Link], None]) -> Listener:
        listener = _SimulatedListener(self._network, address, accept, self._machine)
        self._network.listen(address.host, listener)
        return listener


class _SimulatedListener:
    def __init__(
        self,
        network: SimulatedNetwork,
        address: Address,
        accept: Callable[[Link], None],
        machine: SimulatedHost | None,
    ) -> None:
        self._network = network
        self._address = address
        self._accept = accept
        self.machine: Final = machine

    @property
    def address(self) -> Address:
        return self._address

    def accept(self, link: "_SimulatedLink") -> None:
        """Give the link to whoever listens, in a turn of the listener's own machine."""
        running_loop().call_soon(self._take, link, context=link.context)

    async def close(self) -> None:
        self._network.unlisten(self._address.host, self)

    def _take(self, link: "_SimulatedLink") -> None:
        if self._network.listener(self._address.host) is self:
            self._accept(link)
        else:
            link.close()


class _SimulatedLink:
    """One end of a link."""

    other: "_SimulatedLink"

    def __init__(
        self, network: SimulatedNetwork, local: str, peer: str, machine: SimulatedHost | None
    ) -> None:
        self.local: Final = local
        self.context: Final = Context() if machine is None else machine.context
        self._network = network
        self._peer = peer
        self._loop = running_loop()
        self._receiver: Receiver | None = None
        self._outbox: list[bytes] = []
        self._inbox: list[bytes] = []
        self._is_closed = False
        self._is_read_due = False
        self._last_arrival = 0.0
        self._closed = self._loop.create_future()

    @property
    def peer(self) -> str:
        return f"memory:{self._peer}"

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def start(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._schedule_read()

    def send(self, frame: Sendable) -> None:
        if self._is_closed:
            return
        self._outbox.append(joined(frame))
        if len(self._outbox) == 1:
            self._loop.call_soon(self._write, context=self.context)

    def close(self) -> None:
        if not self._is_closed:
            self._write()
            if not self._network.is_cut(self.local, self._peer):
                due = self._loop.true_time + self._network.delay(self.local, self._peer)
                # As with TCP, the end comes behind all that was sent in order.
                due = max(due, self._last_arrival)
                other = self.other
                self._loop.call_at_true(due, other.hear_end, context=other.context)
            self._end(None)

    def abort(self) -> None:
        self.close()

    async def wait_closed(self) -> None:
        await asyncio.shield(self._closed)

    def hear_end(self) -> None:
        """Learn that the other end was closed, once all that has arrived before is read."""
        if self._is_read_due:
            self._loop.call_soon(self.lose, context=self.context)
        else:
            self.lose()

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
            self._arrive_after(self._network.delay(self.local, self._peer), self.other.lose)
        else:
            statistics.silences += 1
        self._is_closed = True
        self._outbox.clear()
        self._closed.set_result(None)

    # From here to there.

    def _write(self) -> None:
        """Give all frames of this turn to the network."""
        frames, self._outbox = self._outbox, []
        if self._is_closed or not frames:
            return
        network = self._network
        network.statistics.sent += len(frames)
        if network.is_cut(self.local, self._peer):
            network.statistics.cut_off += len(frames)
        elif network.conditions.is_fair:
            self._arrive_in_order(network.delay(self.local, self._peer), frames)
        else:
            for frame in frames:
                self._write_in_foul_weather(frame)

    def _write_in_foul_weather(self, frame: bytes) -> None:
        network = self._network
        for delay in network.delays_of_frame(self.local, self._peer):
            if network.may_be_overtaken():
                self._arrive_after(delay, self.other.arrive, (frame,))
            else:
                self._arrive_in_order(delay, (frame,))

    def _arrive_in_order(self, delay: float, frames: Iterable[bytes]) -> None:
        due = self._last_arrival = max(self._last_arrival, self._loop.true_time + delay)
        self._loop.call_at_true(due, self.other.arrive, frames, context=self.other.context)

    def _arrive_after(self, delay: float, callback: Callable[..., None], *args: object) -> None:
        due = self._loop.true_time + delay
        self._loop.call_at_true(due, callback, *args, context=self.other.context)

    def arrive(self, frames: Iterable[bytes]) -> None:
        """Take frames that came through; a cut that was made meanwhile swallows them still."""
        if self._is_closed or self._network.is_cut(self._peer, self.local):
            return
        self._inbox += frames
        if not self._is_read_due:
            self._read()

    def _schedule_read(self) -> None:
        if self._inbox and self._receiver is not None and not self._is_read_due:
            self._is_read_due = True
            self._loop.call_soon(self._read, context=self.context)

    def _read(self) -> None:
        self._is_read_due = False
        if not self._is_closed and self._receiver is not None and self._inbox:
            frames, self._inbox = self._inbox, []
            self._receiver.frames_received(frames)

    def _end(self, reason: LiferaftError | None) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._closed.set_result(None)
            self._loop.call_soon(self._tell_closed, reason, context=self.context)

    def _tell_closed(self, reason: LiferaftError | None) -> None:
        if self._receiver is not None:
            self._receiver.link_closed(reason)
