"""The rivals' hosts: the same method with the same dataclass, served as each would have it.

gRPC's messages are encoded by msgspec, not by protobuf: nothing is generated then, and it is to
gRPC's advantage. Pyro5 is told how the dataclass becomes a dictionary and back. RPyC gives it by
reference, or, where the user takes it apart and puts it together again, as a tuple by value. Each
host runs in a process of its own; see `liferaft.bench.echo`.
"""

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, cast

import msgspec

from liferaft.bench.orders import HOST, Order, Receipt

GRPC_METHOD: Final = "/bench.Orders/Place"
PYRO_OBJECT: Final = "orders"

encode = msgspec.msgpack.Encoder().encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_receipt = msgspec.msgpack.Decoder(Receipt).decode


def serve_rpyc(tell: Callable[[int], None]) -> None:
    """Serve RPyC's: the dataclass by reference, or as a tuple; simple types travel by value."""
    import rpyc  # type: ignore[import-untyped] # noqa: PLC0415 - installed for benchmarks only
    from rpyc.utils.server import ThreadedServer  # type: ignore[import-untyped] # noqa: PLC0415

    class Service(rpyc.Service):  # type: ignore[misc] # rpyc has no types
        """The method, twice."""

        def exposed_place(
            self, number: int, customer: str, note: str, amounts: tuple[int, ...]
        ) -> Receipt:
            """Place an order."""
            # A list would be one more reference.
            return Receipt(number, customer, note, cast("list[int]", amounts))

        def exposed_place_tuple(
            self, number: int, customer: str, note: str, amounts: tuple[int, ...]
        ) -> tuple[Any, ...]:
            """Place an order."""
            return (number, customer, note, amounts)

    # By default not even the fields of a dataclass may be read.
    settings = {"allow_public_attrs": True}
    server = ThreadedServer(Service, hostname=HOST, port=0, protocol_config=settings)
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

        def place(self, number: int, customer: str, note: str, amounts: list[int]) -> Receipt:
            """Place an order."""
            return Receipt(number, customer, note, amounts)

    register_with_pyro()
    daemon = Pyro5.api.Daemon(host=HOST)
    daemon.register(Orders(), PYRO_OBJECT)
    tell(daemon.sock.getsockname()[1])
    threading.Thread(target=daemon.requestLoop, daemon=True).start()
    sys.stdin.read()


def register_with_pyro() -> None:
    """Tell Pyro5, in the host and in the caller, how the dataclass travels."""
    import Pyro5.api  # noqa: PLC0415 - as above

    def as_dictionary(receipt: Receipt) -> dict[str, Any]:
        return {"__class__": Receipt.__name__, **vars(receipt)}

    def as_receipt(_class: str, fields: dict[str, Any]) -> Receipt:
        return Receipt(fields["number"], fields["customer"], fields["note"], fields["amounts"])

    Pyro5.api.register_class_to_dict(Receipt, as_dictionary)
    Pyro5.api.register_dict_to_class(Receipt.__name__, as_receipt)


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
