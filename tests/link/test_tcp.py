"""What is peculiar to TCP: ports, names of hosts, the kernel's options, and its traps."""

import asyncio
import errno
import socket
from contextlib import closing

import pytest

from liferaft.errors import AddressError, Unreachable
from liferaft.link.address import Address, parse_address
from liferaft.link.base import Link
from liferaft.link.stream import StreamLink
from liferaft.link.system import SystemNetwork
from liferaft.link.tcp import is_connected_to_itself
from tests.link.recorder import Acceptor, Recorder, end_all, make_pair


async def test_the_listener_tells_the_port_that_the_system_chose() -> None:
    listener = await SystemNetwork().listen(parse_address("127.0.0.1:0"), Acceptor())
    port = listener.address.port
    await listener.close()

    assert 0 < port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_host_of_several_addresses_gets_one_port(host: str) -> None:
    """Asked for port 0, the system would choose another one for each address of localhost."""
    connecting, accepted, listener = await make_pair(
        SystemNetwork(), Address(kind="tcp", host=host)
    )
    address = listener.address
    await end_all(connecting, accepted)
    await listener.close()

    assert host == address.host
    assert str(address) == connecting.peer


async def test_both_ends_send_without_nagles_delay() -> None:
    def nodelay(link: Link) -> int:
        assert isinstance(link, StreamLink)
        transport_socket = link._transport.get_extra_info("socket")
        return int(transport_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    connecting, accepted, listener = await make_pair(SystemNetwork(), parse_address("127.0.0.1:0"))
    options = [nodelay(connecting), nodelay(accepted)]
    await end_all(connecting, accepted)
    await listener.close()

    assert all(options)


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="the system has no such bound")
async def test_the_kernel_takes_little_that_a_peer_does_not_read() -> None:
    """What it took would be seen by nobody, and a peer that never reads be answered for long."""
    acceptor, frame, count = Acceptor(), bytes(64 * 1024), 64
    listener = await SystemNetwork().listen(parse_address("127.0.0.1:0"), acceptor)
    with closing(socket.socket()) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        peer.connect(("127.0.0.1", listener.address.port))
        accepted = await acceptor.next_link()
        assert isinstance(accepted, StreamLink)
        recorder = Recorder(accepted)
        for _ in range(count):
            accepted.send(frame)
            await asyncio.sleep(0)
        await recorder.wait_until(lambda seen: "paused" in seen.pressure)
        taken_bytes = count * len(frame) - accepted.unsent_bytes
        await end_all(accepted)
    await listener.close()

    assert taken_bytes < 1024 * 1024


async def test_a_port_that_another_process_uses_is_refused_with_advice() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        address = Address(kind="tcp", host="127.0.0.1", port=other.getsockname()[1])
        with pytest.raises(AddressError) as caught:
            await SystemNetwork().listen(address, Acceptor())

    assert f"{address} is in use by another process: stop it or choose another port" == str(
        caught.value
    )


@pytest.mark.parametrize("port", [0, 7400])
@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("203.0.113.1", "203.0.113.1 is not an address of this machine"),
        ("no-such-host.invalid", "no-such-host.invalid is not the name of a known host"),
        ("x" * 64, "is not the name of a known host"),
    ],
)
async def test_a_host_that_is_not_here_is_refused_with_advice(
    host: str, port: int, sentence: str
) -> None:
    network = SystemNetwork(is_insecure=True)
    with pytest.raises(AddressError, match=sentence):
        await network.listen(Address(kind="tcp", host=host, port=port), Acceptor())


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EACCES, "127.0.0.1:80 needs more rights .* choose a port above 1023"),
        (errno.EMFILE, "cannot listen on 127.0.0.1:80: too many open files"),
    ],
)
async def test_a_refusal_of_the_system_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    async def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(number, "as the system says")

    monkeypatch.setattr("liferaft.link.tcp._host_to_bind", refuse)
    with pytest.raises(AddressError, match=sentence):
        await SystemNetwork().listen(parse_address("127.0.0.1:80"), Acceptor())


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("no-such-host.invalid", "nobody answered at no-such-host.invalid:1: the name of the host"),
        ("x" * 64, "nobody answered at x+:1: "),
        ("127.0.0.1", "nobody answered at 127.0.0.1:1: connection refused"),
    ],
)
async def test_a_host_that_cannot_be_reached_is_unreachable(host: str, sentence: str) -> None:
    with pytest.raises(Unreachable, match=sentence):
        await SystemNetwork().connect(Address(kind="tcp", host=host, port=1))


async def test_a_socket_connected_to_itself_is_recognized() -> None:
    """Linux connects a socket to itself when its own port is the one that it asks for."""
    loop = asyncio.get_running_loop()
    narcissus = socket.socket()
    narcissus.bind(("127.0.0.1", 0))
    narcissus.connect(narcissus.getsockname())
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=narcissus)
    found = is_connected_to_itself(transport)
    transport.abort()

    assert found


async def test_a_link_to_oneself_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liferaft.link.tcp.is_connected_to_itself", lambda _: True)
    acceptor = Acceptor()
    network = SystemNetwork()
    listener = await network.listen(parse_address("127.0.0.1:0"), acceptor)
    with pytest.raises(Unreachable, match="the port is free"):
        await network.connect(listener.address)
    await end_all(await acceptor.next_link())
    await listener.close()
