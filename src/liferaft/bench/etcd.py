"""The same load against three etcd nodes, where Debian's etcd-server and nghttp2-client are there.

etcd is driven by h2load with ready-made gRPC frames, so that the figure is etcd's and not that of a
Python client: 16-byte keys, all puts to the leader, durable as etcd is by default.
"""

import asyncio
import json
import re
import shutil
import socket
import struct
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from liferaft.bench.measure import Measurement
from liferaft.errors import LiferaftError, Unreachable

HOST = "127.0.0.1"
START_SECONDS = 30.0


def is_installed() -> bool:
    """Return whether etcd and h2load can be run here."""
    return all(map(shutil.which, ("etcd", "h2load")))


async def bench_etcd(*, in_flight: int, seconds: float, size_bytes: int) -> Measurement:
    """Return what three etcd nodes do with puts of so many bytes, so many at a time."""
    with tempfile.TemporaryDirectory(prefix="liferaft-bench-etcd-") as directory:
        body = Path(directory, "put")
        body.write_bytes(put_frame(b"k" * 16, b"v" * size_bytes))  # noqa: ASYNC240 - before the load
        async with _cluster(Path(directory)) as leader:
            report = await _h2load(leader, body, in_flight, seconds)
    return _measurement(report, in_flight, size_bytes, seconds)


def put_frame(key: bytes, value: bytes) -> bytes:
    """Return a gRPC frame with an etcd PutRequest."""
    message = _field(1, key) + _field(2, value)
    return b"\0" + struct.pack(">I", len(message)) + message


def _field(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


@asynccontextmanager
async def _cluster(directory: Path) -> AsyncIterator[str]:
    """Run three nodes and give the leader's client address."""
    names = ["n1", "n2", "n3"]
    ports = _free_ports(2 * len(names))
    clients = [f"http://{HOST}:{port}" for port in ports[: len(names)]]
    peers = [f"http://{HOST}:{port}" for port in ports[len(names) :]]
    members = ",".join(f"{name}={peer}" for name, peer in zip(names, peers, strict=True))
    async with AsyncExitStack() as stack:
        for name, client, peer in zip(names, clients, peers, strict=True):
            process = await asyncio.create_subprocess_exec(
                *("etcd", "--name", name, "--data-dir", str(directory / name)),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *("--initial-cluster", members, "--initial-cluster-state", "new"),
                *("--logger", "zap", "--log-level", "error"),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            stack.push_async_callback(process.wait)
            stack.callback(process.terminate)
        yield await _leader(clients)


async def _leader(clients: list[str]) -> str:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + START_SECONDS
    while loop.time() < deadline:
        for client in clients:
            if await asyncio.to_thread(_is_leading, client):
                return client
        await asyncio.sleep(0.1)
    raise Unreachable(f"etcd did not elect a leader within {START_SECONDS:g} s")


def _is_leading(client: str) -> bool:
    request = urllib.request.Request(f"{client}/v3/maintenance/status", data=b"{}")  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310 - loopback
            status = json.load(answer)
    except OSError:
        return False  # it has not started yet
    return bool(status.get("leader") == status["header"]["member_id"])


async def _h2load(client: str, body: Path, in_flight: int, seconds: float) -> str:
    process = await asyncio.create_subprocess_exec(
        *("h2load", "-c", "1", "-t", "1", "-m", str(in_flight), "-D", str(max(1, round(seconds)))),
        *("-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"),
        f"{client}/etcdserverpb.KV/Put",
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.decode()


def _measurement(report: str, in_flight: int, size_bytes: int, seconds: float) -> Measurement:
    """Read h2load's report; it tells the mean and the extremes, no percentiles."""
    done = re.search(r"requests: .* (\d+) succeeded, (\d+) failed", report)
    rate = re.search(r"finished in [^,]+, ([\d.]+) req/s", report)
    if done is None or rate is None:
        raise LiferaftError(f"h2load's report cannot be read: {report[-500:]}")
    return Measurement(
        name="etcd writes",
        in_flight=in_flight,
        size_bytes=size_bytes,
        seconds=seconds,
        calls=int(done[1]),
        errors=int(done[2]),
        calls_per_second=float(rate[1]),
        p50=None,
        p99=None,
    )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
