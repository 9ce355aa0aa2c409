"""Makes caller stubs: objects whose class has exactly the methods of an interface.

The only metaprogramming of the package besides reflection. A stub translates a Python call into one
call of its connection and knows nothing of frames, links or sessions. A stub that has `async def`
methods only lives on the loop it was made on; every other one reaches its connection, which lives
on the background loop, through a bridge.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

import msgspec

from liferaft.errors import StubClosed
from liferaft.rpc import deadline as ambient
from liferaft.rpc.bridge import FORKED, Bridge, Runner
from liferaft.rpc.caller_streams import (
    AwaitedIterator,
    BlockingStream,
    BridgedStream,
    ElsewhereIterator,
)
from liferaft.rpc.interception import Connection
from liferaft.rpc.interface import AWAITED, Interface, ItemCodec, MethodSignature
from liferaft.rpc.reference_types import CLASSES_KEPT

_CORE: Final = "_liferaft"


class StubCore:
    """What a stub keeps: its connection, and the bridge to it if that is on another loop."""

    def __init__(self, connection: Connection, bridge: Runner | None) -> None:
        self.connection = connection
        self.bridge = bridge
        self._is_closed = False
        # How a thread may call without a task on the loop, where the connection has such a way.
        self.call_from_thread: Callable[..., Any] | None = None
        if isinstance(bridge, Bridge):
            self.call_from_thread = getattr(connection, "call_from_thread", None)

    def close(self) -> None:
        """Close from any thread, or without a bridge on the connection's loop."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.bridge is None:
            self.connection.close()
            return
        if self.bridge.is_forked:
            return  # it is the parent's to close
        try:
            self.bridge.run(self.connection.aclose())
        finally:
            self.bridge.release()

    async def aclose(self) -> None:
        """Close, and wait until the socket is closed."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.bridge is None:
            await self.connection.aclose()
            return
        if self.bridge.is_forked:
            return  # as in close
        try:
            await asyncio.wrap_future(self.bridge.submit(self.connection.aclose()))
        finally:
            self.bridge.release()

    def call(self, method: MethodSignature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call from this thread and wait, by the short way."""
        assert self.call_from_thread is not None
        values = method.flatten(args, kwargs)
        if self._is_closed:
            name = self.connection.interface.name
            raise StubClosed(f"{name}.{method.name}: the stub is closed")
        assert isinstance(self.bridge, Bridge)
        self.bridge.check()
        left = ambient.time_left()
        return self.call_from_thread(
            method,
            values if method.has_buffers else method.arguments.encode(values),
            time_left=self.connection.timeout if left is None else left,
            tell=self.bridge.call_soon,
        )

    def notify(
        self, method: MethodSignature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Send a one-way call from this thread, before whatever it calls next."""
        assert self.bridge is not None
        values = method.flatten(args, kwargs)
        self._check_usable(method)
        arguments = self._encoded(method, values)
        self.bridge.do(functools.partial(self.connection.notify, method, arguments))

    def work(
        self, method: MethodSignature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Runner, Coroutine[Any, Any, Any]]:
        """Return the call, to be run on the bridge; small arguments are encoded in this thread."""
        assert self.bridge is not None
        values = method.flatten(args, kwargs)
        connection = self.connection
        self._check_usable(method)
        if method.has_streams:
            return self.bridge, self._streaming_work(method, values)
        arguments = self._encoded(method, values)
        if method.is_oneway:
            return self.bridge, _notify(connection, method, arguments)
        left = ambient.time_left()
        time_left = connection.timeout if left is None else left
        return self.bridge, connection.call(method, arguments, time_left=time_left)

    def _check_usable(self, method: MethodSignature) -> None:
        name = f"{self.connection.interface.name}.{method.name}"
        if self._is_closed:
            raise StubClosed(f"{name}: the stub is closed")
        if self.bridge is not None and self.bridge.is_forked:
            raise StubClosed(f"{name}: the stub {FORKED}")

    def _encoded(
        self, method: MethodSignature, values: tuple[Any, ...]
    ) -> tuple[Any, ...] | msgspec.Raw:
        """Return the arguments, encoded in this thread where the connection takes them so."""
        # Of a one-way call nobody learns when its buffers have left: they are copied now.
        stays_where_it_is = method.has_buffers and not method.is_oneway
        if self.connection.takes_values or method.has_references or stays_where_it_is:
            return values
        return method.arguments.encode(values)

    def _streaming_work(
        self, method: MethodSignature, values: tuple[Any, ...]
    ) -> Coroutine[Any, Any, Any]:
        time_left = ambient.time_left()
        values = tuple(
            _awaited(value, method.argument_items.get(place))
            for place, value in enumerate(values, 1)
        )
        if method.result_items is None:
            return self.connection.call_streaming(method, values, time_left=time_left)
        return _start_streaming(self.connection, method, values, time_left)


async def _start_streaming(
    connection: Connection,
    method: MethodSignature,
    values: tuple[Any, ...],
    time_left: float | None,
) -> Any:
    return connection.start_streaming(method, values, time_left=time_left).reader()


def _awaited(value: Any, items: ItemCodec | None) -> Any:
    """Return an argument; an iterator as one whose items the connection's loop can await."""
    if items is None:
        return value
    if items.is_async:
        return ElsewhereIterator(aiter(value), asyncio.get_running_loop())
    return AwaitedIterator(iter(value))


class CallerStubCreator:
    """Makes stubs of one interface."""

    def __init__(self, interface: Interface) -> None:
        self.interface = interface
        self._on_loop: type | None = None
        self._bridged: type | None = None

    def create(self, connection: Connection, bridge: Runner | None = None) -> Any:
        """Return a stub that calls over `connection`, which is open.

        All connections of one creator are of one kind.
        Without a `bridge` the stub belongs to the running loop, where methods that block cannot
        be: those must be `async def` or one-way.
        """
        if bridge is None:
            if self._on_loop is None:
                kind = type(connection)
                self._on_loop = _make_class(self.interface, lambda m: _method_on_loop(m, kind))
            cls = self._on_loop
        else:
            if self._bridged is None:
                self._bridged = _make_class(self.interface, _bridged_method)
            cls = self._bridged
        stub = cls()
        setattr(stub, _CORE, StubCore(connection, bridge))
        return stub


def reference_stub(connection: Connection, runner: Runner) -> Any:
    """Return a stub of what a reference leads to, for use on the connection's loop or elsewhere."""
    interface = connection.interface
    creator = _reference_creator(interface, type(connection))
    return creator.create(connection, runner if needs_bridge(interface) else None)


@functools.lru_cache(maxsize=CLASSES_KEPT)
def _reference_creator(interface: Interface, _kind: type[Connection]) -> CallerStubCreator:
    """Return what makes the stubs over one kind of connection."""
    return CallerStubCreator(interface)


def core_of(stub: object) -> StubCore:
    """Return what `stub` keeps; raises `TypeError` for what is no stub."""
    core = getattr(stub, _CORE, None)
    if not isinstance(core, StubCore):
        raise TypeError(f"{stub!r} is no liferaft stub")
    return core


def is_stub(value: object) -> bool:
    """Return whether `value` is a stub, whatever it stands for."""
    return isinstance(getattr(value, _CORE, None), StubCore)


def needs_bridge(interface: Interface) -> bool:
    """Return whether a method of the interface blocks."""
    return any(not method.is_async for method in interface.methods.values())


def _make_class(
    interface: Interface, make_method: Callable[[MethodSignature], Callable[..., Any]]
) -> type:
    """Return the stub's class. It takes nothing from the interface but names and signatures.

    `__class__` says what the stub stands for, so that `isinstance(stub, Todo)` holds without
    inheriting what `Todo` may do in its other methods.
    """
    namespace: dict[str, Any] = {
        "__slots__": (_CORE, "__weakref__"),
        "__module__": interface.cls.__module__,
        "__doc__": interface.cls.__doc__,
        "__class__": property(lambda _: interface.cls),
        "__repr__": _repr,
        "__enter__": _enter,
        "__exit__": _exit,
        "__aenter__": _aenter,
        "__aexit__": _aexit,
    }
    for method in interface.methods.values():
        function = make_method(method)
        function.__name__ = method.name
        function.__qualname__ = f"{interface.name}.{method.name}"
        function.__doc__ = method.function.__doc__
        function.__signature__ = method.full_signature  # type: ignore[attr-defined] # inspect reads it
        namespace[method.name] = function
        if interface.is_function:
            namespace["__call__"] = function
    return type(f"{interface.name}Stub", (), namespace)


def _method_on_loop(method: MethodSignature, kind: type[Connection]) -> Callable[..., Any]:
    if method.is_oneway and not method.is_async:

        def send(self: Any, /, *args: Any, **kwargs: Any) -> None:
            self._liferaft.connection.notify(method, method.flatten(args, kwargs))

        return send
    if method.result_items is not None:
        return _streaming_method_on_loop(method)
    start: Callable[..., Any] = kind.call
    if method.is_oneway:
        start = _notify
    elif method.has_streams:
        start = kind.call_streaming

    # Returning the coroutine saves a frame for each call, and what does not fit the signature
    # is raised by the call, as Python does, not when it is awaited.
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return start(self._liferaft.connection, method, method.flatten(args, kwargs))

    setattr(call, AWAITED, True)
    return call


def _streaming_method_on_loop(method: MethodSignature) -> Callable[..., Any]:
    def stream(self: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        values = method.flatten(args, kwargs)
        connection: Connection = self._liferaft.connection
        return connection.start_streaming(method, values, time_left=ambient.time_left()).reader()

    async def awaited(self: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        return stream(self, *args, **kwargs)

    return awaited if method.is_awaited else stream


def _bridged_method(method: MethodSignature) -> Callable[..., Any]:
    if method.result_items is not None:
        return _bridged_streaming_method(method)

    def block(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        core: StubCore = self._liferaft
        if core.call_from_thread is not None:
            return core.call(method, args, kwargs)
        bridge, work = core.work(method, args, kwargs)
        return bridge.run(work)

    def block_in_full(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        bridge, work = self._liferaft.work(method, args, kwargs)
        return bridge.run(work)

    def send(self: Any, /, *args: Any, **kwargs: Any) -> None:
        self._liferaft.notify(method, args, kwargs)

    async def wait(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        bridge, work = self._liferaft.work(method, args, kwargs)
        return await asyncio.wrap_future(bridge.submit(work))

    if method.is_async:
        return wait
    if method.is_oneway:
        return send
    return block_in_full if method.has_streams or method.has_references else block


def _bridged_streaming_method(method: MethodSignature) -> Callable[..., Any]:
    def block(self: Any, /, *args: Any, **kwargs: Any) -> BlockingStream:
        bridge, work = self._liferaft.work(method, args, kwargs)
        return BlockingStream(bridge.run(work), bridge)

    def stream(self: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        bridge, work = self._liferaft.work(method, args, kwargs)
        return BridgedStream(bridge.run(work), bridge)

    async def awaited(self: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        bridge, work = self._liferaft.work(method, args, kwargs)
        return BridgedStream(await asyncio.wrap_future(bridge.submit(work)), bridge)

    if method.is_awaited:
        return awaited
    return stream if method.is_async else block


async def _notify(connection: Connection, method: MethodSignature, arguments: Any) -> None:
    connection.notify(method, arguments)


def _repr(self: Any) -> str:
    connection = self._liferaft.connection
    return f"<{connection.interface.name} stub at {connection.address_text}>"


def _enter(self: Any) -> Any:
    return self


def _exit(self: Any, *_: object) -> None:
    core_of(self).close()


async def _aenter(self: Any) -> Any:
    return self


async def _aexit(self: Any, *_: object) -> None:
    await core_of(self).aclose()
