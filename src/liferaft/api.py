"""The front door: serve an object, connect to one. What it returns is made of `liferaft.rpc`.

The blocking forms run on one background thread that all of them share and that ends with the last
of them; the forms that begin with "a" run on the running loop.
"""

import asyncio
import functools
import random as random_module
from collections.abc import Sequence
from typing import TypeVar, get_args

from typing_extensions import TypeForm

from liferaft.errors import ConfigurationError
from liferaft.link.address import parse_address, parse_addresses
from liferaft.link.base import Network
from liferaft.link.system import SystemNetwork
from liferaft.link.tls import Tls
from liferaft.rpc.access import Tokens
from liferaft.rpc.balancing import Balance, BalancedConnection
from liferaft.rpc.bridge import Bridge
from liferaft.rpc.callee_sessions import Memory
from liferaft.rpc.caller import CallerStubCreator, core_of, needs_bridge
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.description import Description
from liferaft.rpc.directory import DIRECTORY_OBJECT, Directory, read_description
from liferaft.rpc.failover import FailoverConnection
from liferaft.rpc.host import CalleeStub
from liferaft.rpc.interception import Connection, InterceptedConnection, Interceptor
from liferaft.rpc.interface import Interface
from liferaft.rpc.server import Limits
from liferaft.rpc.views import Reads, view_metadata, view_suffix

InterfaceT = TypeVar("InterfaceT")


def serve(
    implementation: object,
    interface: TypeForm[object],
    address: str,
    *,
    name: str | None = None,
    threads: int = 8,
    is_serial: bool = False,
    interceptors: Sequence[Interceptor] = (),
    callback_interceptors: Sequence[Interceptor] = (),
    limits: Limits | None = None,
    memory: Memory | None = None,
    tls: Tls | None = None,
    tokens: Tokens | None = None,
    is_insecure: bool = False,
    network: Network | None = None,
) -> CalleeStub:
    """Serve `implementation` at `address` from a background thread until its `stop`.

    `address` is "127.0.0.1:7400", "[::1]:7400" or "unix:/path"; port 0 has the system choose one,
    which the stub's `address` then tells. `name` is what callers may ask for, the interface's name
    if not given. Blocking methods run on at most `threads` threads (0: on the loop itself), one
    call at a time if `is_serial`. Every call goes through the `interceptors`, the first of them
    first, and what this host calls of its callers' objects through the `callback_interceptors`.
    `limits` are those of the connections, `memory` those of sessions and calls. With `tls`
    TCP is encrypted, with `tokens` callers need one of them; without `tls` it listens beyond this
    machine only if `is_insecure`. Raises `InterfaceError` when the implementation lacks a method,
    `AddressError` and `ConfigurationError`. A method may be `def` or `async def` in either, so no
    type checker compares the two.
    """
    stub = CalleeStub(
        implementation,
        Interface.of(interface),
        parse_address(address),
        network=_network(network, tls, is_insecure=is_insecure),
        name=name,
        threads=threads,
        is_serial=is_serial,
        interceptors=interceptors,
        callback_interceptors=callback_interceptors,
        limits=limits,
        memory=memory,
        tokens=tokens,
    )
    return stub.start()


async def aserve(
    implementation: object,
    interface: TypeForm[object],
    address: str,
    *,
    name: str | None = None,
    threads: int = 8,
    is_serial: bool = False,
    interceptors: Sequence[Interceptor] = (),
    callback_interceptors: Sequence[Interceptor] = (),
    limits: Limits | None = None,
    memory: Memory | None = None,
    tls: Tls | None = None,
    tokens: Tokens | None = None,
    is_insecure: bool = False,
    network: Network | None = None,
) -> CalleeStub:
    """Serve `implementation` on the running loop until `astop`; see `serve`."""
    stub = CalleeStub(
        implementation,
        Interface.of(interface),
        parse_address(address),
        network=_network(network, tls, is_insecure=is_insecure),
        name=name,
        threads=threads,
        is_serial=is_serial,
        interceptors=interceptors,
        callback_interceptors=callback_interceptors,
        limits=limits,
        memory=memory,
        tokens=tokens,
    )
    return await stub.astart()


def connect(
    interface: TypeForm[InterfaceT],
    address: str,
    *,
    name: str = "",
    timeout: float | None = 10.0,
    balance: Balance = "failover",
    reads: Reads = "linearizable",
    interceptors: Sequence[Interceptor] = (),
    callback_interceptors: Sequence[Interceptor] = (),
    tls: Tls | None = None,
    token: str = "",
    is_insecure: bool = False,
    network: Network | None = None,
) -> InterfaceT:
    """Return a stub of the object at `address`, once it is bound.

    `address` may name several hosts, separated by commas: any of them may answer. For a stateless
    service `balance` has all of them answer, a call at a time: in turns ("round-robin"), or
    whichever has the fewest calls of this stub ("least-pending"). `reads` says how a replicated
    object is read: "linearizable" or "lease" by its leader; or, by a stub that does nothing else,
    "follower", `Within(seconds)` or "stale" by any node (docs/reads.md). Every call goes through
    the `interceptors`, the first of them first, and what the host calls of this side's objects
    through the `callback_interceptors`. With `tls` TCP is encrypted and the host must show
    a certificate; `token` is this caller's secret, which is not sent to other machines without TLS
    unless `is_insecure`. `timeout`, in seconds, bounds connecting and each call that no `deadline`
    bounds; None bounds nothing. Raises `InterfaceError`, `AddressError`, `ConfigurationError`,
    `InterfaceMismatch`, `NoSuchObject` or `Unreachable`. Close
    the stub with `close`, or use it in a `with` statement.
    """
    reflected = Interface.of(interface)
    connection = _connection(
        reflected,
        address,
        name=name + view_suffix(reads),
        timeout=timeout,
        balance=balance,
        interceptors=interceptors,
        callback_interceptors=callback_interceptors,
        metadata=view_metadata(reads),
        token=token,
        is_insecure=is_insecure or tls is not None,
        network=_network(network, tls, is_insecure=is_insecure),
    )
    bridge = Bridge.acquire()
    try:
        bridge.run(_open(connection))
    except BaseException:
        bridge.release()
        raise
    stub: InterfaceT = CallerStubCreator(reflected).create(connection, bridge)
    return stub


async def aconnect(
    interface: TypeForm[InterfaceT],
    address: str,
    *,
    name: str = "",
    timeout: float | None = 10.0,  # noqa: ASYNC109 - it is the stub's, for each call
    balance: Balance = "failover",
    reads: Reads = "linearizable",
    interceptors: Sequence[Interceptor] = (),
    callback_interceptors: Sequence[Interceptor] = (),
    tls: Tls | None = None,
    token: str = "",
    is_insecure: bool = False,
    network: Network | None = None,
) -> InterfaceT:
    """Return a stub of the object at `address` without blocking the running loop; see `connect`.

    A stub with `async def` methods only lives on the running loop, which is fastest; methods that
    block are carried out by the background thread.
    """
    reflected = Interface.of(interface)
    connection = _connection(
        reflected,
        address,
        name=name + view_suffix(reads),
        timeout=timeout,
        balance=balance,
        interceptors=interceptors,
        callback_interceptors=callback_interceptors,
        metadata=view_metadata(reads),
        token=token,
        is_insecure=is_insecure or tls is not None,
        network=_network(network, tls, is_insecure=is_insecure),
    )
    creator = CallerStubCreator(reflected)
    stub: InterfaceT
    if not needs_bridge(reflected):
        await _open(connection)
        stub = creator.create(connection)
        return stub
    bridge = Bridge.acquire()
    try:
        await asyncio.wrap_future(bridge.submit(_open(connection)))
    except BaseException:
        bridge.release()
        raise
    stub = creator.create(connection, bridge)
    return stub


def describe(
    address: str,
    *,
    name: str = "",
    timeout: float | None = 10.0,
    tls: Tls | None = None,
    token: str = "",
    is_insecure: bool = False,
    network: Network | None = None,
) -> Description:
    """Return what the host at `address` tells of an object, for whoever has not its interface.

    `interface_class` makes a class of it for `connect`, `python_source` a module to read. The
    parameters are those of `connect`. Raises `AddressError`, `NoSuchObject` or `Unreachable`.
    """
    bridge = Bridge.acquire()
    try:
        return bridge.run(
            adescribe(
                address,
                name=name,
                timeout=timeout,
                tls=tls,
                token=token,
                is_insecure=is_insecure,
                network=network,
            )
        )
    finally:
        bridge.release()


async def adescribe(
    address: str,
    *,
    name: str = "",
    timeout: float | None = 10.0,  # noqa: ASYNC109 - as in aconnect
    tls: Tls | None = None,
    token: str = "",
    is_insecure: bool = False,
    network: Network | None = None,
) -> Description:
    """Return what a host tells of an object, without blocking the running loop; see `describe`."""
    directory = await aconnect_directory(
        address, timeout=timeout, tls=tls, token=token, is_insecure=is_insecure, network=network
    )
    try:
        return read_description(await directory.describe(name))
    finally:
        await aclose(directory)


async def aconnect_directory(
    address: str,
    *,
    timeout: float | None = 10.0,  # noqa: ASYNC109 - as in aconnect
    tls: Tls | None = None,
    token: str = "",
    is_insecure: bool = False,
    network: Network | None = None,
) -> Directory:
    """Return a stub of the list of all objects at `address`."""
    return await aconnect(
        Directory,
        address,
        name=DIRECTORY_OBJECT,
        timeout=timeout,
        tls=tls,
        token=token,
        is_insecure=is_insecure,
        network=network,
    )


def close(stub: object) -> None:
    """Close a stub made by `connect`; calls that are under way raise `StubClosed`."""
    core_of(stub).close()


async def aclose(stub: object) -> None:
    """Close a stub, and wait until its socket is closed."""
    await core_of(stub).aclose()


def _connection(
    interface: Interface,
    address: str,
    *,
    name: str,
    timeout: float | None,
    balance: Balance,
    interceptors: Sequence[Interceptor],
    callback_interceptors: Sequence[Interceptor],
    metadata: dict[str, str] | None,
    token: str,
    is_insecure: bool,
    network: Network,
) -> Connection:
    addresses = parse_addresses(address)
    if token and not is_insecure and not all(each.is_loopback for each in addresses):
        raise ConfigurationError(
            f"the token would travel to {address} for anybody to read: give tls=, or say that it is"
            " meant so with is_insecure=True"
        )
    if balance not in get_args(Balance):
        known = ", ".join(map(repr, get_args(Balance)))
        raise ConfigurationError(f"balance is {balance!r}, but there are {known}")
    make = functools.partial(
        CallerConnection,
        interface=interface,
        network=network,
        random=random_module.SystemRandom(),
        object=name,
        timeout=timeout,
        gives_back=balance != "failover",
        token=token,
        metadata=metadata,
        interceptors=interceptors,
        callback_interceptors=callback_interceptors,
    )
    connection: Connection
    if balance == "failover":
        connection = FailoverConnection(addresses, make)
    else:
        connection = BalancedConnection([make([each]) for each in addresses], balance)
    return InterceptedConnection(connection, interceptors) if interceptors else connection


def _network(network: Network | None, tls: Tls | None, *, is_insecure: bool) -> Network:
    if network is None:
        return SystemNetwork(tls=tls, is_insecure=is_insecure)
    if tls is not None:
        raise ConfigurationError("give tls= to the network itself, as you give one")
    return network


async def _open(connection: Connection) -> None:
    connection.open()
    try:
        await connection.wait_bound()
    except BaseException:
        await connection.aclose()
        raise
