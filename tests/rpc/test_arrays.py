"""Numpy's arrays as arguments, results and items of streams."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

import liferaft
from liferaft.errors import InvalidArgument
from liferaft.http import Gateway
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.link.system import SystemNetwork
from liferaft.rpc.codec import encode
from liferaft.rpc.interface import Interface


class Maths(Protocol):
    async def double(self, values: np.ndarray) -> np.ndarray: ...
    async def total(self, values: npt.NDArray[np.float64]) -> float: ...
    async def all(self, values: dict[str, np.ndarray] | None = None) -> list[np.ndarray]: ...
    def rows(self, values: npt.NDArray[np.float64]) -> AsyncIterator[np.ndarray]: ...
    async def echo(self, values: np.ndarray) -> np.ndarray: ...


class MathsObject:
    async def double(self, values: np.ndarray) -> np.ndarray:
        return 2 * values

    async def total(self, values: npt.NDArray[np.float64]) -> float:
        return values.sum()  # type: ignore[no-any-return] # a scalar of numpy's

    async def all(self, values: dict[str, np.ndarray] | None = None) -> list[np.ndarray]:
        return list((values or {}).values())

    async def echo(self, values: np.ndarray) -> np.ndarray:
        return values


class Rows(MathsObject):
    async def rows(self, values: npt.NDArray[np.float64]) -> AsyncIterator[np.ndarray]:
        for row in values:
            yield row


ARRAYS: list[np.ndarray] = [
    np.arange(12, dtype=np.int32).reshape(3, 4),
    np.arange(12, dtype=np.float64).reshape(3, 4).T,
    np.arange(20)[::2],
    np.array(5.5),
    np.zeros((0, 3)),
    np.array([True, False]),
    np.array([1 + 2j]),
    np.array(["2020-01-02"], dtype="M8[D]"),
    np.array(["ab", "c"]),
    np.array([b"ab", b"c"]),
    np.arange(4, dtype=">u2"),
]


@pytest.fixture
async def maths() -> AsyncIterator[Maths]:
    inner = MemoryNetwork()
    leak = Leak(loss=0.1, duplicate=0.1, delay_max=0.005)
    network = LeakyNetwork(inner, seed=3, outgoing=leak, incoming=leak)
    async with await liferaft.aserve(Rows(), Maths, "memory:maths", network=inner):
        stub = await liferaft.aconnect(Maths, "memory:maths", network=network, timeout=60)
        yield stub
        await liferaft.aclose(stub)


async def test_arrays_come_back_as_they_went(maths: Maths) -> None:
    for array in ARRAYS:
        back = await maths.echo(array)
        assert (array.dtype, array.shape) == (back.dtype, back.shape)
        assert np.array_equal(array, back)


async def test_they_are_arguments_results_members_and_items(maths: Maths) -> None:
    values = np.arange(6, dtype=np.float64).reshape(2, 3)

    assert np.array_equal(2 * values, await maths.double(values))
    assert 15.0 == await maths.total(values)
    assert [] == await maths.all()
    (one,) = await maths.all({"a": values})
    assert np.array_equal(values, one)
    rows = [row async for row in maths.rows(values)]
    assert np.array_equal(values, np.stack(rows))


async def test_an_array_of_objects_does_not_travel(maths: Maths) -> None:
    for array in (np.array([object()]), np.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")])):
        with pytest.raises(InvalidArgument, match=r"cannot be sent"):
            await maths.double(array)


@pytest.mark.parametrize(
    "sent",
    [
        ["<f8", [2], b"short"],
        ["<f8", [-1], b""],
        ["<f8", ["2"], b"x" * 16],
        ["O", [1], b"x" * 8],
        ["|V8", [1], b"x" * 8],
        ["__import__", [1], b"x" * 8],
        ["<f8", [2**62, 4], b""],
        [1, 2, 3],
        "text",
        None,
    ],
)
def test_what_is_no_array_is_refused(sent: Any) -> None:
    method = Interface.of(Maths).methods["double"]
    with pytest.raises(InvalidArgument, match="double"):
        method.arguments.decode(encode([sent]))


async def test_whoever_has_not_the_interface_calls_with_arrays_too() -> None:
    network = MemoryNetwork()
    async with await liferaft.aserve(Rows(), Maths, "memory:maths", network=network):
        described = await liferaft.adescribe("memory:maths", network=network)
        assert "numpy.ndarray" in liferaft.python_source(described)
        interface = liferaft.interface_class(described)
        stub: Any = await liferaft.aconnect(interface, "memory:maths", network=network)
        assert [2, 4] == list(await stub.double(np.array([1, 2])))
        await liferaft.aclose(stub)


def test_methods_with_arrays_have_no_route_over_http() -> None:
    gateway = Gateway()
    with pytest.raises(liferaft.InterfaceError, match="no method"):
        gateway.host(Rows(), Maths)
    gateway.close()


class BlockingMaths(Protocol):
    def total(self, values: npt.NDArray[np.float64]) -> float: ...


class BlockingMathsObject:
    def total(self, values: npt.NDArray[np.float64]) -> float:
        return float(values.sum())


@pytest.mark.slow
def test_a_large_array_crosses_where_frames_may_be_large() -> None:
    """256 MB, with one copy at the sender and one at the receiver."""
    size = 512 * 1024 * 1024
    network = SystemNetwork(frame_bytes_max=size)
    values = np.ones(32 * 1024 * 1024)
    with liferaft.serve(
        BlockingMathsObject(),
        BlockingMaths,
        "127.0.0.1:0",
        network=network,
        limits=liferaft.Limits(frame_bytes_max=size),
        memory=liferaft.Memory(execution_bytes_max=size),
    ) as host:
        stub = liferaft.connect(BlockingMaths, host.address, network=network, timeout=100)
        assert float(len(values)) == stub.total(values)
        liferaft.close(stub)


def test_an_array_is_not_copied_when_it_is_read() -> None:
    method = Interface.of(Maths).methods["double"]
    data = encode([np.arange(1000)])

    (array,) = method.arguments.decode(msgspec.Raw(data))

    assert not array.flags.owndata
    assert not array.flags.writeable
