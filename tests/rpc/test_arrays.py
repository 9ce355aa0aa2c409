"""Numpy's arrays as arguments, results and items of streams."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pytest
from msgspec.msgpack import Ext

import liferaft
from liferaft.errors import InvalidArgument
from liferaft.http import Gateway
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.arrays import ALIGNMENT
from liferaft.rpc.codec import encode
from liferaft.rpc.interface import Interface
from tests.rpc.large_array import ARRAY_BYTES

GROWTH_MAX_BYTES = 48 * 1024 * 1024


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


def told(element: object, shape: object) -> bytes:
    meta = encode([element, shape])
    return len(meta).to_bytes(2, "big") + meta


@pytest.mark.parametrize(
    "sent",
    [
        Ext(1, told("<f8", [2]) + b"short"),
        Ext(1, told("<f8", [2]) + bytes(16 + ALIGNMENT)),
        Ext(1, told("<f8", [-1])),
        Ext(1, told("<f8", [-1, -1]) + bytes(8)),
        Ext(1, told("<f8", ["2"]) + bytes(16)),
        Ext(1, told("O", [1]) + bytes(8)),
        Ext(1, told("|V8", [1]) + bytes(8)),
        Ext(1, told("__import__", [1]) + bytes(8)),
        Ext(1, told("<f8", [2**62, 4])),
        Ext(1, told(1, [2])),
        Ext(1, b"\xff\xff" + bytes(8)),
        Ext(1, b"\0"),
        Ext(1, b""),
        Ext(2, told("<f8", [1]) + bytes(8)),
        ["<f8", [1], bytes(8)],
        "text",
        None,
    ],
)
def test_what_is_no_array_is_refused(sent: Any) -> None:
    method = Interface.of(Maths).methods["double"]
    with pytest.raises(InvalidArgument, match=r"double\(values\)"):
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


@pytest.mark.slow
@pytest.mark.processes
def test_a_large_array_crosses_with_one_copy_at_the_receiver_beside_what_was_read() -> None:
    """256 MB there and back; sender and receiver print by how many bytes each has grown."""
    script = Path(__file__).parent / "large_array.py"
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=250
    )
    sent, taken, given, fetched = map(int, done.stdout.split())

    assert max(sent, given) < GROWTH_MAX_BYTES, "nothing is copied"
    assert max(taken, fetched) < 2 * ARRAY_BYTES + GROWTH_MAX_BYTES
