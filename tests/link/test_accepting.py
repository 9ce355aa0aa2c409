"""A listener that is closed leaves nobody behind who was accepted just before."""

import asyncio
import socket
from contextlib import closing
from pathlib import Path

import pytest

from liferaft.link.accepting import stop_accepting
from liferaft.link.address import Address
from liferaft.link.system import SystemNetwork


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("turns", range(5))
async def test_who_is_accepted_as_the_listener_closes_gets_a_link_or_is_turned_away(
    kind: str, turns: int, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)  # or asyncio would say nothing of a transport that it could not make
    faults: list[object] = []
    loop.set_exception_handler(lambda _loop, context: faults.append(context))
    address = Address(kind="tcp", host="127.0.0.1")
    if kind == "unix":
        address = Address(kind="unix", host=str(tmp_path / "socket"))
    listener = await SystemNetwork().listen(address, lambda link: link.abort())
    bound = listener.address
    with closing(socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX)) as peer:
        peer.setblocking(False)
        peer.connect_ex((bound.host, bound.port) if kind == "tcp" else bound.host)
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.close()
        try:
            at_the_end = await asyncio.wait_for(loop.sock_recv(peer, 1), 10)
        except ConnectionError:
            at_the_end = b""

    assert at_the_end == b""
    assert [] == faults


async def test_a_listener_closes_on_a_loop_that_has_no_readers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such is the loop that asyncio has on Windows."""

    def without(_descriptor: int) -> bool:
        raise NotImplementedError

    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    if isinstance(loop, asyncio.BaseEventLoop):  # uvloop's methods cannot be replaced
        monkeypatch.setattr(loop, "remove_reader", without)
    await stop_accepting(server)

    assert not server.is_serving()
