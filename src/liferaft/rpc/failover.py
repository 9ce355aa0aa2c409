"""One stub over several hosts of which it uses one: when that one stops, the next has the calls.

A host that is drained tells its callers to leave. From then on calls go to the next address, over a
connection of its own, while the earlier connection takes the answers that it is owed and ends. It
holds no state of calls itself, and knows nothing of frames or links.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from liferaft.link.address import Address
from liferaft.rpc.caller_streams import StreamedCall
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.driving import ThreadWaiter
from liferaft.rpc.interface import MethodSignature
from liferaft.rpc.session import PendingCall


class FailoverConnection:
    """A connection to one object at one of several addresses; see `CallerConnection`.

    `make` makes the connections, each to some addresses, in the order in which they are tried.
    """

    def __init__(
        self, addresses: Sequence[Address], make: Callable[[Sequence[Address]], CallerConnection]
    ) -> None:
        self._make = make
        self._parting: dict[CallerConnection, None] = {}
        self._current = make(addresses)
        self.interface = self._current.interface
        self.timeout = self._current.timeout

    @property
    def current(self) -> CallerConnection:
        """The connection that calls go over."""
        return self._current

    @property
    def address_text(self) -> str:
        """The addresses known, as a user writes them."""
        return self._current.address_text

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._current.is_closed

    @property
    def takes_values(self) -> bool:
        """Whether arguments must come as they are; encoded ones are as welcome here."""
        return False

    def open(self) -> None:
        """Begin to connect, and to reconnect when the link is lost; called once, on the loop."""
        self._current.open(self)

    async def wait_bound(self) -> None:
        """Wait until calls can be sent; raises what `CallerConnection.wait_bound` does."""
        while True:
            current = self._current
            await current.wait_bound()
            if current is self._current:
                return

    # Not awaited here, which saves a frame for each call: see `CallDriver.call`.
    def call(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the result of a call; see `CallerConnection.call`."""
        return self._current.call(method, arguments, time_left=time_left, metadata=metadata)

    def call_from_thread(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        time_left: float | None,
        tell: Callable[..., None],
    ) -> Any:
        """Return the result of a call to a thread; see `CallerConnection.call_from_thread`."""
        return self._current.call_from_thread(method, arguments, time_left=time_left, tell=tell)

    def call_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the result of a call whose arguments have streams, as `call` does."""
        return self._current.call_streaming(
            method, arguments, time_left=time_left, metadata=metadata
        )

    def start_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None,
        metadata: Mapping[str, str] | None = None,
    ) -> StreamedCall:
        """Begin a call whose result is a stream; see `CallerConnection.start_streaming`."""
        return self._current.start_streaming(
            method, arguments, time_left=time_left, metadata=metadata
        )

    def notify(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Send a one-way call; it is lost when there is no connection."""
        self._current.notify(method, arguments, metadata=metadata)

    def close(self) -> None:
        """End the connection; unanswered calls raise `StubClosed`. May be called again."""
        for connection in (self._current, *self._parting):
            connection.close()

    async def aclose(self) -> None:
        """Close, and wait until the sockets are closed."""
        await asyncio.gather(*(each.aclose() for each in (self._current, *self._parting)))

    # What the connections call: see `liferaft.rpc.driving.Heir`.

    def succeed(self, leaving: CallerConnection, addresses: Sequence[Address]) -> None:
        """Have the calls go to the first of the addresses that answers, from now on."""
        self._parting[leaving] = None
        self._current = self._make(addresses)
        self._current.open(self)

    def parted(self, connection: CallerConnection) -> None:
        """Forget a connection that has its answers."""
        self._parting.pop(connection, None)

    def begin(
        self,
        waiter: ThreadWaiter,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        time_left: float | None,
    ) -> None:
        """Begin a call that a thread waits for."""
        self._current.begin(waiter, method, arguments, time_left)

    def take_over(self, calls: Sequence[PendingCall[Any]]) -> None:
        """Have calls answered that their host did not answer, and that do no harm twice."""
        self._current.take_over(calls)
