"""How a listener stops to accept; of links, addresses and files it knows nothing."""

import asyncio
import contextlib


async def stop_accepting(server: asyncio.Server) -> None:
    """Free the port or file. Connections that were accepted live on.

    asyncio makes the transport of an accepted connection in a task. If the server is closed before
    that task has begun, it fails, and nobody closes the connection: whoever waits at its other end
    does so until the garbage collector comes by (Python issue 109564, mended in late 3.13).
    """
    loop = asyncio.get_running_loop()
    with contextlib.suppress(NotImplementedError):  # a loop that has no readers (Windows)
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)  # the tasks that are there begin
    server.close()
    # Not Server.wait_closed: from Python 3.12 on that waits for the accepted connections as well.
    # uvloop frees the port when its loop comes round.
    await asyncio.sleep(0)
