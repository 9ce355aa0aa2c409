"""The ASGI app: finds the route, reads the body, calls, and answers. Source: the ASGI 3 spec.

It is mounted in Starlette or FastAPI, or served by itself. It asks nobody who they are: what stands
before it does.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
from typing_extensions import TypeForm

from liferaft.errors import ConfigurationError, InterfaceError, InvalidArgument
from liferaft.http.openapi import LINES, TIMEOUT_HEADER, describe
from liferaft.http.problems import CONTENT_TYPE, Problem, problem, problem_of, retry_after
from liferaft.http.route import Route
from liferaft.rpc.arrays import names_array
from liferaft.rpc.caller import is_stub
from liferaft.rpc.deadline import deadline
from liferaft.rpc.interface import Interface, MethodSignature

logger = logging.getLogger("liferaft.http")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_BYTES_MAX: Final = 1024 * 1024
TIMEOUT: Final = 30.0
TIMEOUT_MIN: Final = 1e-3
TIMEOUT_MAX: Final = 1e6
GRACE: Final = 0.25
"""Seconds beyond the deadline: a stub's own error says more than that the time was up."""
DOCUMENT_PATH: Final = "/openapi.json"


class _Answered(Exception):
    """Ends a request with a problem; never leaves this module."""

    def __init__(self, told: Problem, headers: dict[str, str] | None = None) -> None:
        super().__init__(told)
        self.told = told
        self.headers = headers or {}


class Gateway:
    """An ASGI app with a route for each method of the objects that it hosts.

    `timeout`, in seconds, bounds each call that does not ask for another bound; a body may have
    `body_bytes_max`. `threads` is how many blocking methods run at a time.
    """

    def __init__(
        self,
        *,
        title: str = "liferaft",
        version: str = "1",
        timeout: float = TIMEOUT,
        body_bytes_max: int = BODY_BYTES_MAX,
        threads: int = 8,
    ) -> None:
        if threads < 1:
            raise ConfigurationError(f"threads is {threads}: blocking methods need one or more")
        self._title = title
        self._version = version
        self._timeout = timeout
        self._body_bytes_max = body_bytes_max
        self._threads = ThreadPoolExecutor(threads, "liferaft-http")
        self._routes: dict[str, Route] = {}

    def host(
        self, implementation: object, interface: TypeForm[object], *, name: str | None = None
    ) -> None:
        """Offer an object, or a stub of one that is elsewhere, under `name`.

        Methods that take or give references or arrays have no route, nor those that have a stream
        beside other parameters. Raises `InterfaceError`, and `ConfigurationError` for a name that
        is taken.
        """
        reflected = Interface.of(interface)
        reflected.check_implementation(implementation)
        name = name or reflected.name
        if any(route.object_name == name for route in self._routes.values()):
            raise ConfigurationError(f"an object named {name!r} is hosted here already")
        offered = [
            method
            for method in reflected.methods.values()
            if not (method.has_references or _has_arrays(method))
            and (not method.argument_items or len(method.signature.parameters) == 1)
        ]
        if not offered:
            raise InterfaceError(f"no method of {reflected.name} can be called over HTTP")
        for method in offered:
            route = Route(
                name,
                method,
                getattr(implementation, method.name),
                is_stub=is_stub(implementation),
                threads=self._threads,
            )
            self._routes[route.path] = route

    def openapi(self, root_path: str = "") -> dict[str, Any]:
        """Return the OpenAPI 3.1 description of all routes."""
        return describe(
            list(self._routes.values()),
            title=self._title,
            version=self._version,
            root_path=root_path,
        )

    def close(self) -> None:
        """End the threads; what they execute is waited for. The app's lifespan does this, too."""
        self._threads.shutdown(wait=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request; see the ASGI specification."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await asyncio.to_thread(self.close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            route = self._route(scope)
            if route is None:
                document = msgspec.json.encode(self.openapi(scope.get("root_path", "")))
                await _send(send, 200, "application/json", document)
                return
            await self._call(route, scope, receive, send)
        except _Answered as answered:
            body = msgspec.json.encode(answered.told)
            await _send(send, answered.told.status, CONTENT_TYPE, body, answered.headers)

    def _route(self, scope: Scope) -> Route | None:
        """Return the route, or None for the description."""
        root_path: str = scope.get("root_path", "")
        path: str = scope["path"]
        if root_path and path.startswith(root_path):
            path = path[len(root_path) :]
        route = self._routes.get(path)
        allowed = "GET" if path == DOCUMENT_PATH else "POST"
        if route is None and path != DOCUMENT_PATH:
            raise _Answered(problem(404, f"there is nothing at {path}: see {DOCUMENT_PATH}"))
        if scope["method"] != allowed:
            raise _Answered(problem(405, f"use {allowed}"), {"Allow": allowed})
        return route

    async def _call(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        seconds = self._seconds(headers)
        body = await self._body(headers, receive)
        _check_content_type(route, headers, body)
        try:
            arguments = route.decode(body)
        except InvalidArgument as error:
            raise _Answered(problem(422, str(error))) from error
        work = asyncio.ensure_future(self._carry_out(route, arguments, seconds, send))
        leaving = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
        finally:
            for task in (work, leaving):
                task.cancel()
            await asyncio.gather(work, leaving, return_exceptions=True)

    async def _carry_out(
        self, route: Route, arguments: tuple[Any, ...], seconds: float, send: Send
    ) -> None:
        try:
            with deadline(seconds):
                async with asyncio.timeout(seconds + GRACE):
                    result = await route.call(arguments)
                    first = await anext(result, _END) if route.is_streaming else _END
            body = b"" if route.is_streaming else msgspec.json.encode(result)
        except Exception as error:
            raise _told(error, route) from error
        if route.is_streaming:
            await _send_lines(send, first, result, route)
        else:
            await _send(send, 200, "application/json", body)

    def _seconds(self, headers: dict[bytes, bytes]) -> float:
        text = headers.get(TIMEOUT_HEADER.lower().encode())
        if text is None:
            return self._timeout
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not TIMEOUT_MIN <= seconds <= TIMEOUT_MAX:
            detail = f"{TIMEOUT_HEADER} must be seconds, from {TIMEOUT_MIN:g} to {TIMEOUT_MAX:g}"
            raise _Answered(problem(400, detail))
        return seconds

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        length = headers.get(b"content-length", b"0")
        too_large = problem(413, f"a body may have {self._body_bytes_max} bytes")
        if length.isdigit() and int(length) > self._body_bytes_max:
            raise _Answered(too_large)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Answered(problem(400, "the client left"))
            body += message.get("body", b"")
            if len(body) > self._body_bytes_max:
                raise _Answered(too_large)
            if not message.get("more_body", False):
                return bytes(body)


_END: Final = object()


def _has_arrays(method: MethodSignature) -> bool:
    """Return whether numpy's arrays are among the values, which JSON does not know."""
    hints = [parameter.annotation for parameter in method.signature.parameters.values()]
    return any(map(names_array, (*hints, method.signature.return_annotation)))


def _check_content_type(route: Route, headers: dict[bytes, bytes], body: bytes) -> None:
    wanted = LINES if route.takes_lines else "application/json"
    given = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if body and given != wanted.encode():
        raise _Answered(problem(415, f"send {wanted}"))


def _told(error: Exception, route: Route) -> _Answered:
    told = problem_of(error, route.method)
    if told.status == 500:
        logger.error("%s raised", route.path, exc_info=error)
    seconds = retry_after(error)
    return _Answered(told, {} if seconds is None else {"Retry-After": str(seconds)})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(
    send: Send, status: int, content_type: str, body: bytes, headers: dict[str, str] | None = None
) -> None:
    pairs = {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    listed = [(name.lower().encode(), value.encode()) for name, value in pairs.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": body})


async def _send_lines(send: Send, first: Any, items: AsyncIterator[Any], route: Route) -> None:
    """Send a stream line by line. What ends it early cuts the answer off: its status is sent."""
    headers = [(b"content-type", LINES.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        item = first
        while item is not _END:
            line = msgspec.json.encode(item) + b"\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
            item = await anext(items, _END)
        await send({"type": "http.response.body", "body": b""})
    except Exception:
        logger.exception("%s broke off", route.path)
        raise
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            with contextlib.suppress(RuntimeError):
                await close()
