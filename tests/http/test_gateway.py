"""Objects over HTTP and JSON, near and far, and what is said when it goes wrong."""

import asyncio
import contextlib
import dataclasses
import datetime as dt
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Protocol

import httpx
import hypothesis
import msgspec
import pytest
import schemathesis
from fastapi import FastAPI
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.routing import Mount

import liferaft
from liferaft.errors import ConfigurationError, InterfaceError, Overloaded
from liferaft.http import Gateway
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork


@dataclasses.dataclass
class Item:
    id: int
    text: str
    priority: int = 1
    due: dt.date | None = None


class NoItem(Exception):
    id: int


class Todo(Protocol):
    """A list of things to do."""

    def add(self, text: Annotated[str, msgspec.Meta(min_length=1)], *, priority: int = 1) -> Item:
        """Add an item.

        It goes last.
        """

    async def items(self) -> list[Item]: ...
    @liferaft.raises(NoItem)
    def get(self, id: int) -> Item: ...  # noqa: A002
    def due(self, on: dt.date, tags: dict[str, list[int]] | None = None) -> list[Item]: ...
    def count(self, to: int) -> Iterator[int]: ...
    async def acount(self, to: int) -> AsyncIterator[int]: ...
    def total(self, numbers: Iterator[int]) -> int: ...


class TodoList:
    def __init__(self) -> None:
        self._items: list[Item] = []

    def add(self, text: str, *, priority: int = 1) -> Item:
        self._items.append(Item(len(self._items) + 1, text, priority))
        return self._items[-1]

    async def items(self) -> list[Item]:
        return self._items

    def get(self, id: int) -> Item:  # noqa: A002
        for item in self._items:
            if item.id == id:
                return item
        error = NoItem(f"no item {id}")
        error.id = id
        raise error

    def due(self, on: dt.date, tags: dict[str, list[int]] | None = None) -> list[Item]:
        return [item for item in self._items if item.due == on]

    def count(self, to: int) -> Iterator[int]:
        yield from range(min(to, 1000))

    async def acount(self, to: int) -> AsyncIterator[int]:
        async def give() -> AsyncIterator[int]:
            for number in range(min(to, 1000)):
                yield number

        return give()

    def total(self, numbers: Iterator[int]) -> int:
        return sum(numbers)


class Trouble(Protocol):
    async def fail(self) -> None: ...
    async def hang(self) -> None: ...
    def busy(self) -> None: ...
    def time_left(self) -> bool: ...
    def forever(self) -> AsyncIterator[int]: ...


class TroubleObject:
    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.begun = asyncio.Event()

    async def fail(self) -> None:
        raise ValueError("a secret")

    async def hang(self) -> None:
        self.begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.cancelled.set()

    def busy(self) -> None:
        raise Overloaded("not now", 2.5)

    def time_left(self) -> bool:
        return liferaft.cancelled()

    async def forever(self) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                yield (number := number + 1)
                await asyncio.sleep(0)
        finally:
            self.cancelled.set()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    app = Gateway(title="Things", body_bytes_max=10_000)
    app.host(TodoList(), Todo, name="todo")
    yield app
    app.close()


@contextlib.asynccontextmanager
async def client_of(app: Any, base: str = "") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://test{base}") as client:
        yield client


async def test_a_method_takes_a_json_object_and_gives_json(gateway: Gateway) -> None:
    async with client_of(gateway) as client:
        added = await client.post("/todo/add", json={"text": "milk", "priority": 2})
        again = await client.post("/todo/add", json={"text": "bread"})
        items = await client.post("/todo/items")

    milk = {"id": 1, "text": "milk", "priority": 2, "due": None}
    assert (200, milk) == (added.status_code, added.json())
    assert 1 == again.json()["priority"]
    assert [milk, again.json()] == items.json()


async def test_streams_are_lines(gateway: Gateway) -> None:
    async with client_of(gateway) as client:
        counted = await client.post("/todo/count", json={"to": 4})
        awaited = await client.post("/todo/acount", json={"to": 3})
        none = await client.post("/todo/count", json={"to": 0})
        lines = {"content-type": "application/x-ndjson"}
        total = await client.post("/todo/total", content=b"1\n2\n\n3\n", headers=lines)

    assert "application/x-ndjson" == counted.headers["content-type"]
    assert ["0\n1\n2\n3\n", "0\n1\n2\n", ""] == [counted.text, awaited.text, none.text]
    assert 6 == total.json()


@pytest.mark.parametrize(
    ("method", "path", "how", "status", "said"),
    [
        ("POST", "/todo/nothing", {}, 404, "there is nothing at /todo/nothing"),
        ("GET", "/todo/add", {}, 405, "use POST"),
        ("POST", "/openapi.json", {}, 405, "use GET"),
        ("POST", "/todo/add", {"json": {"text": 3}}, 422, "Expected `str`, got `int`"),
        ("POST", "/todo/add", {"json": {"text": ""}}, 422, "length >= 1 - at `$.text`"),
        ("POST", "/todo/add", {"json": {}}, 422, "missing required field `text`"),
        ("POST", "/todo/add", {"json": {"text": "x", "y": 1}}, 422, "unknown field `y`"),
        ("POST", "/todo/add", {"json": [1]}, 422, "Expected `object`, got `array`"),
        ("POST", "/todo/due", {"json": {"on": "soon"}}, 422, "Invalid RFC3339"),
        ("POST", "/todo/add", {"content": b"{", "headers": {"content-type": "application/json"}},
         422, "the body is no JSON"),
        ("POST", "/todo/add", {"content": b"{}", "headers": {"content-type": "text/plain"}},
         415, "send application/json"),
        ("POST", "/todo/total", {"json": 3}, 415, "send application/x-ndjson"),
        ("POST", "/todo/total", {"content": b"x\n",
         "headers": {"content-type": "application/x-ndjson"}}, 422, "total(numbers)"),
        ("POST", "/todo/add", {"json": {"text": "x" * 10_000}}, 413, "10000 bytes"),
        ("POST", "/todo/items", {"headers": {"liferaft-timeout": "soon"}}, 400, "must be seconds"),
        ("POST", "/todo/items", {"headers": {"liferaft-timeout": "0"}}, 400, "must be seconds"),
        ("POST", "/todo/items", {"headers": {"liferaft-timeout": "nan"}}, 400, "must be seconds"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_request_is_a_problem_with_words(  # noqa: PLR0917 - a table
    method: str, path: str, how: dict[str, Any], status: int, said: str, gateway: Gateway
) -> None:
    async with client_of(gateway) as client:
        answer = await client.request(method, path, **how)

    assert status == answer.status_code == answer.json()["status"]
    assert "application/problem+json" == answer.headers["content-type"]
    assert said in answer.json()["detail"]


async def test_a_declared_exception_comes_with_its_name_and_fields(gateway: Gateway) -> None:
    async with client_of(gateway) as client:
        answer = await client.post("/todo/get", json={"id": 7})

    told = answer.json()
    assert (409, "NoItem", {"id": 7}, "no item 7") == (
        answer.status_code,
        told["exception"],
        told["fields"],
        told["detail"],
    )


async def test_any_other_exception_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    app = Gateway()
    app.host(TroubleObject(), Trouble)
    async with client_of(app) as client:
        failed = await client.post("/Trouble/fail")
        busy = await client.post("/Trouble/busy")
        late = await client.post("/Trouble/hang", headers={"liferaft-timeout": "0.05"})
    app.close()

    assert (500, {"title", "status"}) == (failed.status_code, set(failed.json()))
    assert "a secret" not in failed.text
    assert "a secret" in caplog.text
    assert (503, "3") == (busy.status_code, busy.headers["retry-after"])
    assert 504 == late.status_code


async def test_a_client_that_leaves_cancels_the_call() -> None:
    trouble = TroubleObject()
    app = Gateway()
    app.host(trouble, Trouble)
    scope = {"type": "http", "method": "POST", "path": "/Trouble/hang", "headers": []}
    left = asyncio.Event()
    bodies = iter([{"type": "http.request", "body": b""}])

    async def receive() -> dict[str, Any]:
        for message in bodies:
            return message
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    request = asyncio.ensure_future(app(scope, receive, send))
    await trouble.begun.wait()
    left.set()
    await request
    assert trouble.cancelled.is_set()
    app.close()


async def test_a_client_that_leaves_ends_a_stream() -> None:
    trouble = TroubleObject()
    app = Gateway()
    app.host(trouble, Trouble)
    scope = {"type": "http", "method": "POST", "path": "/Trouble/forever", "headers": []}
    left = asyncio.Event()
    bodies = iter([{"type": "http.request", "body": b""}])
    lines: list[bytes] = []

    async def receive() -> dict[str, Any]:
        for message in bodies:
            return message
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            lines.append(message["body"])
            if len(lines) == 10:
                left.set()

    await app(scope, receive, send)
    assert b"1\n" == lines[0]
    assert trouble.cancelled.is_set()
    app.close()


@pytest.mark.parametrize("outer", [Starlette(routes=[]), FastAPI()])
async def test_it_is_mounted_in_starlette_and_fastapi(outer: Any, gateway: Gateway) -> None:
    outer.router.routes.append(Mount("/api/things", app=gateway))
    async with client_of(outer, "/api/things") as client:
        added = await client.post("/todo/add", json={"text": "milk"})
        document = (await client.get("/openapi.json")).json()

    assert "milk" == added.json()["text"]
    assert [{"url": "/api/things"}] == document["servers"]
    validate(document)


def test_the_description_is_valid_and_says_what_the_interface_does(gateway: Gateway) -> None:
    document = gateway.openapi()

    validate(document)
    assert "3.1.0" == document["openapi"]
    add = document["paths"]["/todo/add"]["post"]
    assert ("todo.add", "Add an item.", "It goes last.") == (
        add["operationId"],
        add["summary"],
        add["description"],
    )
    schemas = document["components"]["schemas"]
    assert ["text"] == schemas["todo.add"]["required"]
    assert {"type": "string", "format": "date"} == schemas["todo.due"]["properties"]["on"]
    assert "Item" in schemas


@pytest.mark.slow
def test_whatever_the_description_allows_is_answered_as_it_says(gateway: Gateway) -> None:
    document = gateway.openapi()
    del document["paths"]["/todo/total"]  # the tool writes no lines of JSON
    for path in document["paths"].values():
        # A deadline of a millisecond may pass, and then the answer says so.
        path["post"]["parameters"] = []
    schema = schemathesis.openapi.from_dict(document)
    schema.app = gateway
    operations = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    assert len(document["paths"]) == len(operations)
    for operation in operations:
        settings = hypothesis.settings(
            max_examples=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        settings(hypothesis.given(operation.as_strategy())(_answered_as_described))()


def _answered_as_described(case: Any) -> None:
    case.call_and_validate()


async def test_an_object_that_is_elsewhere_is_called_through_a_bad_network() -> None:
    inner = MemoryNetwork()
    leak = Leak(loss=0.1, duplicate=0.1, delay_max=0.005)
    network = LeakyNetwork(inner, seed=3, outgoing=leak, incoming=leak)

    class Things(Protocol):
        async def items(self) -> list[Item]: ...
        async def add(self, text: str) -> Item: ...
        def count(self, to: int) -> AsyncIterator[int]: ...

    async with await liferaft.aserve(TodoList(), Things, "memory:todo", network=inner):
        stub = await liferaft.aconnect(Things, "memory:todo", network=network)
        app = Gateway()
        app.host(stub, Things, name="todo")
        async with client_of(app) as client:
            for number in range(1, 11):
                answer = await client.post("/todo/add", json={"text": f"{number}"})
                assert number == answer.json()["id"]
            assert 10 == len((await client.post("/todo/items")).json())
            assert "0\n1\n2\n" == (await client.post("/todo/count", json={"to": 3})).text
        app.close()
        await liferaft.aclose(stub)


async def test_a_host_that_is_gone_is_a_bad_gateway() -> None:
    class Items(Protocol):
        async def items(self) -> list[Item]: ...

    network = MemoryNetwork()
    host = await liferaft.aserve(TodoList(), Items, "memory:todo", network=network)
    stub = await liferaft.aconnect(Items, "memory:todo", network=network)
    app = Gateway(timeout=0.2)
    app.host(stub, Items, name="todo")
    await host.astop()
    async with client_of(app) as client:
        answer = await client.post("/todo/items")
    assert 502 == answer.status_code
    app.close()
    await liferaft.aclose(stub)


async def test_its_lifespan_ends_its_threads(gateway: Gateway) -> None:
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async with client_of(gateway) as client:
        await client.post("/todo/add", json={"text": "milk"})
    assert any(thread.name.startswith("liferaft-http") for thread in threading.enumerate())
    await gateway({"type": "lifespan"}, receive, send)

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent
    assert not any(thread.name.startswith("liferaft-http") for thread in threading.enumerate())


def test_what_cannot_be_offered_is_said(gateway: Gateway) -> None:
    class Callback(Protocol):
        def call_me(self, todo: Todo) -> None: ...

    class CallbackObject:
        def call_me(self, todo: Todo) -> None: ...

    with pytest.raises(InterfaceError, match="no method of Callback"):
        gateway.host(CallbackObject(), Callback)
    with pytest.raises(ConfigurationError, match="hosted here already"):
        gateway.host(TodoList(), Todo, name="todo")
    with pytest.raises(InterfaceError, match="is missing"):
        gateway.host(object(), Todo, name="other")
