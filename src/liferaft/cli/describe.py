"""`liferaft describe`: what a host offers, as Python source."""

import asyncio

import msgspec

from liferaft.cli.access import Access
from liferaft.cli.exits import ExitStatus
from liferaft.cli.remote import Host
from liferaft.errors import NoSuchObject
from liferaft.rpc.description import Description
from liferaft.rpc.source import python_source


def describe(
    address: str,
    object: str = "",  # noqa: A002 - as in the page
    /,
    *,
    access: Access | None = None,
    json: bool = False,
) -> int:
    """Print the interface of a hosted object as Python source, with its docstrings.

    Parameters
    ----------
    address
        Where the host is: 127.0.0.1:7400, unix:/path, or several of them separated by commas.
    object
        The object's name; all that the host offers if left out.
    json
        Print the description as one line of JSON for each object.
    """
    described = asyncio.run(_describe(Host(address, access), object))
    if json:
        for each in described:
            print(msgspec.json.encode(each).decode())
        return ExitStatus.OK
    for number, each in enumerate(described):
        if len(described) > 1:
            print(f"{chr(10) * 2 if number else ''}# The object {each.object!r}.\n")
        print(python_source(each), end="")
    return ExitStatus.OK


async def _describe(host: Host, name: str) -> list[Description]:
    async with host:
        if name:
            return [(await host.object(name)).description]
        names = await host.names()
        if not names:
            raise NoSuchObject(f"{host.address} offers no object")
        return [await host.describe(each) for each in names]
