"""What a host tells of its objects: an object like any other, which every host has.

So a caller that knows no interface but this one can learn the others. It tells what there is, and
never how an object is doing.
"""

from typing import Any, Final, Protocol

import msgspec

from liferaft.errors import ProtocolError
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.description import Description, describe
from liferaft.rpc.interface import Interface, idempotent
from liferaft.rpc.server import Server

DIRECTORY_OBJECT: Final = "_directory"
"""Its name; one that begins with "_" is not among those that a caller may leave out."""


class Directory(Protocol):
    """The objects of a host, and their interfaces."""

    @idempotent
    async def objects(self) -> list[str]:
        """Return the names of the objects that the host offers."""

    @idempotent
    async def describe(self, object: str) -> dict[str, Any]:  # noqa: A002 - as on the wire
        """Return the description of an object; an empty name means the only one there is.

        A plain map, so that a host may tell more than a caller knows of; see `Description`.
        Raises `NoSuchObject`.
        """


class ServerDirectory:
    """The directory of one server."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def objects(self) -> list[str]:
        """See `Directory`."""
        return self._server.object_names

    async def describe(self, object: str) -> dict[str, Any]:  # noqa: A002 - as on the wire
        """See `Directory`."""
        name, dispatcher = self._server.find(object)
        described = describe(name, dispatcher.interface)
        plain: dict[str, Any] = msgspec.to_builtins(described, builtin_types=(bytes,))
        return plain


def host_directory(server: Server) -> None:
    """Have the server tell of its objects, those that it will host later too."""
    dispatcher = ObjectDispatcher(ServerDirectory(server), Interface.of(Directory), threads=0)
    server.host(DIRECTORY_OBJECT, dispatcher)


def read_description(plain: dict[str, Any]) -> Description:
    """Return the description in what `Directory.describe` returned.

    Raises `ProtocolError` when it is none.
    """
    try:
        return msgspec.convert(plain, Description)
    except (msgspec.ValidationError, RecursionError) as error:
        raise ProtocolError(f"the host's description cannot be read: {error}") from error
