"""The hosts that the RPC benchmark calls, each in a process of its own.

`python -m liferaft.bench.echo ours|raw|rpyc` listens on a free port of loopback, prints the port,
and serves until its standard input ends, so that it never outlives who started it.
"""

import asyncio
import contextlib
import struct
import sys
import threading
from dataclasses import dataclass
from typing import Any, Protocol, cast

from liferaft.ops.hosting import new_event_loop

HOST = "127.0.0.1"
LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class Receipt:
    """What an order is answered with: its own content, so that both ways carry the same."""

    number: int
    customer: str
    note: str
    amounts: list[int]


class Orders(Protocol):
    """The interface that is measured: typed arguments, a dataclass as the result."""

    async def place(self, number: int, customer: str, note: str, amounts: list[int]) -> Receipt:
        """Place an order."""


class OrderBook:
    """The implementation."""

    async def place(self, number: int, customer: str, note: str, amounts: list[int]) -> Receipt:
        """Place an order."""
        return Receipt(number, customer, note, amounts)


class RawEcho(asyncio.Protocol):
    """Sends each length-prefixed frame back: what a protocol costs before it does anything."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        # uvloop's transports do not derive from asyncio.Transport, though they are such.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the frames that are whole."""
        buffer = self._buffer
        buffer += data
        end = 0
        while len(buffer) - end >= LENGTH.size:
            stop = end + LENGTH.size + LENGTH.unpack_from(buffer, end)[0]
            if stop > len(buffer):
                break
            end = stop
        if end and self._transport is not None:
            self._transport.write(bytes(buffer[:end]))
            del buffer[:end]


async def _serve_ours(ended: asyncio.Event) -> None:
    from liferaft.api import aserve  # noqa: PLC0415 - each host loads only what it measures

    async with await aserve(OrderBook(), Orders, f"{HOST}:0") as host:
        _tell(int(str(host.address).rpartition(":")[2]))
        await ended.wait()


async def _serve_raw(ended: asyncio.Event) -> None:
    server = await asyncio.get_running_loop().create_server(RawEcho, HOST, 0)
    _tell(server.sockets[0].getsockname()[1])
    await ended.wait()
    server.close()


def _serve_rpyc() -> None:
    import rpyc  # type: ignore[import-untyped] # noqa: PLC0415 - a rival, installed for benchmarks only
    from rpyc.utils.server import ThreadedServer  # type: ignore[import-untyped] # noqa: PLC0415

    class Service(rpyc.Service):  # type: ignore[misc] # rpyc has no types
        """The same method as RPyC would have it: simple types travel by value."""

        def exposed_place(
            self, number: int, customer: str, note: str, amounts: tuple[int, ...]
        ) -> tuple[Any, ...]:
            """Place an order."""
            return (number, customer, note, amounts)

    server = ThreadedServer(Service, hostname=HOST, port=0)
    _tell(server.port)
    threading.Thread(target=server.start, daemon=True).start()
    sys.stdin.read()


def _tell(port: int) -> None:
    print(port, flush=True)  # noqa: T201 - this is how the port is told


async def _until_stdin_ends(kind: str) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def watch() -> None:
        sys.stdin.read()
        with contextlib.suppress(RuntimeError):  # the loop may have ended first
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch, daemon=True).start()
    await {"ours": _serve_ours, "raw": _serve_raw}[kind](ended)


def main() -> None:
    """Serve one kind of host."""
    kind = sys.argv[1]
    if kind == "rpyc":
        _serve_rpyc()
    else:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_until_stdin_ends(kind))


if __name__ == "__main__":
    main()
