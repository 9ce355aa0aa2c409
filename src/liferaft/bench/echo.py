"""The hosts that the RPC benchmark calls, each in a process of its own.

`python -m liferaft.bench.echo KIND` listens on a free port of loopback, prints the port, and serves
until its standard input ends, so that it never outlives who started it.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Final, cast

from liferaft.bench import rivals
from liferaft.bench.orders import HOST, LENGTH, OrderBook, Orders, Receipt
from liferaft.bench.rivals import decode_order, encode
from liferaft.ops.hosting import new_event_loop


class RawEcho(asyncio.Protocol):
    """Answers each length-prefixed message: what msgspec and a protocol cost, and nothing else."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        # uvloop's transports do not derive from asyncio.Transport, though they are such.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the frames that are whole, together."""
        buffer = self._buffer
        buffer += data
        end = 0
        answers: list[bytes] = []
        while len(buffer) - end >= LENGTH.size:
            stop = end + LENGTH.size + LENGTH.unpack_from(buffer, end)[0]
            if stop > len(buffer):
                break
            order = decode_order(bytes(buffer[end + LENGTH.size : stop]))
            answer = encode(Receipt(order.number, order.customer, order.note, order.amounts))
            answers += (LENGTH.pack(len(answer)), answer)
            end = stop
        if end and self._transport is not None:
            self._transport.write(b"".join(answers))
            del buffer[:end]


UntilEnded = Callable[[], Awaitable[None]]


async def _serve_ours(until_ended: UntilEnded) -> None:
    from liferaft.api import aserve  # noqa: PLC0415 - each host loads only what it measures
    from liferaft.rpc.server import Limits  # noqa: PLC0415 - likewise

    limits = Limits(connections_max=5_000)
    async with await aserve(OrderBook(), Orders, f"{HOST}:0", name="Orders", limits=limits) as host:
        _tell(int(str(host.address).rpartition(":")[2]))
        await until_ended()


async def _serve_raw(until_ended: UntilEnded) -> None:
    server = await asyncio.get_running_loop().create_server(RawEcho, HOST, 0)
    _tell(server.sockets[0].getsockname()[1])
    await until_ended()
    server.close()


async def _serve_grpc_aio(until_ended: UntilEnded) -> None:
    await rivals.serve_grpc_aio(_tell, until_ended)


def _tell(port: int) -> None:
    print(port, flush=True)  # noqa: T201 - this is how the port is told


async def _until_stdin_ends(serve: Callable[[UntilEnded], Awaitable[None]]) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def watch() -> None:
        sys.stdin.read()
        with contextlib.suppress(RuntimeError):  # the loop may have ended first
            loop.call_soon_threadsafe(ended.set)

    async def until_ended() -> None:
        await ended.wait()

    threading.Thread(target=watch, daemon=True).start()
    await serve(until_ended)


_AWAITED: Final = {"ours": _serve_ours, "raw": _serve_raw, "grpc_aio": _serve_grpc_aio}
_BLOCKING: Final = {
    "rpyc": rivals.serve_rpyc,
    "pyro": rivals.serve_pyro,
    "grpc": rivals.serve_grpc,
}


def main() -> None:
    """Serve one kind of host."""
    kind = sys.argv[1]
    if kind in _BLOCKING:
        _BLOCKING[kind](_tell)
        return
    # gRPC's asyncio does not run on uvloop.
    factory = asyncio.new_event_loop if kind == "grpc_aio" else new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_until_stdin_ends(_AWAITED[kind]))


if __name__ == "__main__":
    main()
