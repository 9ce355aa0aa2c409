"""Unix sockets: links between processes of one machine, for the same user only.

The socket's file is made for its owner alone, replaces only a file that a dead process left behind,
and is removed with the listener.
"""

import asyncio
import errno
import itertools
import socket
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from liferaft.errors import AddressError, Unreachable
from liferaft.link.accepting import stop_accepting
from liferaft.link.address import Address
from liferaft.link.base import Link
from liferaft.link.stream import StreamLink, StreamShares
from liferaft.link.tcp import BACKLOG, reason_of

_OWNER_ONLY = 0o600


class UnixListener:
    """The file of a Unix socket where links are accepted; a `Listener`."""

    def __init__(self, server: asyncio.Server, address: Address) -> None:
        self._server = server
        self._address = address
        self._file = _identity(address.host)

    @property
    def address(self) -> Address:
        """The address that is bound."""
        return self._address

    async def close(self) -> None:
        """Stop to accept and remove the file. Links that were accepted live on."""
        self._remove_file()
        await stop_accepting(self._server)

    def _remove_file(self) -> None:
        """Remove the file if it is still this listener's own."""
        file, self._file = self._file, None
        if file is not None and _identity(self._address.host) == file:
            Path(self._address.host).unlink(missing_ok=True)


async def connect_unix(address: Address, *, frame_bytes_max: int, frame_timeout: float) -> Link:
    """Return a link to whoever listens there; raises `Unreachable` when nobody does."""

    def make_link() -> StreamLink:
        return StreamLink(
            frame_bytes_max=frame_bytes_max,
            frame_timeout=frame_timeout,
            describe=lambda _: str(address),
        )

    loop = asyncio.get_running_loop()
    try:
        _, link = await loop.create_unix_connection(make_link, address.host)
    except OSError as error:
        raise Unreachable(f"nobody answered at {address}: {reason_of(error)}") from error
    return link


async def listen_unix(
    address: Address,
    accept: Callable[[Link], None],
    *,
    frame_bytes_max: int,
    frame_timeout: float,
) -> UnixListener:
    """Call `accept` with each new link; raises `AddressError` when it cannot listen there."""
    numbers = itertools.count(1)
    shares = StreamShares(frame_bytes_max)

    def make_link() -> StreamLink:
        return StreamLink(
            frame_bytes_max=frame_bytes_max,
            frame_timeout=frame_timeout,
            # The other end of a Unix socket has no name: its number tells it from the others.
            describe=lambda _: f"{address}#{next(numbers)}",
            accept=accept,
            shares=shares,
        )

    loop = asyncio.get_running_loop()
    try:
        bound = _bind(address)
        server = await loop.create_unix_server(make_link, sock=bound, backlog=BACKLOG)
    except OSError as error:
        raise AddressError(_advice(address, error)) from error
    return UnixListener(server, address)


def _bind(address: Address) -> socket.socket:
    """Return a socket bound to the path and not yet listening."""
    _remove_stale(address)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(address.host)
        # Nobody can connect before the socket listens, so there is no moment of wider rights.
        Path(address.host).chmod(_OWNER_ONLY)
    except OSError:
        bound.close()
        raise
    return bound


def _remove_stale(address: Address) -> None:
    """Remove the file of a socket on which nobody listens any more.

    Raises `AddressError` when somebody does, or when the file is something else.
    """
    try:
        mode = Path(address.host).stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise AddressError(f"{address.host} is there and is no socket: choose another path")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.host)
        except ConnectionRefusedError:
            Path(address.host).unlink()
            return
        except BlockingIOError:
            # Somebody listens, and is too busy to accept.
            pass
    raise AddressError(f"{address} is in use by another process: stop it or choose another path")


def _identity(path: str) -> tuple[int, int] | None:
    """Return what tells the file from another one of the same path; None when there is none."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _advice(address: Address, error: OSError) -> str:
    """Return the sentence that tells the user what to do."""
    if error.errno is None:
        # The only one without a number: the path is longer than the system's sockaddr_un.
        return f"{address.host} is too long for a socket (about 100 characters): choose another"
    if error.errno == errno.ENOENT:
        return f"the directory of {address.host} is not there: make it or choose another path"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return f"{address.host} may not be made by this user: choose a directory of your own"
    return f"cannot listen on {address}: {reason_of(error)}"
