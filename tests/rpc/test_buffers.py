"""Large buffers leave from where they lie, and arrive as if they had been copied."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

import liferaft
from liferaft.errors import InvalidArgument
from liferaft.link.frames import Gathered, Sendable, joined
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.link.system import SystemNetwork
from liferaft.link.tls import Tls
from liferaft.ops.certificates import issue_certificate, make_authority
from liferaft.rpc import buffers
from liferaft.rpc.arrays import ALIGNMENT
from liferaft.rpc.buffers import LARGE_BYTES, LargeFrame, encode_apart, may_be_large, set_aside
from liferaft.rpc.codec import decode_frame, encode, make_decoder
from liferaft.rpc.interface import Interface
from liferaft.rpc.protocol import CallerProtocol
from liferaft.rpc.wire import Call, Reply

COUNT = LARGE_BYTES // 8
Array = npt.NDArray[np.float64]


def call(*arguments: Any) -> Call:
    return Call(7, 1, "Store", "put", 1.5, arguments, {"trace": "9"})  # type: ignore[arg-type] # a tuple is encoded as Raw would be


def apart(*arguments: Any) -> LargeFrame:
    frame = encode_apart(call(*set_aside(arguments)))
    assert isinstance(frame, LargeFrame)
    return frame


def address(data: Any) -> int:
    return int(np.frombuffer(data, "u1").ctypes.data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_frame_with_large_bytes_is_what_a_copy_would_have_been(kind: Any) -> None:
    data = kind(b"ab" * LARGE_BYTES)
    other = kind(b"c" * LARGE_BYTES)

    assert encode(call("x", data, 3, other)) == joined(apart("x", data, 3, other))


def test_nothing_of_a_large_buffer_is_copied() -> None:
    data = bytes(LARGE_BYTES)
    array = np.arange(COUNT, dtype=np.float64)
    frame = apart(data, [array])

    _, first, _, second, _ = frame.buffers
    assert [address(data), array.ctypes.data] == [address(first), address(second)]


def test_what_is_not_large_is_encoded_as_ever() -> None:
    arguments = (b"x" * (LARGE_BYTES - 1), np.zeros(COUNT - 1))

    assert encode(call(*arguments)) == encode_apart(call(*set_aside(arguments)))


@pytest.mark.parametrize("length", range(ALIGNMENT + 1))
def test_an_array_arrives_where_the_processor_wants_it(length: int) -> None:
    array = np.arange(COUNT, dtype=np.float64).reshape(2, -1)
    frame = joined(apart("x" * length, {"a": array}))

    arrived = decode_frame(frame)
    assert isinstance(arrived, Call)
    _, named = make_decoder(tuple[str, dict[str, np.ndarray]]).decode(arrived.arguments)
    assert np.array_equal(array, named["a"])
    assert not named["a"].flags.owndata, "the bytes are the frame's"
    assert named["a"].flags.aligned
    assert not named["a"].flags.writeable


def test_an_array_that_lies_askew_is_put_right() -> None:
    (array,) = make_decoder(tuple[np.ndarray]).decode(b"\x91" + encode(np.arange(9.0)))

    assert array.flags.aligned
    assert not array.flags.writeable
    assert np.array_equal(np.arange(9.0), array)


def test_a_message_with_a_placeholder_in_it_is_not_mistaken() -> None:
    first = buffers._PLACE + bytes(3)
    second = buffers._PLACE + b"\0\0\1"
    arguments = (first[2:], [second, first], bytes(LARGE_BYTES), second[1:])

    assert encode(call(*arguments)) == joined(apart(*arguments))


def test_no_end_of_a_placeholder_is_a_beginning() -> None:
    """Or one that stands beside the same bytes could be found in the wrong place."""
    place = buffers._PLACE
    assert not any(place.startswith(place[at:]) for at in range(1, len(place)))


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (bytes, True),
        (bytes | None, True),
        (memoryview, True),
        (Array, True),
        (dict[str, list[np.ndarray]], True),
        (list[bytes], False),
        (str | int, False),
    ],
)
def test_which_annotations_may_be_large(hint: Any, expected: bool) -> None:
    assert expected == may_be_large(hint)


class Store(Protocol):
    async def put(self, values: Array) -> float: ...
    async def count(self, data: bytes) -> int: ...
    async def nested(self, values: list[Any], array: Array) -> int: ...
    async def fresh(self) -> Array: ...
    async def shaped(self) -> Array: ...
    async def part(self) -> Array: ...
    async def kept(self) -> Array: ...
    async def part_of_kept(self) -> Array: ...
    async def lent(self) -> Array: ...
    async def several(self) -> list[Array]: ...
    async def back(self, values: Array) -> Array: ...
    async def text(self) -> bytes: ...
    async def buffer(self) -> bytearray: ...
    async def window(self) -> memoryview: ...
    async def every_second(self, data: memoryview) -> memoryview: ...
    async def over(self) -> Array: ...
    @liferaft.oneway
    async def remember(self, values: Array) -> None: ...
    async def remembered(self) -> Array: ...


class StoreObject:
    """Remembers where the last result lay, and what it has kept."""

    def __init__(self) -> None:
        self.address = 0
        self.mine: Any = None

    def put(self, values: Array) -> float:
        return float(values.sum())

    def count(self, data: bytes) -> int:
        return len(data)

    def nested(self, values: list[Any], array: Array) -> int:
        return len(values) + len(array)

    def fresh(self) -> Array:
        return self._at(np.arange(COUNT, dtype=np.float64))

    def shaped(self) -> Array:
        return self._at(np.arange(COUNT, dtype=np.float64).reshape(-1, 4))

    def part(self) -> Array:
        return self._at(np.arange(2 * COUNT, dtype=np.float64)[:COUNT])

    def kept(self) -> Array:
        self.mine = np.arange(COUNT, dtype=np.float64)
        return self._at(self.mine)

    def part_of_kept(self) -> Array:
        self.mine = np.arange(2 * COUNT, dtype=np.float64)
        return self._at(self.mine[:COUNT])

    def lent(self) -> Array:
        array = np.arange(COUNT, dtype=np.float64)
        self.mine = array.data
        return self._at(array)

    def several(self) -> list[Array]:
        return [np.zeros(COUNT), np.ones(COUNT)]

    def back(self, values: Array) -> Array:
        return self._at(values)

    def text(self) -> bytes:
        self.mine = b"x" * LARGE_BYTES
        self.address = address(self.mine)
        return bytes(self.mine)

    def buffer(self) -> bytearray:
        self.mine = bytearray(b"x" * LARGE_BYTES)
        self.address = address(self.mine)
        return self.mine  # type: ignore[no-any-return] # it is what was just made

    def window(self) -> memoryview:
        self.mine = bytearray(b"x" * 2 * LARGE_BYTES)
        self.address = address(self.mine)
        return memoryview(self.mine)[LARGE_BYTES:]

    def every_second(self, data: memoryview) -> memoryview:
        return data[::2]

    def over(self) -> Array:
        self.mine = bytearray(LARGE_BYTES)
        return self._at(np.frombuffer(self.mine))

    def remember(self, values: Array) -> None:
        self.mine = values.copy()

    def remembered(self) -> Array:
        return self.mine  # type: ignore[no-any-return] # it is what was remembered

    def _at(self, array: Array) -> Array:
        self.address = array.ctypes.data
        return array


class AsyncStoreObject(StoreObject):
    """The same on the loop."""

    async def fresh(self) -> Array:  # type: ignore[override] # the interface has it so, too
        return super().fresh()

    async def shaped(self) -> Array:  # type: ignore[override]
        return super().shaped()

    async def kept(self) -> Array:  # type: ignore[override]
        return super().kept()

    async def part_of_kept(self) -> Array:  # type: ignore[override]
        return super().part_of_kept()


class WatchedNetwork(MemoryNetwork):
    """Remembers the large frames that any side sends."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Gathered] = []

    def watch(self, link: Any) -> Any:
        send: Callable[[Sendable], None] = link.send

        def sent(frame: Sendable) -> None:
            if isinstance(frame, Gathered):
                self.sent.append(frame)
            send(frame)

        link.send = sent
        return link

    async def connect(self, address: Any) -> Any:
        return self.watch(await super().connect(address))

    async def listen(self, address: Any, accept: Callable[[Any], None]) -> Any:
        return await super().listen(address, lambda link: accept(self.watch(link)))


async def _passing(call: Any, follow: Any) -> Any:
    return await follow(call)


@asynccontextmanager
async def stored(
    implementation: StoreObject, **options: Any
) -> AsyncIterator[tuple[Store, WatchedNetwork]]:
    network = WatchedNetwork()
    async with await liferaft.aserve(
        implementation, Store, "memory:store", network=network, **options
    ):
        stub = await liferaft.aconnect(Store, "memory:store", network=network)
        yield stub, network
        await liferaft.aclose(stub)


WAYS: dict[str, tuple[type[StoreObject], dict[str, Any]]] = {
    "threads": (StoreObject, {}),
    "loop": (StoreObject, {"threads": 0}),
    "tasks": (AsyncStoreObject, {}),
    "intercepted": (StoreObject, {"interceptors": [_passing]}),
    "intercepted tasks": (AsyncStoreObject, {"interceptors": [_passing]}),
}


@pytest.mark.parametrize("way", [way for way in WAYS if way != "intercepted"])  # kept by a future
@pytest.mark.parametrize("method", ["fresh", "shaped"])
async def test_a_result_that_nobody_has_kept_is_not_copied(way: str, method: str) -> None:
    kind, options = WAYS[way]
    implementation = kind()
    async with stored(implementation, **options) as (store, network):
        result = await getattr(store, method)()

    assert np.array_equal(np.arange(COUNT, dtype=np.float64), result.reshape(-1))
    assert implementation.address == address(network.sent[0].buffers[1])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", ["kept", "part_of_kept", "lent", "over"])
async def test_a_result_that_somebody_may_change_is_copied(way: str, method: str) -> None:
    """Or a repeated call could be answered with something else, or with half of each."""
    kind, options = WAYS[way]
    implementation = kind()
    async with stored(implementation, **options) as (store, network):
        await getattr(store, method)()
        (frame,) = network.sent
        reply = joined(frame)
        memoryview(implementation.mine).cast("B")[:5] = b"later"

    assert implementation.address != address(frame.buffers[1])
    assert reply == joined(frame)


async def test_an_argument_goes_back_without_a_copy_and_bytes_too() -> None:
    implementation = StoreObject()
    array = np.arange(COUNT, dtype=np.float64)
    async with stored(implementation) as (store, network):
        assert np.array_equal(array, await store.back(array))
        assert implementation.address == address(network.sent[1].buffers[1])
        assert b"x" * LARGE_BYTES == await store.text()
        assert implementation.address == address(network.sent[2].buffers[1])


async def test_what_is_no_array_or_is_one_of_several_is_copied_when_it_may_change() -> None:
    implementation = StoreObject()
    async with stored(implementation) as (store, network):
        for method in (store.buffer, store.window):
            assert b"x" * LARGE_BYTES == bytes(await method())
            assert implementation.address != address(network.sent.pop().buffers[1])
        zeros, ones = await store.several()
        assert not network.sent, "arrays in a list may be anybody's"
        assert (0.0, 1.0) == (zeros[-1], ones[-1])


@pytest.mark.parametrize("size", [8, 4 * LARGE_BYTES])
async def test_a_view_that_is_not_in_one_piece_is_copied(size: int) -> None:
    data = memoryview(bytes(range(8)) * (size // 8))[::2]
    async with stored(StoreObject()) as (store, _):
        assert bytes(data)[::2] == bytes(await store.every_second(data))


async def test_what_a_one_way_call_carries_may_be_changed_at_once() -> None:
    """Nobody is told when it has left."""
    array = np.ones(COUNT)
    async with stored(StoreObject(), is_serial=True) as (store, network):
        await store.remember(array)
        array[:] = 2.0
        assert 1.0 == (await store.remembered())[-1]
        assert 1 == len(network.sent)


async def test_arguments_nested_too_deep_are_refused_beside_a_large_one() -> None:
    deep: list[Any] = []
    for _ in range(700):
        deep = [deep]
    async with stored(StoreObject()) as (store, _):
        with pytest.raises(InvalidArgument, match="nested"):
            await store.nested(deep, np.zeros(COUNT))
        with pytest.raises(InvalidArgument, match=r"nested\(values\)"):
            await store.nested([object()], np.zeros(COUNT))
        assert COUNT == await store.nested([], np.zeros(COUNT))


def test_a_repeated_call_has_its_buffers_and_the_time_that_is_left() -> None:
    method = Interface.of(Store).methods["put"]
    array = np.arange(COUNT, dtype=np.float64)
    protocol: CallerProtocol[str] = CallerProtocol(
        object_name="Store", signatures={}, draw_session=lambda: b"s" * 16
    )
    pending = protocol.call(method, (array,), now=0.0, deadline=9.0, waiter="w")
    before = decode_frame(joined(pending.frame))
    protocol.attached(4.0)

    (frame,) = protocol.outgoing
    after = decode_frame(joined(frame))
    assert isinstance(before, Call)
    assert isinstance(after, Call)
    assert (9.0, 5.0) == (before.time_left, after.time_left)
    assert bytes(before.arguments) == bytes(after.arguments)
    assert isinstance(frame, LargeFrame)
    assert array.ctypes.data == address(frame.buffers[1])


async def test_large_buffers_get_through_a_leaky_link() -> None:
    inner = MemoryNetwork()
    leak = Leak(loss=0.2, duplicate=0.2, delay_max=0.01)
    network = LeakyNetwork(inner, seed=5, outgoing=leak, incoming=leak)
    async with await liferaft.aserve(StoreObject(), Store, "memory:store", network=inner):
        store = await liferaft.aconnect(Store, "memory:store", network=network, timeout=60)
        for number in range(8):
            array = np.full(COUNT, float(number))
            assert number * COUNT == await store.put(array)
            assert np.array_equal(array, await store.back(array))
        await liferaft.aclose(store)


class BlockingStore(Protocol):
    def put(self, values: Array) -> float: ...
    def back(self, values: Array) -> Array: ...
    def count(self, data: bytes) -> int: ...
    @liferaft.oneway
    def remember(self, values: Array) -> None: ...
    def remembered(self) -> Array: ...


@pytest.fixture
def networks(tmp_path: Path) -> dict[str, tuple[str, SystemNetwork]]:
    make_authority(tmp_path, name="ours")
    issue_certificate(tmp_path, "host", hosts=("127.0.0.1",), days=30)
    tls = Tls(
        certificate=str(tmp_path / "host.crt"),
        key=str(tmp_path / "host.key"),
        authority=str(tmp_path / "authority.crt"),
    )
    return {
        "tcp": ("127.0.0.1:0", SystemNetwork()),
        "unix": (f"unix:{tmp_path / 'socket'}", SystemNetwork()),
        "tls": ("127.0.0.1:0", SystemNetwork(tls=tls)),
    }


@pytest.mark.parametrize("kind", ["tcp", "unix", "tls"])
def test_they_cross_real_sockets_from_blocking_stubs(
    networks: dict[str, tuple[str, SystemNetwork]], kind: str
) -> None:
    where, network = networks[kind]
    array = np.arange(16 * COUNT, dtype=np.float64)
    with liferaft.serve(
        StoreObject(), BlockingStore, where, network=network, is_serial=True
    ) as host:
        store = liferaft.connect(BlockingStore, host.address, network=network, timeout=60)
        assert array.sum() == store.put(array)
        assert np.array_equal(array, store.back(array))
        assert 5 * LARGE_BYTES == store.count(bytes(5 * LARGE_BYTES))
        with pytest.raises(InvalidArgument, match=r"put\(values\): an array of object"):
            store.put(np.array([None]))
        store.remember(array)
        array[:] = 2.0
        assert 15.0 == store.remembered()[15]
        liferaft.close(store)


def test_a_reply_with_a_small_result_is_an_ordinary_frame() -> None:
    assert encode(Reply(3, msgspec.Raw(encode(b"x")))) == buffers.encode_reply(3, b"x")
