"""The callers of the RPC benchmark: who keeps calls in flight against which host, and how.

Those that block are measured on a thread of their own, so that they wait as they would in a program
without a loop.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import msgspec

from liferaft.api import aclose, aconnect, close, connect
from liferaft.bench.measure import WARM_UP_MAX, Measurement, measure, summary
from liferaft.bench.orders import (
    HOST,
    LENGTH,
    BlockingOrders,
    Order,
    Orders,
    Receipt,
    note_for,
)
from liferaft.bench.rivals import (
    GRPC_METHOD,
    PYRO_OBJECT,
    decode_receipt,
    encode,
    register_with_pyro,
)

AMOUNTS = [1, 2, 3, 4]


class Load(msgspec.Struct, frozen=True):
    """How much is asked for: calls in flight, for how long, of which size."""

    in_flight: int
    seconds: float
    size_bytes: int


Caller = Callable[[int, Load], Awaitable[Measurement]]
"""Takes the host's port, and the load."""


async def liferaft(port: int, load: Load) -> Measurement:
    """Measure a stub that is awaited."""
    orders = await aconnect(Orders, f"{HOST}:{port}")
    note = note_for(load.size_bytes)
    try:
        return await _awaited(
            "liferaft", load, lambda number: orders.place(number, "somebody", note, AMOUNTS)
        )
    finally:
        await aclose(orders)


async def liferaft_blocking(port: int, load: Load) -> Measurement:
    """Measure a stub that blocks, in one thread."""
    orders = connect(BlockingOrders, f"{HOST}:{port}", name="Orders")
    note = note_for(load.size_bytes)
    try:
        return await _in_turn(
            "liferaft (blocking)",
            load,
            lambda number: orders.place(number, "somebody", note, AMOUNTS),
        )
    finally:
        close(orders)


async def raw(port: int, load: Load) -> Measurement:
    """Measure messages of msgspec over a bare protocol of the loop."""
    loop = asyncio.get_running_loop()
    _, caller = await loop.create_connection(_RawCaller, HOST, port)
    note = note_for(load.size_bytes)
    try:
        return await _awaited(
            "bare echo",
            load,
            lambda number: caller.call(Order(number, "somebody", note, AMOUNTS)),
        )
    finally:
        caller.close()


class _RawCaller(asyncio.Protocol):
    """Matches answers with calls by their order, which is all that a bare echo allows."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._loop = asyncio.get_running_loop()
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.Transport, though they are such.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= LENGTH.size:
            stop = start + LENGTH.size + LENGTH.unpack_from(buffer, start)[0]
            if stop > len(buffer):
                break
            receipt = decode_receipt(bytes(buffer[start + LENGTH.size : stop]))
            self._waiting.popleft().set_result(receipt)
            start = stop
        del buffer[:start]

    def call(self, order: Order) -> asyncio.Future[Any]:
        waiter: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(waiter)
        data = encode(order)
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing += (LENGTH.pack(len(data)), data)
        return waiter

    def _flush(self) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def rpyc(port: int, load: Load) -> Measurement:
    """Measure RPyC with a dataclass as its result: by reference, so that its fields are asked for.

    Each field is asked for by a call that blocks, so calls in flight are those of as many threads.
    """

    def fetch(receipt: Any) -> Receipt:
        return Receipt(receipt.number, receipt.customer, receipt.note, list(receipt.amounts))

    with _rpyc_orders(port) as orders:
        place, note, amounts = orders.place, note_for(load.size_bytes), (*AMOUNTS,)
        return await _in_turn(
            "RPyC", load, lambda number: fetch(place(number, "somebody", note, amounts))
        )


async def rpyc_tuples(port: int, load: Load) -> Measurement:
    """Measure RPyC with what it passes by value, made a dataclass by hand where it arrives.

    Calls that block, or so many asynchronous ones on one connection.
    """

    def put_together(receipt: tuple[Any, ...]) -> Receipt:
        number, customer, note, amounts = receipt
        return Receipt(number, customer, note, list(amounts))

    name, note, amounts = "RPyC (tuples)", note_for(load.size_bytes), (*AMOUNTS,)
    with _rpyc_orders(port) as orders:
        place = orders.place_tuple
        if load.in_flight == 1:
            return await _in_turn(
                name, load, lambda number: put_together(place(number, "somebody", note, amounts))
            )
        import rpyc  # type: ignore[import-untyped] # noqa: PLC0415 - for benchmarks only

        begin = rpyc.async_(place)
        return await _in_flight(
            name,
            load,
            lambda number: begin(number, "somebody", note, amounts),
            lambda begun: put_together(begun.value),
        )


@contextmanager
def _rpyc_orders(port: int) -> Iterator[Any]:
    import rpyc  # noqa: PLC0415 - as above

    connection: Any = rpyc.connect(HOST, port)
    try:
        yield connection.root
    finally:
        connection.close()


async def pyro(port: int, load: Load) -> Measurement:
    """Measure Pyro5, whose proxy has one call in flight."""
    import Pyro5.api  # type: ignore[import-untyped] # noqa: PLC0415 - as above

    note = note_for(load.size_bytes)
    register_with_pyro()

    def work() -> Measurement:
        with Pyro5.api.Proxy(f"PYRO:{PYRO_OBJECT}@{HOST}:{port}") as orders:
            return _measure_in_turn(
                "Pyro5", load, lambda number: orders.place(number, "somebody", note, AMOUNTS)
            )

    return await asyncio.to_thread(work)


async def grpc(port: int, load: Load) -> Measurement:
    """Measure grpcio with calls that block, or so many futures on one channel."""
    import grpc as package  # type: ignore[import-untyped] # noqa: PLC0415 - as above

    note = note_for(load.size_bytes)
    with package.insecure_channel(f"{HOST}:{port}") as channel:
        place = channel.unary_unary(GRPC_METHOD, encode, decode_receipt)
        if load.in_flight == 1:
            return await _in_turn(
                "grpcio", load, lambda number: place(Order(number, "somebody", note, AMOUNTS))
            )
        return await _in_flight(
            "grpcio",
            load,
            lambda number: place.future(Order(number, "somebody", note, AMOUNTS)),
            lambda begun: begun.result(),
        )


async def grpc_aio(port: int, load: Load) -> Measurement:
    """Measure grpc.aio, on asyncio's own loop: it does not run on uvloop."""

    def work() -> Measurement:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(_grpc_aio(port, load))

    return await asyncio.to_thread(work)


async def _grpc_aio(port: int, load: Load) -> Measurement:
    import grpc as package  # noqa: PLC0415 - as above

    note = note_for(load.size_bytes)
    async with package.aio.insecure_channel(f"{HOST}:{port}") as channel:
        place = channel.unary_unary(GRPC_METHOD, encode, decode_receipt)
        return await _awaited(
            "grpc.aio", load, lambda number: place(Order(number, "somebody", note, AMOUNTS))
        )


def _check(name: str, result: object) -> None:
    """Raise unless the first call of a contender brought what each is measured with."""
    if type(result) is not Receipt:
        raise TypeError(f"{name} brought a {type(result).__name__} instead of a receipt")


async def _awaited(name: str, load: Load, call: Callable[[int], Awaitable[object]]) -> Measurement:
    _check(name, await call(0))
    return await measure(
        name,
        call,
        in_flight=load.in_flight,
        seconds=load.seconds,
        size_bytes=load.size_bytes,
    )


async def _in_turn(name: str, load: Load, call: Callable[[int], object]) -> Measurement:
    return await asyncio.to_thread(_measure_in_turn, name, load, call)


def _measure_in_turn(name: str, load: Load, call: Callable[[int], object]) -> Measurement:
    """Have so many threads call, each in turn; the calls that end in the measured time count."""
    clock = time.perf_counter
    _check(name, call(0))
    start = clock() + min(WARM_UP_MAX, load.seconds)
    end = start + load.seconds

    def one_lane(number: int) -> list[float]:
        latencies: list[float] = []
        while (began := clock()) < end:
            number += load.in_flight
            call(number)
            ended = clock()
            if start <= ended <= end:
                latencies.append(ended - began)
        return latencies

    # Pyro's proxies belong to the thread that has made them.
    latencies = one_lane(0) if load.in_flight == 1 else _in_threads(one_lane, load.in_flight)
    return summary(name, load.in_flight, load.size_bytes, load.seconds, latencies, errors=0)


def _in_threads(one_lane: Callable[[int], list[float]], count: int) -> list[float]:
    with ThreadPoolExecutor(count) as threads:
        return [*itertools.chain.from_iterable(threads.map(one_lane, range(count)))]


async def _in_flight(
    name: str, load: Load, begin: Callable[[int], Any], end: Callable[[Any], object]
) -> Measurement:
    return await asyncio.to_thread(_measure_in_flight, name, load, begin, end)


def _measure_in_flight(
    name: str, load: Load, begin: Callable[[int], Any], finish: Callable[[Any], object]
) -> Measurement:
    """Keep so many calls begun, and finish the oldest first."""
    clock = time.perf_counter
    latencies: list[float] = []
    number = 0
    begun: deque[tuple[float, Any]] = deque()
    _check(name, finish(begin(number)))
    start = clock() + min(WARM_UP_MAX, load.seconds)
    stop = start + load.seconds
    while (now := clock()) < stop or begun:
        while now < stop and len(begun) < load.in_flight:
            number += 1
            begun.append((clock(), begin(number)))
        since, oldest = begun.popleft()
        finish(oldest)
        ended = clock()
        if since >= start and ended <= stop:
            latencies.append(ended - since)
    return summary(name, load.in_flight, load.size_bytes, load.seconds, latencies, errors=0)
