"""Proxies of bytes and frames: what passes, what is held, what is broken."""

import asyncio
import contextlib
import hashlib
import math
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Protocol

import pytest

import liferaft
from liferaft.errors import AddressError, ConfigurationError
from liferaft.link.address import parse_address
from liferaft.link.leak import Leak
from liferaft.ops.frame_proxy import FrameProxy
from liferaft.ops.proxy import HELD_BYTES_MAX, ByteProxy, Conditions
from liferaft.ops.proxy_control import ByteProxyControl, FrameProxyControl, ProxyControl

ANY = parse_address("127.0.0.1:0")


@contextlib.asynccontextmanager
async def shouting_server() -> AsyncIterator[str]:
    """Serve what says back what it hears, in capitals, until its client says no more."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(64 * 1024):
                writer.write(data.upper())
                await writer.drain()
            writer.write_eof()
        writer.close()

    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


@contextlib.asynccontextmanager
async def proxied(conditions: Conditions | None = None) -> AsyncIterator[ByteProxy]:
    async with (
        shouting_server() as target,
        ByteProxy(ANY, parse_address(target), conditions=conditions, seed=3) as proxy,
    ):
        yield proxy


@contextlib.asynccontextmanager
async def connected(
    proxy: ByteProxy,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(proxy.address.host, proxy.address.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(),
        Conditions(delay=0.001, jitter=0.002),
        Conditions(bytes_per_second=50e6),
    ],
)
async def test_bytes_pass_whole_and_in_order_and_so_does_their_end(conditions: Conditions) -> None:
    sent = b"".join(hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(60_000))
    async with proxied(conditions) as proxy, connected(proxy) as (reader, writer):

        async def send() -> None:
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.ensure_future(send())
        heard = await reader.read(-1)
        await sending

        assert sent.upper() == heard
        status = proxy.status()
        assert (len(sent), len(sent), 1) == (
            status.bytes_up,
            status.bytes_down,
            status.connections_made,
        )


async def test_a_delay_holds_bytes_back_both_ways() -> None:
    async with proxied(Conditions(delay=0.05)) as proxy, connected(proxy) as (reader, writer):
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        writer.write(b"hello")
        assert b"HELLO" == await reader.readexactly(5)
        assert loop.time() - began_at >= 0.1


async def test_what_is_cut_is_held_until_it_is_healed() -> None:
    async with proxied(Conditions(is_cut_up=True)) as proxy, connected(proxy) as (reader, writer):
        writer.write(b"hello")
        answer = asyncio.ensure_future(reader.readexactly(5))
        done, _ = await asyncio.wait([answer], timeout=0.1)
        assert not done
        assert 0 == proxy.status().bytes_up

        proxy.change(Conditions())
        assert b"HELLO" == await answer

        proxy.change(Conditions(is_cut_down=True))
        writer.write(b"again")
        answer = asyncio.ensure_future(reader.readexactly(5))
        done, _ = await asyncio.wait([answer], timeout=0.1)
        assert not done
        assert 10 == proxy.status().bytes_up
        proxy.change(Conditions())
        assert b"AGAIN" == await answer


async def test_a_reset_is_seen_as_one_and_new_connections_work() -> None:
    async with proxied() as proxy:
        async with connected(proxy) as (reader, writer):
            writer.write(b"hello")
            await reader.readexactly(5)
            assert 1 == proxy.reset_all()
            with pytest.raises(ConnectionResetError):
                await reader.readexactly(1)
        async with connected(proxy) as (reader, writer):
            writer.write(b"hello")
            assert b"HELLO" == await reader.readexactly(5)


async def test_it_is_stopped_with_connections_open_and_says_nothing_of_it() -> None:
    told: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with shouting_server() as target, ByteProxy(ANY, parse_address(target)) as proxy:
        async with connected(proxy) as (reader, writer):
            writer.write(b"hello")
            assert b"HELLO" == await reader.read(5)

            await proxy.stop()

            assert b"" == await reader.read()
        assert 0 == proxy.status().connections_open
    assert [] == told


async def test_it_is_stopped_while_it_connects_and_lets_go_of_who_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connecting = asyncio.Event()

    async def connect_for_ever(_: ByteProxy) -> None:
        connecting.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(ByteProxy, "_connect", connect_for_ever)
    async with ByteProxy(ANY, ANY) as proxy, connected(proxy) as (reader, _):
        await connecting.wait()

        await proxy.stop()

        assert b"" == await reader.read()


@pytest.mark.parametrize("turns", range(5))
async def test_who_is_accepted_as_it_is_stopped_is_let_go(turns: int) -> None:
    async with shouting_server() as target:
        proxy = await ByteProxy(ANY, parse_address(target)).start()
        with contextlib.closing(socket.socket()) as client:
            client.setblocking(False)
            client.connect_ex((proxy.address.host, proxy.address.port))
            for _ in range(turns):
                await asyncio.sleep(0)
            await proxy.stop()
            with contextlib.suppress(ConnectionError):
                receiving = asyncio.get_running_loop().sock_recv(client, 1)
                assert b"" == await asyncio.wait_for(receiving, 10)


async def test_new_connections_may_be_refused() -> None:
    async with proxied(Conditions(is_refusing=True)) as proxy:
        async with connected(proxy) as (reader, _):
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        assert (0, 1) == (proxy.status().connections_made, proxy.status().connections_refused)


async def test_a_target_that_is_not_there_looks_like_one() -> None:
    async with (
        ByteProxy(ANY, parse_address("127.0.0.1:1")) as proxy,
        connected(proxy) as (reader, _),
    ):
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)


async def test_a_reader_that_takes_nothing_holds_the_sender_and_memory_stays_bounded() -> None:
    sent = b"x" * (64 * 1024 * 1024)
    async with proxied(Conditions(is_cut_up=True)) as proxy, connected(proxy) as (_, writer):
        writer.write(sent)
        draining = asyncio.ensure_future(writer.drain())
        done, _ = await asyncio.wait([draining], timeout=0.3)
        assert not done
        (connection,) = proxy._connections
        assert connection._pipes[0]._held_bytes < HELD_BYTES_MAX + 128 * 1024
        draining.cancel()


async def test_a_pause_is_drawn_from_the_seed_alone() -> None:
    async with proxied(Conditions(jitter=0.001)) as proxy, connected(proxy) as (reader, writer):
        writer.write(b"hello")
        await reader.readexactly(5)
        (connection,) = proxy._connections
        first = connection._pipes[0]._random.random()
    async with proxied(Conditions(jitter=0.5)) as proxy, connected(proxy) as (reader, writer):
        writer.write(b"hello")
        await reader.readexactly(5)
        (connection,) = proxy._connections
        assert first == connection._pipes[0]._random.random()


async def test_where_it_cannot_listen_it_says_so() -> None:
    async with proxied() as proxy:
        with pytest.raises(AddressError, match="cannot listen on"):
            await ByteProxy(proxy.address, ANY).start()


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_conditions_that_make_no_sense_are_refused(value: float) -> None:
    for make in (
        partial(Conditions, delay=value),
        partial(Conditions, jitter=value),
        partial(Conditions, bytes_per_second=value),
    ):
        with pytest.raises(ConfigurationError, match="give a number from 0 up"):
            make()


async def test_it_is_controlled_over_rpc_while_it_runs() -> None:
    async with (
        proxied() as proxy,
        await liferaft.aserve(ByteProxyControl(proxy), ProxyControl, "127.0.0.1:0") as host,
    ):
        control = await liferaft.aconnect(ProxyControl, host.address)
        await control.set(delay=0.25)
        await control.set(jitter=0.5)
        await control.cut(down=False)
        await control.refuse()
        expected = Conditions(delay=0.25, jitter=0.5, is_cut_up=True, is_refusing=True)
        assert expected == proxy.conditions
        await control.heal()
        assert Conditions(delay=0.25, jitter=0.5) == proxy.conditions
        with pytest.raises(ConfigurationError, match="frames of liferaft's own protocol only"):
            await control.set(loss=0.5)
        with pytest.raises(ConfigurationError, match="delay is -1"):
            await control.set(delay=-1)
        assert '"connections_open":0' in await control.status()
        assert 0 == await control.reset()
        await liferaft.aclose(control)


class Counting(Protocol):
    async def increment(self) -> int: ...


class CountingObject:
    def __init__(self) -> None:
        self.count = 0

    async def increment(self) -> int:
        self.count += 1
        return self.count


async def test_frames_are_lost_and_repeated_and_each_call_is_executed_once() -> None:
    counting = CountingObject()
    leak = Leak(loss=0.2, duplicate=0.2, delay_max=0.005, reorder=0.1)
    async with (
        await liferaft.aserve(counting, Counting, "127.0.0.1:0") as host,
        FrameProxy(ANY, parse_address(host.address), leak=leak, seed=5) as proxy,
    ):
        stub = await liferaft.aconnect(Counting, str(proxy.address), timeout=60)
        answers = [await stub.increment() for _ in range(30)]
        statistics = proxy.statistics()
        await liferaft.aclose(stub)

    assert list(range(1, 31)) == answers
    assert 30 == counting.count
    assert statistics.outgoing.lost > 0
    assert statistics.incoming.duplicated > 0


async def test_a_proxy_of_frames_is_controlled_too() -> None:
    async with (
        await liferaft.aserve(CountingObject(), Counting, "127.0.0.1:0") as host,
        FrameProxy(ANY, parse_address(host.address)) as proxy,
    ):
        control = FrameProxyControl(proxy, Leak())
        stub = await liferaft.aconnect(Counting, str(proxy.address), timeout=60)
        await control.set(loss=0.1, delay=0.001, jitter=0.002)
        assert 1 == await stub.increment()
        await control.cut()
        waiting = asyncio.ensure_future(stub.increment())
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        await control.heal()
        assert 2 == await waiting
        await control.reset()
        assert 3 == await stub.increment()
        assert '"lost"' in await control.status()
        await liferaft.aclose(stub)


async def test_a_proxy_of_frames_is_stopped_while_it_connects_and_lets_go_of_who_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connecting = asyncio.Event()

    async def connect_for_ever(_: object) -> None:
        connecting.set()
        await asyncio.Event().wait()

    async with FrameProxy(ANY, ANY) as proxy:
        monkeypatch.setattr(proxy.network, "connect", connect_for_ever)
        reader, writer = await asyncio.open_connection(proxy.address.host, proxy.address.port)
        await connecting.wait()

        await proxy.stop()

        with contextlib.suppress(ConnectionResetError):
            assert b"" == await reader.read()
        writer.close()
