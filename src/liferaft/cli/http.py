"""`liferaft http`: the objects of a host over HTTP and JSON, from their descriptions alone."""

import asyncio
from typing import TYPE_CHECKING

from liferaft.cli.access import Access
from liferaft.cli.exits import ExitStatus
from liferaft.cli.remote import Host
from liferaft.errors import ConfigurationError, NoSuchObject

if TYPE_CHECKING:
    from liferaft.http.gateway import Gateway


def http(
    address: str, /, *, host: str = "127.0.0.1", port: int = 8080, access: Access | None = None
) -> int:
    """Serve the objects of a host over HTTP, with an OpenAPI description at /openapi.json.

    Parameters
    ----------
    address
        Where the host is: 127.0.0.1:7400, unix:/path, or several of them separated by commas.
    host
        Where to listen for HTTP. Nobody is asked who they are: put what asks before it.
    port
        The port for HTTP.
    """
    asyncio.run(_serve(Host(address, access), host, port))
    return ExitStatus.OK


async def _serve(remote: Host, host: str, port: int) -> None:
    try:
        import uvicorn  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        hint = "HTTP needs one more package: pip install 'liferaft[http]'"
        raise ConfigurationError(hint) from error
    async with remote:
        gateway = await gateway_of(remote)
        server = uvicorn.Server(uvicorn.Config(gateway, host=host, port=port, log_level="info"))
        await server.serve()


async def gateway_of(remote: Host) -> "Gateway":
    """Return a gateway to every object of a host; raises `NoSuchObject` when there is none."""
    from liferaft.http.gateway import Gateway  # noqa: PLC0415 - for this command only

    names = await remote.names()
    if not names:
        raise NoSuchObject(f"{remote.address} offers no object")
    gateway = Gateway(title=f"liferaft at {remote.address}")
    for name in names:
        each = await remote.object(name)
        gateway.host(each.stub, each.interface.cls, name=name)
    return gateway
