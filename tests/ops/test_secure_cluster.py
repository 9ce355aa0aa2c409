"""A real cluster whose nodes and clients show each other certificates and tokens."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import liferaft
from liferaft.cluster.admin import ADMIN_OBJECT, NodeAdmin
from liferaft.cluster.config import NodeConfig
from liferaft.errors import PermissionDenied, Unauthenticated, Unreachable
from liferaft.link.tls import Tls
from liferaft.ops.certificates import issue_certificate, make_authority
from liferaft.ops.hosting import Hosting, host_node
from liferaft.recipes.todo import TodoList
from liferaft.rpc.access import new_token

pytestmark = pytest.mark.slow


class Secrets:
    """Certificates and tokens for three nodes and their clients."""

    def __init__(self, directory: Path) -> None:
        make_authority(directory, name="cluster")
        self.directory = directory
        self.client, self.admin, peer = new_token(), new_token(), new_token()
        roles = {self.client: [], self.admin: ["admin"], peer: ["peer"]}
        (directory / "tokens.json").write_text(json.dumps(roles))
        (directory / "peer.token").write_text(peer)

    def tls(self, name: str) -> Tls:
        path = self.directory / f"{name}.crt"
        if not path.exists():
            issue_certificate(self.directory, name, hosts=["127.0.0.1"], days=1)
        return Tls(
            certificate=str(path),
            key=str(self.directory / f"{name}.key"),
            authority=str(self.directory / "authority.crt"),
        )


@contextlib.contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    yield ports


@contextlib.asynccontextmanager
async def cluster(secrets: Secrets) -> AsyncIterator[str]:
    """Run three nodes in this process, over real sockets; give their addresses."""
    with free_ports(3) as ports:
        peers = {f"n{number}": f"127.0.0.1:{port}" for number, port in enumerate(ports, 1)}
    stop = asyncio.Event()
    nodes = []
    for name in peers:
        config = NodeConfig(
            node_id=name,
            peers=peers,
            data=str(secrets.directory / name),
            segment_bytes=64 * 1024,
            tls=secrets.tls(name),
            tokens=str(secrets.directory / "tokens.json"),
            token=str(secrets.directory / "peer.token"),
        )
        hosting = Hosting(config=config, objects=lambda: {"TodoList": TodoList()})
        nodes.append(
            asyncio.ensure_future(host_node(hosting, stop=stop, on_listening=lambda _: None))
        )
    try:
        yield ",".join(peers.values())
    finally:
        stop.set()
        await asyncio.gather(*nodes)


async def test_a_cluster_talks_tls_and_takes_tokens(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    async with cluster(secrets) as addresses:
        mine = secrets.tls("client")
        with liferaft.deadline(60):
            todo = await liferaft.aconnect(TodoList, addresses, tls=mine, token=secrets.client)
        item = await asyncio.to_thread(todo.add, "milk")
        assert "milk" == item.text
        await liferaft.aclose(todo)

        first = addresses.partition(",")[0]
        with pytest.raises(Unreachable):
            await liferaft.aconnect(TodoList, first, token=secrets.client, timeout=1)
        with pytest.raises(Unauthenticated):
            await liferaft.aconnect(TodoList, first, tls=mine, timeout=5)
        allowed = await liferaft.aconnect(
            NodeAdmin, first, name=ADMIN_OBJECT, tls=mine, token=secrets.admin
        )
        assert 1 <= (await allowed.status()).current_term
        refused = await liferaft.aconnect(
            NodeAdmin, first, name=ADMIN_OBJECT, tls=mine, token=secrets.client
        )
        with pytest.raises(PermissionDenied):
            await refused.status()
        await liferaft.aclose(allowed)
        await liferaft.aclose(refused)
