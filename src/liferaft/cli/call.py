"""`liferaft call`: one call of a hosted object, with JSON arguments, from any shell."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from liferaft.cli.access import Access
from liferaft.cli.exits import ExitStatus
from liferaft.cli.remote import Host, hint_of, is_stream, read_json
from liferaft.errors import ConfigurationError, InvalidArgument, LiferaftError, RemoteError
from liferaft.rpc.deadline import deadline
from liferaft.rpc.interface import MethodSignature, StreamType
from liferaft.rpc.views import parse_reads


def call(
    address: str,
    method: str,
    /,
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
    access: Access | None = None,
    reads: str = "linearizable",
) -> int:
    """Call a method of a hosted object and print its result as JSON.

    A result that is a stream is printed line by line, as it comes. What the method raises is one
    line on stderr, with exit status 1.

    Parameters
    ----------
    address
        Where the host is: 127.0.0.1:7400, unix:/path, or several of them separated by commas.
    method
        Which method: todo.add, or just add where the host has one object only.
    arguments
        The arguments as JSON, by their place, or by their name as --priority 2. Where a string is
        wanted, text that is no JSON stands for itself. A parameter that is a stream takes - and
        then reads a line of JSON for each item from the standard input.
    reads
        How a replicated object is read: linearizable, lease, follower, within:SECONDS or stale.
    """
    asyncio.run(_call(Host(address, access, parse_reads(reads)), method, arguments))
    return ExitStatus.OK


async def _call(host: Host, path: str, arguments: Sequence[str]) -> None:
    async with host:
        remote, name = await host.find(path)
        method = remote.method(name)
        positional, named = read_arguments(method, arguments)
        try:
            if method.has_streams:
                await _print(remote.call(name, positional, named))
            else:
                with deadline(host.timeout):
                    await _print(remote.call(name, positional, named))
        except LiferaftError:
            raise
        except Exception as error:
            raise RemoteError(type(error).__name__, str(error)) from error


async def _print(results: AsyncIterator[Any]) -> None:
    async for result in results:
        print(msgspec.json.encode(result).decode(), flush=True)


def read_arguments(
    method: MethodSignature, arguments: Sequence[str]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and the named arguments that a command line gives.

    Raises `InvalidArgument` naming the parameter, and `ConfigurationError` for a name without a
    value.
    """
    positional: list[Any] = []
    named: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        text = rest.pop(0)
        if not text.startswith("--"):
            place = len(positional)
            where = f"{method.name}, argument {place + 1}"
            positional.append(_read(text, hint_of(method, place), where))
            continue
        name, has_value, value = text[2:].partition("=")
        name = name.replace("-", "_")
        hint = hint_of(method, name)
        if not has_value:
            if not rest:
                raise ConfigurationError(f"{text} needs a value: {text} VALUE")
            value = rest.pop(0)
        if name in named:
            raise InvalidArgument(f"{method.name}: {name} is given twice")
        named[name] = _read(value, hint, f"{method.name}({name})")
    return positional, named


def _read(text: str, hint: Any, where: str) -> Any:
    if not is_stream(hint):
        return read_json(text, hint, where)
    if text != "-":
        raise InvalidArgument(f"{where} is a stream: give - and its items on the standard input")
    return _lines(hint, where)


async def _lines(hint: Any, where: str) -> AsyncIterator[Any]:
    stream = StreamType.of(hint)
    assert stream is not None
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        yield read_json(line, stream.item, where)
