"""The callee stub: objects behind one server, started and stopped as one thing.

It is what `liferaft.serve` gives. What calls do is the dispatchers' business, what links do the
server's.
"""

import functools
import random as random_module
from collections.abc import Callable, Sequence
from random import Random
from typing import Self

from typing_extensions import TypeForm

from liferaft.errors import ConfigurationError
from liferaft.link.address import Address
from liferaft.link.base import Network
from liferaft.rpc.access import Tokens
from liferaft.rpc.bridge import Bridge
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.callee_sessions import Memory
from liferaft.rpc.directory import host_directory
from liferaft.rpc.interception import Interceptor
from liferaft.rpc.interface import Interface
from liferaft.rpc.server import Limits, Server


class CalleeStub:
    """Objects served at one address.

    Blocking: `start`, `stop`, `with`. On a running loop: `astart`, `astop`, `async with`. After a
    stop no thread, task, socket or file descriptor of it is left, but a blocking method that is
    being executed is waited for.
    """

    def __init__(
        self,
        implementation: object,
        interface: Interface,
        address: Address,
        *,
        network: Network,
        name: str | None = None,
        threads: int = 8,
        is_serial: bool = False,
        interceptors: Sequence[Interceptor] = (),
        callback_interceptors: Sequence[Interceptor] = (),
        random: Random | None = None,
        limits: Limits | None = None,
        memory: Memory | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        """Raise `InterfaceError` when the implementation lacks a method of the interface."""
        self._tokens = tokens
        self._makers: dict[str, Callable[[], ObjectDispatcher]] = {}
        self._dispatchers: dict[str, ObjectDispatcher] = {}
        self._address = address
        self._network = network
        self._random = random or random_module.SystemRandom()
        self._limits = limits
        self._memory = memory
        self._server: Server | None = None
        self._bridge: Bridge | None = None
        self.host(
            implementation,
            interface,
            name=name,
            threads=threads,
            is_serial=is_serial,
            interceptors=interceptors,
            callback_interceptors=callback_interceptors,
        )

    def __repr__(self) -> str:
        state = "running" if self.is_running else "stopped"
        return f"<CalleeStub {', '.join(self._dispatchers)} at {self.address} {state}>"

    @property
    def address(self) -> str:
        """Where it can be called: with the port that the system chose, once started."""
        return str(self._address if self._server is None else self._server.address)

    @property
    def is_running(self) -> bool:
        """Whether calls are accepted."""
        return self._server is not None

    @property
    def calls_served(self) -> int:
        """How many calls were executed since the start, repeats not counted."""
        return sum(dispatcher.calls_served for dispatcher in self._dispatchers.values())

    def host(
        self,
        implementation: object,
        interface: TypeForm[object] | Interface,
        *,
        name: str | None = None,
        threads: int = 8,
        is_serial: bool = False,
        interceptors: Sequence[Interceptor] = (),
        callback_interceptors: Sequence[Interceptor] = (),
    ) -> None:
        """Serve one more object at this address, at once if the stub is running.

        Callers ask for it by `name`, the interface's if not given; once there are several, they
        have to. `threads`, `is_serial` and both kinds of interceptors are as in `liferaft.serve`.
        Raises `InterfaceError`, and `ConfigurationError` when there is an object of that name.
        """
        if not isinstance(interface, Interface):
            interface = Interface.of(interface)
        name = name or interface.name
        if name in self._makers:
            raise ConfigurationError(f"an object named {name!r} is hosted at {self.address}")
        make = functools.partial(
            ObjectDispatcher,
            implementation,
            interface,
            threads=threads,
            is_serial=is_serial,
            memory=self._memory,
            name=name,
            interceptors=interceptors,
            callback_interceptors=callback_interceptors,
        )
        self._dispatchers[name] = dispatcher = make()
        self._makers[name] = make
        if self._server is not None:
            self._server.host(name, dispatcher)

    async def astart(self) -> Self:
        """Serve on the running loop; raises `AddressError` when it cannot listen there."""
        if self._server is not None:
            raise ConfigurationError(f"{self!r} is running already")
        server = Server(
            self._address,
            network=self._network,
            random=self._random,
            limits=self._limits,
            tokens=self._tokens,
        )
        host_directory(server)
        for name, dispatcher in list(self._dispatchers.items()):
            if dispatcher.session_count:
                # A new start is a new incarnation: what it kept belongs to the earlier one.
                self._dispatchers[name] = self._makers[name]()
            server.host(name, self._dispatchers[name])
        await server.start()
        self._server = server
        return self

    async def astop(self, *, drain: float = 0.0) -> None:
        """Stop serving; may be called again.

        With `drain`, in seconds, new callers are turned away, and those that are here finish what
        they have under way and turn to another address, before the rest is cut off. So no call is
        lost when hosts are restarted one after the other. Cancelling it cuts the rest off at once.
        """
        server, self._server = self._server, None
        if server is None:
            return
        try:
            if drain:
                await server.drain(drain)
        finally:
            await server.stop()
            for dispatcher in self._dispatchers.values():
                await dispatcher.stop()

    def start(self) -> Self:
        """Serve on a background thread; raises `AddressError` when it cannot listen there."""
        bridge = Bridge.acquire()
        try:
            bridge.run(self.astart())
        except BaseException:
            bridge.release()
            raise
        self._bridge = bridge
        return self

    def stop(self, *, drain: float = 0.0) -> None:
        """Stop serving; may be called again. `drain` is as in `astop`."""
        bridge, self._bridge = self._bridge, None
        if bridge is not None and not bridge.is_forked:
            try:
                bridge.run(self.astop(drain=drain))
            finally:
                bridge.release()

    def __enter__(self) -> Self:
        return self if self.is_running else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self if self.is_running else await self.astart()

    async def __aexit__(self, *_: object) -> None:
        await self.astop()
