"""The real network: TCP and Unix sockets of the operating system, behind one `Network`."""

from collections.abc import Callable

from liferaft.errors import AddressError, ConfigurationError
from liferaft.link.address import Address
from liferaft.link.base import FRAME_BYTES_MAX, Link, Listener
from liferaft.link.stream import FRAME_TIMEOUT
from liferaft.link.tcp import connect_tcp, listen_tcp
from liferaft.link.tls import Credentials, Tls
from liferaft.link.unix import connect_unix, listen_unix


class SystemNetwork:
    """Makes links of sockets; a `Network`.

    `frame_bytes_max` bounds a frame in both directions. `frame_timeout`, in seconds, bounds how
    long a peer may leave a frame half sent (a large frame is given more, by its length), and how
    long it may take nothing of what a closing link still has for it. With `tls` TCP is encrypted;
    without, it listens beyond this machine only if `is_insecure`.
    """

    def __init__(
        self,
        *,
        frame_bytes_max: int = FRAME_BYTES_MAX,
        frame_timeout: float = FRAME_TIMEOUT,
        tls: Tls | None = None,
        is_insecure: bool = False,
    ) -> None:
        """Raise `ConfigurationError` for a bound out of its range."""
        if not 0 < frame_bytes_max < 2**32:
            raise ConfigurationError(
                f"frame_bytes_max is {frame_bytes_max}: give 1 up to {2**32 - 1} bytes"
            )
        if not 0 < frame_timeout < float("inf"):
            raise ConfigurationError(f"frame_timeout is {frame_timeout}: give seconds above 0")
        self.frame_bytes_max = frame_bytes_max
        self._frame_timeout = frame_timeout
        self._tls = tls
        self._is_insecure = is_insecure
        # Made when they are needed first: a host's are checked otherwise than a caller's.
        self._calling: Credentials | None = None
        self._hosting: Credentials | None = None

    async def connect(self, address: Address) -> Link:
        """Return a link to whoever listens there; raises `Unreachable` when nobody does."""
        _check_kind(address)
        if address.kind == "unix":
            return await connect_unix(
                address, frame_bytes_max=self.frame_bytes_max, frame_timeout=self._frame_timeout
            )
        if self._tls is not None and self._calling is None:
            self._calling = Credentials(self._tls, is_host=False)
        return await connect_tcp(
            address,
            frame_bytes_max=self.frame_bytes_max,
            frame_timeout=self._frame_timeout,
            credentials=self._calling,
        )

    async def listen(self, address: Address, accept: Callable[[Link], None]) -> Listener:
        """Call `accept` with each new link until the listener is closed.

        Raises `AddressError`, with a sentence that says what to do, when it cannot listen there,
        and `ConfigurationError` when the certificates cannot be used.
        """
        _check_kind(address)
        if address.kind == "unix":
            return await listen_unix(
                address,
                accept,
                frame_bytes_max=self.frame_bytes_max,
                frame_timeout=self._frame_timeout,
            )
        if self._tls is not None:
            self._hosting = Credentials(self._tls, is_host=True)
        elif not (self._is_insecure or address.is_loopback):
            raise AddressError(
                f"{address} can be reached from other machines, and without TLS anybody there could"
                " read and call: give certificates (tls=, --tls-certificate), or say that it is"
                " meant so (is_insecure=True, --insecure)"
            )
        return await listen_tcp(
            address,
            accept,
            frame_bytes_max=self.frame_bytes_max,
            frame_timeout=self._frame_timeout,
            credentials=self._hosting,
        )


def _check_kind(address: Address) -> None:
    if address.kind == "memory":
        raise AddressError(
            f"{address} is known inside one process only: write host:port or unix:/path"
        )
