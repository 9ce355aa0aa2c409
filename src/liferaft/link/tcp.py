"""TCP: links between machines, and between processes of one machine; with TLS where that is wanted.

Without TLS it never encrypts and never asks who the other end is. Nagle's algorithm is off: asyncio
and uvloop see to that themselves, and a test sees to them.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable

from liferaft.errors import AddressError, Unreachable
from liferaft.link.accepting import stop_accepting
from liferaft.link.address import Address
from liferaft.link.base import Link
from liferaft.link.stream import StreamLink, StreamShares
from liferaft.link.tls import HANDSHAKE_TIMEOUT, Credentials

BACKLOG = 1024
"""Connections that may wait to be accepted; the kernel's own bound (somaxconn) may be lower."""


KERNEL_UNSENT_BYTES_MAX = 128 * 1024
"""What the kernel takes of a host's answers beyond what is on its way, which this does not bound.
By itself it takes megabytes, and nobody sees then that the peer reads none of them."""


class TcpListener:
    """A TCP port where links are accepted; a `Listener`."""

    def __init__(self, server: asyncio.Server, address: Address) -> None:
        self._server = server
        self._address = address

    @property
    def address(self) -> Address:
        """The address that was really bound: with the port that the system chose."""
        return self._address

    async def close(self) -> None:
        """Stop to accept and free the port. Links that were accepted live on."""
        await stop_accepting(self._server)


async def connect_tcp(
    address: Address,
    *,
    frame_bytes_max: int,
    frame_timeout: float,
    credentials: Credentials | None = None,
) -> Link:
    """Return a link to whoever listens there; raises `Unreachable` when nobody does."""

    def make_link() -> StreamLink:
        return StreamLink(
            frame_bytes_max=frame_bytes_max,
            frame_timeout=frame_timeout,
            describe=lambda _: str(address),
        )

    loop = asyncio.get_running_loop()
    try:
        if credentials is None:
            transport, link = await loop.create_connection(make_link, address.host, address.port)
        else:
            transport, link = await loop.create_connection(
                make_link,
                address.host,
                address.port,
                ssl=credentials.context,
                server_hostname=credentials.tls.name or address.host,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
            )
    except ssl.SSLError as error:
        raise Unreachable(f"no TLS with {address}: {_tls_reason(error)}") from error
    except ConnectionError as error:
        if credentials is None or isinstance(error, ConnectionRefusedError):
            raise Unreachable(f"nobody answered at {address}: {reason_of(error)}") from error
        text = f"no TLS with {address}: the host ended the handshake, it may speak none"
        raise Unreachable(text) from error
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"nobody answered at {address}: {reason_of(error)}") from error
    if is_connected_to_itself(transport):
        link.abort()
        raise Unreachable(f"nobody answered at {address}: the port is free")
    return link


async def listen_tcp(
    address: Address,
    accept: Callable[[Link], None],
    *,
    frame_bytes_max: int,
    frame_timeout: float,
    credentials: Credentials | None = None,
) -> TcpListener:
    """Call `accept` with each new link; raises `AddressError` when it cannot listen there."""
    shares = StreamShares(frame_bytes_max)

    def make_link() -> StreamLink:
        if credentials is not None:
            credentials.refresh()  # it comes before the handshake
        return StreamLink(
            frame_bytes_max=frame_bytes_max,
            frame_timeout=frame_timeout,
            describe=_describe_accepted,
            accept=accept,
            shares=shares,
        )

    loop = asyncio.get_running_loop()
    try:
        host = await _host_to_bind(loop, address)
        if credentials is None:
            server = await loop.create_server(make_link, host, address.port, backlog=BACKLOG)
        else:
            server = await loop.create_server(
                make_link,
                host,
                address.port,
                backlog=BACKLOG,
                ssl=credentials.context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT,
            )
        for listening in server.sockets:
            _bound_kernel_buffer(listening)
    except (OSError, UnicodeError) as error:
        raise AddressError(_advice(address, error)) from error
    bound_port: int = server.sockets[0].getsockname()[1]
    return TcpListener(server, Address(kind="tcp", host=address.host, port=bound_port))


def _bound_kernel_buffer(listening: socket.socket) -> None:
    """Bound what is not sent yet, for the sockets that will be accepted: they inherit it."""
    option: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        listening.setsockopt(socket.IPPROTO_TCP, option, KERNEL_UNSENT_BYTES_MAX)


def is_connected_to_itself(transport: asyncio.BaseTransport) -> bool:
    """Whether both ends of the connection are the same socket.

    Who connects to a free port of its own machine may be given that very port as its own; TCP
    then connects the socket to itself ("simultaneous open"), and the port stays taken from the
    one who should listen there. Reconnecting again and again makes this likely.
    """
    own: object = transport.get_extra_info("sockname")
    return own is not None and own == transport.get_extra_info("peername")


async def _host_to_bind(loop: asyncio.AbstractEventLoop, address: Address) -> str:
    """Return the host to listen on: one address when the system chooses the port.

    A name such as localhost has several addresses, and each would be given a port of its own.
    """
    if address.port:
        return address.host
    found = await loop.getaddrinfo(
        address.host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    # IPv4 first: it is what most programs try when they are told localhost.
    by_family = sorted(found, key=lambda info: info[0] != socket.AF_INET)
    return str(by_family[0][4][0])


def _describe_accepted(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    if name is None:
        # The peer was gone again before it was accepted.
        return "a peer that left"
    return str(Address(kind="tcp", host=name[0], port=name[1]))


def reason_of(error: Exception) -> str:
    """Return what went wrong without the numbers and addresses that the system puts around it."""
    if isinstance(error, socket.gaierror):
        return "the name of the host is not known"
    if isinstance(error, OSError) and error.errno is not None:
        return os_reason(error.errno)
    return str(error)


def os_reason(number: int) -> str:
    """Return the system's words for an error number, in lower case."""
    words = os.strerror(number)
    return words[:1].lower() + words[1:]


def _tls_reason(error: ssl.SSLError) -> str:
    """Return why there is no TLS, as a person would say it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the host's certificate does not hold: {error.verify_message}"
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return "the host does not speak TLS there"
    return f"the handshake failed ({(error.reason or str(error)).lower().replace('_', ' ')})"


def _advice(address: Address, error: Exception) -> str:
    """Return the sentence that tells the user what to do."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"{address.host} is not the name of a known host: check how it is written"
    if number == errno.EADDRINUSE:
        return f"{address} is in use by another process: stop it or choose another port"
    # From Python 3.13 on asyncio leaves the number out, in this case alone.
    if number == errno.EADDRNOTAVAIL or (isinstance(error, OSError) and number is None):
        return f"{address.host} is not an address of this machine: choose one that is"
    if number in {errno.EACCES, errno.EPERM}:
        return f"{address} needs more rights than this process has: choose a port above 1023"
    return f"cannot listen on {address}: {reason_of(error)}"
