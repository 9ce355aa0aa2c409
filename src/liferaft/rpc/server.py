"""Accepts links, shakes hands, keeps limits, and hands calls to the dispatchers of its objects.

What a call does is the dispatcher's business (`liferaft.rpc.dispatch`). A peer that breaks the
protocol loses its link, with one logged warning, and harms nothing else. It never answers on
another link than the one on which a request came.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from random import Random
from typing import Any, Final

import msgspec

from liferaft.errors import (
    ConfigurationError,
    NoSuchObject,
)
from liferaft.link.address import Address
from liferaft.link.base import Link, Listener, Network
from liferaft.rpc import wire
from liferaft.rpc.access import Tokens
from liferaft.rpc.codec import (
    encode,
)
from liferaft.rpc.dispatch import Dispatcher
from liferaft.rpc.served_link import ServedLink
from liferaft.rpc.views import VIEW_MARK

logger = logging.getLogger("liferaft.rpc")

WARNINGS_MAX: Final = 20
"""Warnings between two sweeps; how many more there were is told by the sweep."""
INCARNATION_BYTES: Final = 16
LEAVING_INTERVAL: Final = 0.2
"""Seconds between two requests to leave: a link may lose some of them."""
RETURN_WITHIN: Final = 5.0
"""Seconds after its last word in which a caller that lost its link comes back, if it is there at
all: it takes a silent host for gone after three."""
SWEEP_INTERVAL: Final = 5.0
"""Seconds between looks for links whose peer went away without a word."""


class Limits(msgspec.Struct, frozen=True):
    """What one server bears; times in seconds.

    Of more than `connections_max` links, the one that has been shaking hands for longest goes
    first; a link that has bound an object never goes for another's sake. `in_flight_max` is per
    link; a call that was cancelled counts until its method has really ended. `frame_bytes_max` may
    be less than the network bears.
    """

    connections_max: int = 1_000
    in_flight_max: int = 4_096
    handshake_timeout: float = 5.0
    silence_max: float = 60.0
    frame_bytes_max: int | None = None


class Server:
    """Listens at one address and hosts objects there."""

    def __init__(
        self,
        address: Address,
        *,
        network: Network,
        random: Random,
        limits: Limits | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        """Take calls with one of `tokens` only, where there are any."""
        self.tokens = tokens
        self.limits = limits or Limits()
        limit = self.limits.frame_bytes_max
        self.frame_bytes_max = network.frame_bytes_max if limit is None else limit
        self.incarnation = random.randbytes(INCARNATION_BYTES)
        self.dispatchers: dict[str, Dispatcher] = {}
        self._asked_address = address
        self._network = network
        self._listener: Listener | None = None
        self._links: dict[ServedLink, None] = {}
        # Those of the links that have not bound anything yet, the oldest first.
        self._greeting: dict[ServedLink, None] = {}
        # Those that made room, until their sockets are closed.
        self._dropped: dict[ServedLink, None] = {}
        self._warnings = 0
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.is_draining = False
        self._link_ended = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def address(self) -> Address:
        """Where it listens: with the port that the system chose, once started."""
        return self._asked_address if self._listener is None else self._listener.address

    @property
    def is_running(self) -> bool:
        """Whether links are accepted."""
        return self._listener is not None

    @property
    def connection_count(self) -> int:
        """How many links are open."""
        return len(self._links)

    @property
    def object_names(self) -> list[str]:
        """The objects that a caller may ask for without knowing that they are there."""
        return [
            each for each in self.dispatchers if not each.startswith("_") and VIEW_MARK not in each
        ]

    def host(self, name: str, dispatcher: Dispatcher) -> None:
        """Offer an object under `name`.

        One that begins with "_", or has an "@" in it, must be asked for by name.
        """
        if not name:
            raise ConfigurationError("a hosted object needs a name")
        if name in self.dispatchers:
            raise ConfigurationError(f"an object named {name!r} is hosted here already")
        self.dispatchers[name] = dispatcher

    async def start(self) -> None:
        """Begin to listen; raises `AddressError` when that is not possible."""
        if self._listener is not None:
            raise ConfigurationError(f"the server at {self.address} is running already")
        self.loop = asyncio.get_running_loop()
        self._listener = await self._network.listen(self._asked_address, self._accept)
        self._sweeper = self.loop.call_later(SWEEP_INTERVAL, self._sweep)

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - not an error when it is up
        """Let nobody new in, have the callers leave, and wait until they have.

        Calls that they have under way are answered first: who lost its link may come back for its
        answers. After `timeout` seconds it returns, whoever is left.
        """
        if self._listener is None:
            return
        self.is_draining = True
        leaving = encode(wire.Leaving())
        until = self.loop.time() + timeout
        while self._is_waited_for() and (left := until - self.loop.time()) > 0:
            for served in list(self._links):
                if served not in self._greeting:
                    served.send(leaving)
            self._link_ended.clear()
            # Whoever is first: the next link to end, or the time to ask again.
            await _wait_at_most(self._link_ended, min(left, LEAVING_INTERVAL))

    def _is_waited_for(self) -> bool:
        """Whether a caller is here, or lost its link not long ago."""
        since = self.loop.time() - RETURN_WITHIN
        return len(self._links) > len(self._greeting) or any(
            each.is_missed(since) for each in self.dispatchers.values()
        )

    def turns_away(self, session: bytes, dispatcher: Dispatcher) -> bool:
        """Whether a session is not let in any more: only those that were here still are."""
        return self.is_draining and not dispatcher.may_come_back(session)

    async def stop(self) -> None:
        """Stop to listen and close every link; what is being executed is the dispatchers' to end.

        May be called again. Returns when no socket of this server is left.
        """
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        assert self._sweeper is not None
        self._sweeper.cancel()
        self._tell_warnings()
        await listener.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        links = [served.link for served in (*self._links, *self._dropped)]
        for served in list(self._links):
            served.end("the host stops", is_final=False)
        for link in links:
            await link.wait_closed()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that ends with the server at the latest."""
        task = self.loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    def find(self, name: str) -> tuple[str, Dispatcher]:
        """Return the object asked for and its full name; raises `NoSuchObject`.

        No name is that of the only one there is, and "@stale" that of a view of it.
        """
        public = self.object_names
        if name[:1] in ("", VIEW_MARK) and len(public) == 1:
            name = public[0] + name
        if name in self.dispatchers:
            return name, self.dispatchers[name]
        known = ", ".join(public) or "no object"
        if name.partition(VIEW_MARK)[0]:
            raise NoSuchObject(f"there is no object {name!r} at {self.address}; it has {known}")
        raise NoSuchObject(f"{self.address} has {known}: say which one by name")

    def forget(self, served: "ServedLink") -> None:
        """Take a link that has ended from the list."""
        self._links.pop(served, None)
        self._greeting.pop(served, None)
        self._dropped.pop(served, None)
        self._link_ended.set()

    def greeted(self, served: "ServedLink") -> None:
        """Learn that a link has bound an object: it no longer makes room for others."""
        self._greeting.pop(served, None)

    def warn(self, peer: str, what: str) -> None:
        """Log what a peer did, unless so much was logged that a flood of it would fill the log."""
        self._warnings += 1
        if self._warnings <= WARNINGS_MAX:
            logger.warning("%s: %s; its link is closed", ascii(peer), ascii(what))

    def _tell_warnings(self) -> None:
        left_out, self._warnings = self._warnings - WARNINGS_MAX, 0
        if left_out > 0:
            logger.warning("%s: %d more warnings like these were left out", self.address, left_out)

    def _accept(self, link: Link) -> None:
        if self._listener is None:
            link.abort()  # it was accepted just before the host was stopped
            return
        if len(self._links) >= self.limits.connections_max and not self._make_room():
            self.warn(link.peer, "there are too many connections")
            link.abort()
            return
        served = ServedLink(self, link)
        self._links[served] = self._greeting[served] = None
        link.start(served)

    def _make_room(self) -> bool:
        """Drop the link that has been shaking hands for longest; return whether there was one.

        Whoever really wants to call is through in two round trips, and comes again otherwise; who
        holds connections open to keep others out is not.
        """
        oldest = next(iter(self._greeting), None)
        if oldest is None:
            return False
        self.warn(oldest.link.peer, "its handshake made room for another connection")
        self.forget(oldest)
        self._dropped[oldest] = None
        oldest.drop()
        return True

    def _sweep(self) -> None:
        self._tell_warnings()
        now = self.loop.time()
        for served in list(self._links):
            if not served.is_paused and now - served.heard_at > self.limits.silence_max:
                served.end("nothing was heard for too long", is_final=False)
        self._sweeper = self.loop.call_later(SWEEP_INTERVAL, self._sweep)


async def _wait_at_most(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
