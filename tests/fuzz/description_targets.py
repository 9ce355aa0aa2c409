"""What a host may tell a caller that has not its interface, and what HTTP may bring."""

import ast
from collections.abc import Iterable
from typing import Any

import msgspec

from liferaft.errors import InterfaceError, InvalidArgument, ProtocolError
from liferaft.http.route import Route
from liferaft.rpc.codec import encode
from liferaft.rpc.description import describe
from liferaft.rpc.directory import read_description
from liferaft.rpc.interface import Interface
from liferaft.rpc.source import python_source
from liferaft.rpc.synthesis import interface_class
from tests.fuzz.target import Broken, Target, join, pieces
from tests.rpc.objects import Counter
from tests.rpc.test_description import Everything

_ROUTE = Route(
    "counter",
    Interface.of(Counter).methods["find"],
    lambda key: key,
    is_stub=False,
    threads=None,  # type: ignore[arg-type] # nothing is called here
)


def run_description(data: bytes) -> None:
    """The input is what `Directory.describe` returned. What is made of it runs nothing."""
    try:
        plain = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return  # read_result's business
    description = read_description(plain)
    source = python_source(description)
    Interface.of(interface_class(description))
    allowed = (ast.Import, ast.ImportFrom, ast.ClassDef)
    if not all(isinstance(node, allowed) for node in ast.parse(source).body):
        raise Broken("a description wrote a statement into the source")


def run_http_body(data: bytes) -> None:
    """The pieces are bodies of requests."""
    for body in pieces(data):
        _ROUTE.decode(body)


def description_examples() -> Iterable[bytes]:
    for interface in (Counter, Everything):
        described: Any = msgspec.to_builtins(
            describe("thing", Interface.of(interface)), builtin_types=(bytes,)
        )
        yield encode(described)
        described["interface"] = "x: import os"
        yield encode(described)


def http_examples() -> Iterable[bytes]:
    bodies = (b'{"key": "a"}', b"{}", b"[", b'{"key": 1}', b'{"key": "a", "b": []}', b"1e999")
    for body in (*bodies, b"[" * 2000, b'{"key": "\xff"}', b'{"key": "\\ud800"}'):
        yield join([body])


TARGETS = (
    Target(
        "description",
        run_description,
        (ProtocolError, InterfaceError),
        description_examples,
        input_bytes_max=16 * 1024,
    ),
    Target("http_body", run_http_body, (InvalidArgument,), http_examples),
)
