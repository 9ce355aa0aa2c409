"""The blocking front over real TCP: threads, leaks of resources, hostile bytes."""

import asyncio
import gc
import logging
import socket
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import uvloop

import liferaft
from liferaft.errors import ConfigurationError, InvalidArgument, StubClosed
from liferaft.link.system import SystemNetwork
from liferaft.rpc.wire import Hello
from tests.rpc.objects import Counter, CounterObject, Item, NotFound

ResultT = TypeVar("ResultT")


@liferaft.raises(NotFound)
class Todo(Protocol):
    def add(self, text: str, priority: int = 1) -> Item: ...
    def items(self) -> list[Item]: ...
    def find(self, key: str) -> Item: ...
    def wait(self) -> bool: ...
    @liferaft.oneway
    def open_gate(self) -> None: ...
    @liferaft.oneway
    def note(self, text: str) -> None: ...
    def note_count(self) -> int: ...


class TodoList:
    def __init__(self) -> None:
        self._items: list[Item] = []
        self._lock = threading.Lock()
        self.gate = threading.Event()
        self._notes: list[str] = []

    def add(self, text: str, priority: int = 1) -> Item:
        with self._lock:
            item = Item(len(self._items) + 1, text * priority)
            self._items.append(item)
            return item

    def items(self) -> list[Item]:
        return self._items

    def find(self, key: str) -> Item:
        raise NotFound(key)

    def wait(self) -> bool:
        return self.gate.wait(30)

    def open_gate(self) -> None:
        self.gate.set()

    def note(self, text: str) -> None:
        self._notes.append(text)

    def note_count(self) -> int:
        return len(self._notes)


def run(scene: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine on a loop that pytest-asyncio does not know, so that all of it can end."""
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(scene)


def _descriptor_count() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
async def loop_of_pytest() -> None:
    """Have pytest-asyncio open its own loop before descriptors are counted."""


@pytest.fixture
def nothing_left(loop_of_pytest: None) -> Iterator[None]:
    """Whatever a test started, no thread and no descriptor of it may be left."""
    uvloop.new_event_loop().close()  # its first loop opens a pipe that libuv keeps for ever
    gc.collect()
    threads, fds = threading.enumerate(), _descriptor_count()
    yield
    gc.collect()
    assert threads == threading.enumerate()
    assert fds >= _descriptor_count()


pytestmark = pytest.mark.usefixtures("nothing_left")


def test_an_object_is_served_and_called_as_if_it_were_here() -> None:
    with (
        liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host,
        liferaft.connect(Todo, host.address) as todo,  # type: ignore[attr-defined] # stubs are context managers
    ):
        first = todo.add("milk")
        second = todo.add(priority=2, text="eggs")

        assert [Item(1, "milk"), Item(2, "eggseggs")] == [first, second] == todo.items()
        assert 3 == host.calls_served


def test_a_declared_exception_of_the_whole_interface_arrives_as_itself() -> None:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host:
        todo = liferaft.connect(Todo, host.address)
        with pytest.raises(NotFound, match="no milk"):
            todo.find("milk")
        liferaft.close(todo)


def test_a_one_way_call_leaves_before_what_the_thread_calls_next() -> None:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0", is_serial=True) as host:
        todo = liferaft.connect(Todo, host.address)
        counts = []
        todo.items()
        for _ in range(100):
            todo.note("milk")
            counts.append(todo.note_count())
        liferaft.close(todo)

    assert list(range(1, 101)) == counts


def test_a_one_way_call_that_cannot_be_sent_is_told_of() -> None:
    network = SystemNetwork(frame_bytes_max=4096)
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0", network=network) as host:
        todo = liferaft.connect(Todo, host.address, network=network)
        with pytest.raises(InvalidArgument, match="4096 are allowed"):
            todo.note("milk" * 1024)
        liferaft.close(todo)
        with pytest.raises(StubClosed, match=r"Todo\.note: the stub is closed"):
            todo.note("milk")


def test_a_slow_blocking_method_does_not_hold_up_others() -> None:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0", threads=2) as host:
        todo = liferaft.connect(Todo, host.address)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(todo.wait)
            todo.add("milk")
            was_waiting = not waiting.done()
            todo.open_gate()

            assert (True, True) == (was_waiting, waiting.result(30))
        liferaft.close(todo)


def test_threads_share_a_stub() -> None:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host:
        todo = liferaft.connect(Todo, host.address)
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(lambda n: todo.add(str(n)).id, range(200)))
        liferaft.close(todo)

    assert list(range(1, 201)) == sorted(ids)


def test_a_closed_stub_is_refused_at_once_and_closing_twice_is_fine() -> None:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host:
        todo = liferaft.connect(Todo, host.address)
        liferaft.close(todo)
        liferaft.close(todo)
        with pytest.raises(liferaft.StubClosed):
            todo.items()


def test_nobody_at_the_address_is_reported_and_nothing_stays() -> None:
    with pytest.raises(liferaft.Unreachable, match=r"127\.0\.0\.1:1"):
        liferaft.connect(Todo, "127.0.0.1:1", timeout=0.2)


def test_a_port_in_use_is_reported_and_nothing_stays() -> None:
    with (
        liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host,
        pytest.raises(liferaft.AddressError, match="in use"),
    ):
        liferaft.serve(TodoList(), Todo, host.address)


def test_a_deadline_bounds_a_blocking_call() -> None:
    object_ = TodoList()
    with liferaft.serve(object_, Todo, "127.0.0.1:0") as host:
        todo = liferaft.connect(Todo, host.address)
        with liferaft.deadline(0.1), pytest.raises(liferaft.DeadlineExceeded):
            todo.wait()
        object_.gate.set()
        liferaft.close(todo)


def test_a_stub_says_what_it_stands_for() -> None:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host:
        todo = liferaft.connect(Todo, host.address)
        shown = repr(todo)
        methods = [name for name in dir(type(todo)) if not name.startswith("_")]
        liferaft.close(todo)

    assert f"<Todo stub at {host_address(shown)}>" == shown
    assert ["add", "find", "items", "note", "note_count", "open_gate", "wait"] == methods


def host_address(shown: str) -> str:
    return shown.split(" at ")[1][:-1]


def test_a_stub_is_an_instance_of_its_interface() -> None:
    class PlainTodo:
        def items(self) -> list[Item]:
            raise NotImplementedError

    class TodoObject(PlainTodo):
        def items(self) -> list[Item]:
            return []

    with liferaft.serve(TodoObject(), PlainTodo, "127.0.0.1:0") as host:
        todo = liferaft.connect(PlainTodo, host.address)
        is_instance = isinstance(todo, PlainTodo)
        items = todo.items()
        liferaft.close(todo)

    assert (True, []) == (is_instance, items)


def test_a_callee_stub_starts_again_after_a_stop() -> None:
    host = liferaft.serve(TodoList(), Todo, "127.0.0.1:0")
    host.stop()
    was_running = host.is_running
    with host:
        todo = liferaft.connect(Todo, host.address)
        item = todo.add("milk")
        liferaft.close(todo)

    assert (False, Item(1, "milk")) == (was_running, item)


def test_async_methods_are_served_on_the_running_loop() -> None:
    async def scene() -> None:
        async with await liferaft.aserve(CounterObject(), Counter, "127.0.0.1:0") as host:
            counter = await liferaft.aconnect(Counter, host.address)
            threads = [thread.name for thread in threading.enumerate()]
            values = await asyncio.gather(*[counter.increment() for _ in range(50)])
            await liferaft.aclose(counter)

        assert list(range(1, 51)) == values
        assert "liferaft-loop" not in threads

    run(scene())


def test_blocking_methods_can_be_connected_to_from_a_loop() -> None:
    async def scene() -> None:
        async with await liferaft.aserve(TodoList(), Todo, "127.0.0.1:0") as host:
            todo = await liferaft.aconnect(Todo, host.address)
            item = await asyncio.to_thread(todo.add, "milk")
            await liferaft.aclose(todo)

        assert Item(1, "milk") == item

    run(scene())


def test_async_methods_of_a_blocking_connect_are_bridged() -> None:
    with liferaft.serve(CounterObject(), Counter, "127.0.0.1:0") as host:
        counter = liferaft.connect(Counter, host.address)
        value = run(_incremented(counter))
        liferaft.close(counter)

    assert 5 == value


async def _incremented(counter: Counter) -> int:
    return await counter.increment(by=5)


class Outer(Protocol):
    def ask(self) -> int: ...


def test_a_blocking_call_on_the_loop_thread_itself_is_an_error_not_a_deadlock() -> None:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host:
        todo = liferaft.connect(Todo, host.address)

        class OuterObject:
            def ask(self) -> int:
                try:
                    return len(todo.items())
                except ConfigurationError:
                    return -1

        with liferaft.serve(OuterObject(), Outer, "127.0.0.1:0", threads=0) as outer_host:
            outer = liferaft.connect(Outer, outer_host.address)
            answer = outer.ask()
            liferaft.close(outer)
        liferaft.close(todo)

    assert -1 == answer


def _bytes_of_hello() -> bytes:
    import msgspec

    payload = msgspec.msgpack.encode(Hello("liferaft", 1, b"s" * 16))
    return len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize(
    "hostile",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
        b"\x00\x00\x00\x03\xc1\xc1\xc1",
        b"\x00\x00\x20\x00" + b"\x91" * 0x2000,
        _bytes_of_hello() + b"\x00\x00\x00\x02\x91\x02",
        _bytes_of_hello() + b"\x00\x00\x00\x02\x91\x0e",
    ],
    ids=["http", "huge", "empty", "garbage", "deep", "torn welcome", "a host's frame"],
)
def test_hostile_bytes_end_their_connection_and_the_server_serves_on(
    hostile: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host:
        todo = liferaft.connect(Todo, host.address)
        name, port = host.address.split(":")
        with caplog.at_level(logging.WARNING), socket.create_connection((name, int(port))) as raw:
            raw.settimeout(10)
            raw.sendall(hostile)
            while raw.recv(1000):
                pass
            raw.close()
        item = todo.add("milk")
        liferaft.close(todo)

    assert 1 == item.id
    assert caplog.records
    assert all(record.getMessage().isprintable() for record in caplog.records)


def test_half_a_frame_does_not_keep_the_server_from_stopping() -> None:
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host:
        name, port = host.address.split(":")
        with socket.create_connection((name, int(port))) as raw:
            raw.sendall(b"\x00\x00\x01\x00half")
            todo = liferaft.connect(Todo, host.address)
            item = todo.add("milk")
            liferaft.close(todo)
            host.stop()

    assert 1 == item.id
