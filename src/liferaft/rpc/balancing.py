"""One stub over several hosts that are all alike: each call goes to one of them.

There is a connection to each host. A call that no host has taken is given to another when its host
goes away, and so is one that does no harm twice; any other waits for its host, as with one
connection. It holds no state of calls itself, and knows nothing of frames or links.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from liferaft.errors import OutcomeUnknown, Refused, Unreachable
from liferaft.rpc import deadline as ambient
from liferaft.rpc.caller_state import GivenBack
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.interface import MethodSignature
from liferaft.rpc.later_stream import Follow, StartedStream, Tasks, begin_later

Balance = Literal["failover", "round-robin", "least-pending"]
"""How a stub uses several addresses: one after the other, or all of them in either way."""


class BalancedConnection:
    """Connections to several hosts of one stateless object, used as one; see `CallerConnection`.

    The connections must give calls back (`gives_back`).
    """

    def __init__(self, connections: Sequence[CallerConnection], balance: Balance) -> None:
        self.interface = connections[0].interface
        self.timeout = connections[0].timeout
        self._connections = list(connections)
        self._choose = _CHOICES[balance]
        self._turn = 0
        # Calls with streams that wait for a host.
        self._tasks: Tasks = {}

    @property
    def address_text(self) -> str:
        """The addresses, as a user writes them."""
        return ",".join(connection.address_text for connection in self._connections)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._connections[0].is_closed

    @property
    def takes_values(self) -> bool:
        """Whether arguments must come as they are; encoded ones are as welcome here."""
        return False

    def open(self) -> None:
        """Begin to connect to every host; called once, on the loop."""
        for connection in self._connections:
            connection.open()

    async def wait_bound(self) -> None:
        """Wait until one host has the object; raises what `CallerConnection.wait_bound` does."""
        waits = [asyncio.ensure_future(each.wait_bound()) for each in self._connections]
        left = list(waits)
        try:
            while left:
                done, _ = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                left = [each for each in left if each not in done]
                errors = [each.exception() for each in done]
                if None in errors:
                    return
                lasting = [each for each in errors if not isinstance(each, Unreachable)]
                if lasting or not left:
                    raise (lasting or errors)[0]  # type: ignore[misc] # none of them is None here
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def call(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the result of a call at one of the hosts; see `CallerConnection.call`."""
        loop = asyncio.get_running_loop()
        if time_left is None and (time_left := ambient.time_left()) is None:
            time_left = self.timeout
        until = None if time_left is None else loop.time() + time_left
        given_back: GivenBack | None = None
        try:
            while True:
                left = None if until is None else until - loop.time()
                connection = self._pick()
                if not connection.is_bound:
                    connection, left = await self._wait_for_one(left)
                try:
                    return await connection.call(
                        method, arguments, time_left=left, metadata=metadata
                    )
                except GivenBack as error:
                    given_back = error
                except Unreachable:
                    if until is not None and loop.time() >= until:
                        raise
        except (Refused, Unreachable) as error:
            if given_back is None:
                raise
            # These say that nothing was executed, which holds for this host only.
            raise OutcomeUnknown(f"{given_back}; and then: {error}") from error

    async def call_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the result of a call that has streams, at whichever host is chosen first."""
        connection, left = await self._wait_for_one(time_left)
        return await connection.call_streaming(method, arguments, time_left=left, metadata=metadata)

    def start_streaming(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...],
        *,
        time_left: float | None,
        metadata: Mapping[str, str] | None = None,
    ) -> StartedStream:
        """Begin a call that has streams, at whichever host is chosen first, once there is one."""
        connection = self._pick()
        if connection.is_bound or self.is_closed:
            return connection.start_streaming(
                method, arguments, time_left=time_left, metadata=metadata
            )

        async def begin(follow: Follow) -> None:
            connection, left = await self._wait_for_one(time_left)
            await follow(
                lambda: connection.start_streaming(
                    method, arguments, time_left=left, metadata=metadata
                )
            )

        return begin_later(begin, tasks=self._tasks, is_closed=lambda: self.is_closed)

    def notify(
        self,
        method: MethodSignature,
        arguments: tuple[Any, ...] | msgspec.Raw,
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Send a one-way call to one of the hosts."""
        self._pick().notify(method, arguments, metadata=metadata)

    def close(self) -> None:
        """End every connection."""
        for connection in self._connections:
            connection.close()

    async def aclose(self) -> None:
        """Close, and wait until the sockets are closed."""
        tasks = list(self._tasks)
        self.close()
        await asyncio.gather(*(connection.aclose() for connection in self._connections))
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait_for_one(self, time_left: float | None) -> tuple[CallerConnection, float | None]:
        """Return the connection for the next call once a host is there, and the time left then.

        Raises what `wait_bound` does.
        """
        loop = asyncio.get_running_loop()
        until = None if time_left is None else loop.time() + time_left
        while True:
            left = None if until is None else until - loop.time()
            connection = self._pick()
            if connection.is_bound or self.is_closed:
                return connection, left
            with contextlib.nullcontext() if left is None else ambient.deadline(left):
                await self.wait_bound()

    def _pick(self) -> CallerConnection:
        """Return the connection for the next call: a bound one if there is any."""
        self._turn += 1
        turn = self._turn % len(self._connections)
        in_turn = self._connections[turn:] + self._connections[:turn]
        bound = [connection for connection in in_turn if connection.is_bound]
        return self._choose(bound or in_turn)


def _first(connections: list[CallerConnection]) -> CallerConnection:
    return connections[0]


def _least_pending(connections: list[CallerConnection]) -> CallerConnection:
    return min(connections, key=lambda connection: connection.pending_count)


_CHOICES: Final[dict[str, Callable[[list[CallerConnection]], CallerConnection]]] = {
    "round-robin": _first,
    "least-pending": _least_pending,
}
