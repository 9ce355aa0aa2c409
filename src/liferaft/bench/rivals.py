"""The rivals' hosts: the same method, served as each of them would have it.

gRPC's messages are encoded by msgspec, not by protobuf: nothing is generated then, and it is to
gRPC's advantage. Each host runs in a process of its own; see `liferaft.bench.echo`.
"""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from liferaft.bench.orders import HOST, Order, Receipt

GRPC_METHOD: Final = "/bench.Orders/Place"
PYRO_OBJECT: Final = "orders"

encode = msgspec.msgpack.Encoder().encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_receipt = msgspec.msgpack.Decoder(Receipt).decode


def serve_rpyc(tell: Callable[[int], None]) -> None:
    """Serve RPyC's: simple types travel by value."""
    import rpyc  # type: ignore[import-untyped] # noqa: PLC0415 - installed for benchmarks only
    from rpyc.utils.server import ThreadedServer  # type: ignore[import-untyped] # noqa: PLC0415

    class Service(rpyc.Service):  # type: ignore[misc] # rpyc has no types
        """The method."""

        def exposed_place(
            self, number: int, customer: str, note: str, amounts: tuple[int, ...]
        ) -> tuple[Any, ...]:
            """Place an order."""
            return (number, customer, note, amounts)

    server = ThreadedServer(Service, hostname=HOST, port=0)
    # RPyC listens in `start` only, and whoever is told the port connects at once.
    server.listener.listen(server.backlog)
    tell(server.port)
    threading.Thread(target=server.start, daemon=True).start()
    sys.stdin.read()


def serve_pyro(tell: Callable[[int], None]) -> None:
    """Serve Pyro5's, with its own serializer (serpent)."""
    import Pyro5.api  # type: ignore[import-untyped] # noqa: PLC0415 - as above

    @Pyro5.api.expose
    class Orders:
        """The method."""

        def place(
            self, number: int, customer: str, note: str, amounts: list[int]
        ) -> dict[str, Any]:
            """Place an order."""
            return {"number": number, "customer": customer, "note": note, "amounts": amounts}

    daemon = Pyro5.api.Daemon(host=HOST)
    daemon.register(Orders(), PYRO_OBJECT)
    tell(daemon.sock.getsockname()[1])
    threading.Thread(target=daemon.requestLoop, daemon=True).start()
    sys.stdin.read()


def serve_grpc(tell: Callable[[int], None]) -> None:
    """Serve grpcio's, on threads."""
    import grpc  # type: ignore[import-untyped] # noqa: PLC0415 - as above

    def place(order: Order, _context: object) -> Receipt:
        return Receipt(order.number, order.customer, order.note, order.amounts)

    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((_handlers(grpc, place),))
    port = server.add_insecure_port(f"{HOST}:0")
    server.start()
    tell(port)
    sys.stdin.read()
    server.stop(None)


async def serve_grpc_aio(tell: Callable[[int], None], until_ended: Any) -> None:
    """Serve grpcio's, on asyncio."""
    import grpc  # noqa: PLC0415 - as above

    async def place(order: Order, _context: object) -> Receipt:
        return Receipt(order.number, order.customer, order.note, order.amounts)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_handlers(grpc, place),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    tell(port)
    await until_ended()
    await server.stop(None)


def _handlers(grpc: Any, place: Any) -> Any:
    handler = grpc.unary_unary_rpc_method_handler(
        place, request_deserializer=decode_order, response_serializer=encode
    )
    return grpc.method_handlers_generic_handler("bench.Orders", {"Place": handler})
