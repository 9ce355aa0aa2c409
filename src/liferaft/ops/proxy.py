"""A TCP proxy that makes a bad network of a good one, before any server.

It moves bytes, so it can delay, throttle, hold back, reset and refuse; it cannot lose, repeat or
reorder: TCP would repair that, and a stream with a hole is no stream. Whole frames can be lost, but
only of a protocol that frames and repairs by itself: liferaft's own (`liferaft.ops.frame_proxy`).

Order is kept, and what is held is bounded: a sender that is too fast is held back, as by TCP.
"""

import asyncio
import contextlib
import math
import socket
import struct
from collections import deque
from random import Random
from typing import Final, Self

import msgspec

from liferaft.errors import AddressError, ConfigurationError
from liferaft.link.accepting import stop_accepting
from liferaft.link.address import Address
from liferaft.link.tcp import reason_of

READ_BYTES: Final = 64 * 1024
HELD_BYTES_MAX: Final = 1024 * 1024
"""What one direction of one connection may hold; then its sender is read no further."""
CONNECT_TIMEOUT: Final = 10.0
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What the proxy does to every connection; without arguments, nothing.

    Raises `ConfigurationError` when a value is out of its range.
    """

    delay: float = 0.0
    """Seconds that bytes are held, in each direction."""
    jitter: float = 0.0
    """Seconds that they are held beyond that at most, drawn anew for each piece; order is kept."""
    bytes_per_second: float = 0.0
    """How much passes in a second, each way, on each connection. 0 is without bound."""
    is_cut_up: bool = False
    """Whether nothing passes to the target; what is sent is held, as when a cable is out."""
    is_cut_down: bool = False
    """Whether nothing passes from the target."""
    is_refusing: bool = False
    """Whether new connections are reset."""

    def __post_init__(self) -> None:
        for name in ("delay", "jitter", "bytes_per_second"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigurationError(f"{name} is {value}: give a number from 0 up")


class ProxyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the proxy has done so far, and what it does at present."""

    conditions: Conditions
    connections_open: int
    connections_made: int
    connections_refused: int
    connections_reset: int
    bytes_up: int
    bytes_down: int


class ByteProxy:
    """Passes connections on from one address to another, under conditions that may change.

    Pauses are drawn from `seed`: the hundredth piece of the third connection is held for as long in
    every run. Used on a running loop: `async with`, or `start` and `stop`.
    """

    def __init__(
        self,
        listen: Address,
        target: Address,
        *,
        conditions: Conditions | None = None,
        seed: int = 0,
    ) -> None:
        self.conditions = conditions or Conditions()
        self.target = target
        self._listen = listen
        self._seed = seed
        self._server: asyncio.Server | None = None
        self._connections: dict[_Connection, None] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._made = self._refused = self._reset = 0
        self._bytes = {"up": 0, "down": 0}

    @property
    def address(self) -> Address:
        """Where it listens: with the port that the system chose, once started."""
        if self._server is None or self._listen.kind == "unix":
            return self._listen
        port: int = self._server.sockets[0].getsockname()[1]
        return Address(kind="tcp", host=self._listen.host, port=port)

    async def start(self) -> Self:
        """Begin to listen; raises `AddressError`."""
        try:
            if self._listen.kind == "unix":
                self._server = await asyncio.start_unix_server(self._accepted, self._listen.host)
            else:
                self._server = await asyncio.start_server(
                    self._accepted, self._listen.host, self._listen.port
                )
        except OSError as error:
            raise AddressError(f"cannot listen on {self._listen}: {reason_of(error)}") from error
        return self

    async def stop(self) -> None:
        """Stop to listen, and end every connection. May be called again."""
        server, self._server = self._server, None
        if server is None:
            return
        await stop_accepting(server)
        for connection in list(self._connections):
            connection.end()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def change(self, conditions: Conditions) -> None:
        """Have other conditions from now on, on the connections that there are too."""
        self.conditions = conditions
        for connection in self._connections:
            connection.conditions_changed()

    def reset_all(self) -> int:
        """Reset every connection (both ends see a reset), and return how many there were."""
        found = list(self._connections)
        for connection in found:
            connection.reset()
        self._reset += len(found)
        return len(found)

    def status(self) -> ProxyStatus:
        """Return what was done so far."""
        return ProxyStatus(
            conditions=self.conditions,
            connections_open=len(self._connections),
            connections_made=self._made,
            connections_refused=self._refused,
            connections_reset=self._reset,
            bytes_up=self._bytes["up"],
            bytes_down=self._bytes["down"],
        )

    def passed(self, direction: str, count: int) -> None:
        """Count bytes that went "up" to the target, or "down" from it."""
        self._bytes[direction] += count

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio asks one that it makes for its error, and a cancelled one too.
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks[task] = None

        def ended(_: asyncio.Task[None]) -> None:
            del self._tasks[task]
            writer.close()  # it may have been cancelled before it could do anything

        task.add_done_callback(ended)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.conditions.is_refusing:
            self._refused += 1
            _reset(writer)
            return
        number, self._made = self._made, self._made + 1
        await self._pass_on(reader, writer, number)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                target_reader, target_writer = await self._connect()
        except (OSError, TimeoutError):
            _reset(writer)  # the client sees what it would see without the proxy: nobody is there
            return
        connection = _Connection(self, (reader, writer), (target_reader, target_writer), number)
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            del self._connections[connection]
            connection.end()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.target.kind == "unix":
            return await asyncio.open_unix_connection(self.target.host)
        return await asyncio.open_connection(self.target.host, self.target.port)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """One connection that is passed on: a pipe for each direction."""

    def __init__(self, proxy: ByteProxy, client: Ends, target: Ends, number: int) -> None:
        self._writers = (client[1], target[1])
        seed = f"{proxy._seed} {number}"  # noqa: SLF001 - of the same module
        self._pipes = (
            _Pipe(proxy, "up", client[0], target[1], Random(f"{seed} up")),
            _Pipe(proxy, "down", target[0], client[1], Random(f"{seed} down")),
        )

    async def run(self) -> None:
        """Pass on until both directions have ended, or the connection is broken."""
        tasks = [asyncio.ensure_future(pipe.run()) for pipe in self._pipes]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if any(task.exception() for task in done if not task.cancelled()):
                # One end is gone without a farewell: so it is for the other.
                self.reset()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def conditions_changed(self) -> None:
        """Have the pipes look again."""
        for pipe in self._pipes:
            pipe.conditions_changed()

    def reset(self) -> None:
        """Reset both ends."""
        for writer in self._writers:
            _reset(writer)

    def end(self) -> None:
        """Close both ends."""
        for writer in self._writers:
            writer.close()


class _Pipe:
    """One direction of one connection."""

    def __init__(
        self,
        proxy: ByteProxy,
        direction: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        random: Random,
    ) -> None:
        self._proxy = proxy
        self._direction = direction
        self._reader = reader
        self._writer = writer
        self._random = random
        self._loop = asyncio.get_running_loop()
        # What waits, with when it may go; an empty piece is the end.
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Pass on until the end of what is read; raises `OSError` when an end breaks."""
        reading = asyncio.ensure_future(self._read())
        try:
            await self._write()
            await reading
        finally:
            reading.cancel()

    def conditions_changed(self) -> None:
        """Look again at what holds things back."""
        self._changed.set()

    async def _read(self) -> None:
        due = 0.0
        data = b"more"
        while data:
            while self._held_bytes >= HELD_BYTES_MAX:
                await self._wait()
            try:
                data = await self._reader.read(READ_BYTES)
            except OSError:
                self._held.append((due, _BROKEN))
                self._changed.set()
                raise
            conditions = self._proxy.conditions
            pause = conditions.delay + conditions.jitter * self._random.random()
            due = max(due, self._loop.time() + pause)
            self._held.append((due, data))
            self._held_bytes += len(data)
            self._changed.set()

    async def _write(self) -> None:
        while True:
            while not self._held or self._is_cut:
                await self._wait()
            due, data = self._held[0]
            pause = due - self._loop.time()
            if pause > 0:
                await self._wait(pause)
                continue
            self._held.popleft()
            if data is _BROKEN:
                return
            if not data:
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                return
            await self._pass(data)

    async def _pass(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()
        self._held_bytes -= len(data)
        self._proxy.passed(self._direction, len(data))
        self._changed.set()
        rate = self._proxy.conditions.bytes_per_second
        if rate:
            await asyncio.sleep(len(data) / rate)

    @property
    def _is_cut(self) -> bool:
        conditions = self._proxy.conditions
        return conditions.is_cut_up if self._direction == "up" else conditions.is_cut_down

    async def _wait(self, seconds: float | None = None) -> None:
        """Wait until something has changed, or so many seconds."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


_BROKEN: Final = bytes(bytearray(b"broken"))
"""Stands for an end that is gone without a farewell."""


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a socket so that its other end sees a reset."""
    if writer.transport.is_closing():
        return
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    writer.transport.abort()
