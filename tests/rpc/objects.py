"""Interfaces, objects and a small world that the tests of rpc share."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Protocol

from liferaft.link.address import parse_address, parse_addresses
from liferaft.link.base import Network
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.callee_sessions import Memory
from liferaft.rpc.caller import CallerStubCreator, core_of
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.failover import FailoverConnection
from liferaft.rpc.interface import Interface, idempotent, oneway, raises
from liferaft.rpc.server import Limits, Server


@dataclasses.dataclass
class Item:
    id: int
    text: str


class NotFound(Exception):
    key: str
    tries: int

    def __init__(self, key: str) -> None:
        super().__init__(f"no {key}")
        self.key = key
        self.tries = 1


class Counter(Protocol):
    async def increment(self, by: int = 1) -> int: ...
    @idempotent
    async def value(self) -> int: ...
    async def hang(self) -> None: ...
    @raises(NotFound)
    async def find(self, key: str) -> Item: ...
    async def fail(self, text: str) -> None: ...
    @oneway
    async def poke(self) -> None: ...


class CounterObject:
    """Counts, and remembers how it was treated."""

    def __init__(self) -> None:
        self.count = 0
        self.poked = 0
        self.hanging = 0
        self.cancelled = 0

    async def increment(self, by: int = 1) -> int:
        self.count += by
        return self.count

    async def value(self) -> int:
        return self.count

    async def hang(self) -> None:
        self.hanging += 1
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def find(self, key: str) -> Item:
        raise NotFound(key)

    async def fail(self, text: str) -> None:
        raise ValueError(text)

    async def poke(self) -> None:
        self.poked += 1


class Host:
    """One server with one object, that can be stopped and started anew at the same address."""

    def __init__(
        self,
        network: Network,
        implementation: Any,
        interface: type,
        *,
        address: str = "memory:host",
        seed: int = 1,
        limits: Limits | None = None,
        memory: Memory | None = None,
        threads: int = 0,
    ) -> None:
        self._network = network
        self._implementation = implementation
        self._interface = interface
        self._address = parse_address(address)
        self._random = Random(seed)
        self._limits = limits
        self._memory = memory
        self._threads = threads

    async def start(self) -> "Host":
        self.dispatcher = ObjectDispatcher(
            self._implementation,
            Interface.of(self._interface),
            threads=self._threads,
            memory=self._memory,
        )
        self.server = Server(
            self._address, network=self._network, random=self._random, limits=self._limits
        )
        self.server.host(self._interface.__name__, self.dispatcher)
        await self.server.start()
        return self

    async def stop(self) -> None:
        await self.server.stop()
        await self.dispatcher.stop()


@contextlib.asynccontextmanager
async def hosted(
    network: Network, implementation: Any, interface: type, **how: Any
) -> AsyncIterator[Host]:
    host = await Host(network, implementation, interface, **how).start()
    try:
        yield host
    finally:
        await host.stop()


def connection_to(
    network: Network, interface: Any, addresses: str = "memory:host", *, seed: int = 2, **how: Any
) -> CallerConnection:
    connection = CallerConnection(
        parse_addresses(addresses),
        interface=Interface.of(interface),
        network=network,
        random=Random(seed),
        **how,
    )
    connection.open()
    return connection


@contextlib.asynccontextmanager
async def connected(
    network: Network, interface: Any, addresses: str = "memory:host", **how: Any
) -> AsyncIterator[Any]:
    connection = connection_to(network, interface, addresses, **how)
    try:
        yield CallerStubCreator(Interface.of(interface)).create(connection)
    finally:
        await connection.aclose()


def connection_of(stub: object) -> CallerConnection:
    """Return the connection that a stub without balance calls over, beneath its interceptors."""
    connection: Any = core_of(stub).connection
    failover: FailoverConnection = getattr(connection, "_inner", connection)
    return failover.current
