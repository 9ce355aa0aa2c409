"""A bad network before any TCP server, for tests that block: the proxies of `liferaft.ops`."""

from contextlib import ExitStack
from typing import Any

from liferaft.link.address import Address, parse_address
from liferaft.ops.proxy import ByteProxy, Conditions, ProxyStatus
from liferaft.rpc.bridge import Bridge

ANY_PORT = "127.0.0.1:0"


class LeakyProxy:
    """A proxy of bytes that runs in the background; see `liferaft.ops.proxy`."""

    def __init__(self, target: str, *, listen: str = ANY_PORT, seed: int = 0, **how: Any) -> None:
        """Take the fields of `Conditions` as `how`; raises `AddressError` when it cannot listen."""
        self._bridge = Bridge.acquire()
        self._proxy = ByteProxy(
            parse_address(listen), parse_address(target), conditions=Conditions(**how), seed=seed
        )
        try:
            self._bridge.run(self._proxy.start())
        except BaseException:
            self._bridge.release()
            raise

    @property
    def address(self) -> str:
        """Where clients are to connect."""
        return str(self._proxy.address)

    @property
    def port(self) -> int:
        """The port of that address."""
        address: Address = self._proxy.address
        return address.port

    def set(self, **how: Any) -> None:
        """Have these conditions from now on, and none of those from before."""
        self._bridge.run(self._change(Conditions(**how)))

    def reset(self) -> int:
        """Break every connection, and return how many there were."""
        return self._bridge.run(self._reset())

    def status(self) -> ProxyStatus:
        """Return what was done so far."""
        return self._bridge.run(self._status())

    def close(self) -> None:
        """End the proxy and every connection; called once."""
        try:
            self._bridge.run(self._proxy.stop())
        finally:
            self._bridge.release()

    async def _change(self, conditions: Conditions) -> None:
        self._proxy.change(conditions)

    async def _reset(self) -> int:
        return self._proxy.reset_all()

    async def _status(self) -> ProxyStatus:
        return self._proxy.status()


class LeakyProxyFactory:
    """Makes proxies that end with their test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(
        self, target: str, *, listen: str = ANY_PORT, seed: int = 0, **how: Any
    ) -> LeakyProxy:
        """Return a proxy to `target`, such as "127.0.0.1:5432"; see `LeakyProxy`."""
        proxy = LeakyProxy(target, listen=listen, seed=seed, **how)
        self._stack.callback(proxy.close)
        return proxy
