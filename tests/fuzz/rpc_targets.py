"""What a stranger may send to a host, or a host to its callers."""

import asyncio
import datetime as dt
import decimal
import enum
import uuid
from collections.abc import Callable, Coroutine, Iterable
from random import Random
from typing import Any, Protocol

import msgspec
import numpy as np

from liferaft.errors import InvalidArgument, LiferaftError, ProtocolError
from liferaft.link.address import parse_address
from liferaft.link.frames import FrameSplitter, encode_frame, joined
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc import wire
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.codec import decode_failure, decode_frame, encode, encode_failure
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.driving import read_result
from liferaft.rpc.interface import Interface, oneway, raises
from liferaft.rpc.protocol import CallerProtocol
from liferaft.rpc.server import Server
from liferaft.sim.loop import VirtualLoop
from tests.fuzz.target import Broken, Target, join, pieces

FRAME_BYTES_MAX = 16 * 1024
SESSION = b"s" * 16
HOST = parse_address("memory:host")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Item(msgspec.Struct):
    text: str
    more: "Item | None" = None


class NotThere(Exception):
    key: str
    when: dt.datetime


class Full(ExceptionGroup[Exception]):
    """A class whose `__new__` is choosy."""


class Everything(Protocol):
    """Every kind of type that may travel, and every kind of method."""

    async def plain(self, number: int, text: str = "", *, data: bytes = b"") -> int: ...
    @raises(NotThere, Full)
    async def times(
        self,
        when: dt.datetime,
        date: dt.date,
        delta: dt.timedelta,
        exact: decimal.Decimal,
        name: uuid.UUID,
    ) -> dt.timedelta: ...
    async def shapes(
        self, items: list[Item], named: dict[str, Item], colors: set[Color], either: int | str
    ) -> dict[str, list[Item]]: ...
    async def anything(self, loose: Any, many: set[Any], keyed: dict[Any, Any]) -> Any: ...
    async def raw(self, exact: tuple[int, float, bool], rest: frozenset[int]) -> set[Any]: ...
    async def hang(self) -> None: ...
    @oneway
    async def poke(self, items: list[Any]) -> None: ...
    async def vectors(self, one: np.ndarray, more: dict[str, np.ndarray]) -> np.ndarray: ...


class EverythingObject:
    """Answers; it does nothing with what it is given."""

    async def plain(self, number: int, text: str = "", *, data: bytes = b"") -> int:
        return number + len(text) + len(data)

    async def times(
        self,
        when: dt.datetime,
        date: dt.date,
        delta: dt.timedelta,
        exact: decimal.Decimal,
        name: uuid.UUID,
    ) -> dt.timedelta:
        return delta

    async def shapes(
        self, items: list[Item], named: dict[str, Item], colors: set[Color], either: int | str
    ) -> dict[str, list[Item]]:
        return {name: [item, *items] for name, item in named.items()}

    async def anything(self, loose: Any, many: set[Any], keyed: dict[Any, Any]) -> Any:
        return [loose, keyed]

    async def raw(self, exact: tuple[int, float, bool], rest: frozenset[int]) -> set[Any]:
        return set(rest)

    async def hang(self) -> None:
        await asyncio.get_running_loop().create_future()

    async def poke(self, items: list[Any]) -> None: ...

    async def vectors(self, one: np.ndarray, more: dict[str, np.ndarray]) -> np.ndarray:
        return one


INTERFACE = Interface.of(Everything)
NOW = dt.datetime(2024, 2, 29, tzinfo=dt.UTC)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "plain": (1, "text", b"data"),
    "times": (
        NOW,
        NOW.date(),
        dt.timedelta(days=1),
        decimal.Decimal("1.5"),
        uuid.UUID(int=7),
    ),
    "shapes": ([Item("a", Item("b"))], {"k": Item("c")}, {Color.RED}, "x"),
    "anything": ({"a": [1, None, 2.5]}, {1, "2"}, {1: b"x"}),
    "raw": ((1, 2.5, True), {3, 4}),
    "hang": (),
    "poke": ([1, [2]],),
    "vectors": (np.arange(3.0), {"a": np.array([["x", "yz"]])}),
}


def call(method: str, number: int = 1, acked_below: int = 1) -> wire.Call:
    arguments = msgspec.Raw(encode(ARGUMENTS[method]))
    return wire.Call(number, acked_below, "Everything", method, 2.5, arguments)


# frames: the splitter.


def run_splitter(data: bytes) -> None:
    """Feed the same stream in two ways, which must not make a difference."""
    cuts, stream = Random(len(data)), data
    whole, in_pieces = FrameSplitter(FRAME_BYTES_MAX), FrameSplitter(FRAME_BYTES_MAX)
    refused: list[bool] = []
    frames: list[list[bytes]] = []
    for splitter, sizes in ((whole, [len(stream)]), (in_pieces, [1, 2, 3, 5, 1000])):
        found: list[bytes] = []
        position = 0
        try:
            while position < len(stream):
                size = cuts.choice(sizes)
                found += splitter.feed(stream[position : position + size])
                position += size
            refused.append(False)
        except ProtocolError:
            refused.append(True)
        frames.append(found)
    if refused[0] != refused[1] or (frames[0] != frames[1] and not refused[0]):
        raise Broken(f"in one piece {frames[0]}, in several {frames[1]}")


def splitter_examples() -> Iterable[bytes]:
    yield b"".join(encode_frame(bytes([65 + n]) * n, FRAME_BYTES_MAX) for n in range(1, 9))
    yield b"\x00\x00\x40\x00" + b"x" * 64
    yield b"\xff\xff\xff\xff"


# wire_frame: one frame.


def run_wire_frame(data: bytes) -> None:
    """What is read must read the same after it was written again."""
    frame = decode_frame(data)
    if decode_frame(encode(frame)) != frame and not _has_nan(frame):
        raise Broken(f"{frame} is written as something else")


def _has_nan(frame: wire.Frame) -> bool:
    left = frame.time_left if isinstance(frame, wire.Call) else None
    return left is not None and left != left  # noqa: PLR0124 - only a NaN differs from itself


EXAMPLE_FRAMES: tuple[wire.Frame, ...] = (
    wire.Hello("liferaft", 1, SESSION),
    wire.Welcome(1, SESSION, FRAME_BYTES_MAX),
    wire.Bind("Everything", INTERFACE.signatures, is_resumed=False),
    wire.Bind("", {}, is_resumed=True),
    wire.Bound("", "Everything", is_durable=True),
    wire.Unbound("", "expired", "it was idle"),
    wire.Unbound("", "NoLeader", "none"),
    *(call(method, number) for number, method in enumerate(ARGUMENTS, 1)),
    wire.Reply(1, msgspec.Raw(b"\x01")),
    wire.Failure(1, "declared", "NotThere", "no", "", msgspec.Raw(b"\x93\x90\xa1k\xc0")),
    wire.Redirect(0, "127.0.0.1:1"),
    wire.Redirect(1, None),
    wire.Working(1),
    wire.Cancel(1),
    wire.Notify("Everything", "poke", msgspec.Raw(b"\x91\x90")),
    wire.Ping(2),
    wire.Pong(),
    wire.Goodbye("enough", is_final=False),
)


def wire_examples() -> Iterable[bytes]:
    return map(encode, EXAMPLE_FRAMES)


# arguments and results: what a method is given, and what it is answered.


def run_arguments(data: bytes) -> None:
    """The first byte chooses the method; what is read must be writable again."""
    methods = sorted(INTERFACE.methods)
    method = (
        INTERFACE.methods[methods[data[0] % len(methods)]] if data else INTERFACE.methods["raw"]
    )
    method.arguments.encode(method.arguments.decode(data[1:]))


def argument_examples() -> Iterable[bytes]:
    for position, method in enumerate(sorted(INTERFACE.methods)):
        yield bytes([position]) + encode(ARGUMENTS[method])
    yield bytes([sorted(INTERFACE.methods).index("anything")]) + b"\x93\xc0\x91\x81\x01\x02\x80"


def run_outcome(data: bytes) -> None:
    """A host's answer, whatever it is, becomes a value or an exception that callers know."""
    frame = decode_frame(data)
    for method in INTERFACE.methods.values():
        if isinstance(frame, wire.Failure):
            error = decode_failure(frame, method.declared)
            if not isinstance(error, LiferaftError | NotThere | Full):
                raise Broken(f"the caller gets {error!r}")
        elif isinstance(frame, wire.Reply):
            try:
                read_result("Everything", method, frame)
            except ProtocolError:
                continue


def outcome_examples() -> Iterable[bytes]:
    declared = INTERFACE.methods["times"].declared
    missing = NotThere("no such key")
    missing.key, missing.when = "k", NOW
    for error in (
        missing,
        Full("full", [ValueError("x")]),
        ValueError("other"),
        InvalidArgument("n"),
    ):
        yield encode_failure(1, error, declared)
    for arguments in ARGUMENTS.values():
        yield encode(wire.Reply(1, msgspec.Raw(encode(arguments[0] if arguments else None))))
    yield encode(wire.Failure(1, "declared", "Full", "", "", msgspec.Raw(b"\x91\x92\xa1a\x90")))


# caller: a host that says what it likes.


def run_caller(data: bytes) -> None:
    """Each piece is a frame from the host; an empty mind about what was asked."""
    sessions = Random(1)
    protocol: CallerProtocol[int] = CallerProtocol(
        object_name="",
        signatures=INTERFACE.signatures,
        draw_session=lambda: sessions.randbytes(wire.SESSION_BYTES),
        frame_bytes_max=FRAME_BYTES_MAX,
    )
    now, made, answered = 0.0, 0, set[int]()
    protocol.link_opened(now)
    for piece in pieces(data):
        try:
            protocol.call(INTERFACE.methods["hang"], (), now=now, deadline=now + 9, waiter=made + 1)
            made += 1
        except LiferaftError:  # a lasting trouble, or a host that takes frames of no size
            protocol.time_passed(now)
        try:
            protocol.receive([piece], now)
        except ProtocolError as error:
            protocol.link_lost(error)
            protocol.link_opened(now)
        now += 0.3
        protocol.time_passed(now)
        if protocol.leave is not None:
            protocol.link_lost(protocol.leave.reason)
            protocol.link_opened(now)
        _check_caller(protocol, made, answered)


def _check_caller(protocol: "CallerProtocol[int]", made: int, answered: set[int]) -> None:
    for pending, _ in protocol.answers:
        if pending.waiter in answered:
            raise Broken(f"call {pending.waiter} is answered twice")
        answered.add(pending.waiter)
    protocol.answers.clear()
    if len(answered) + len(protocol.session.pending) != made:
        raise Broken(f"of {made} calls {len(answered)} are answered, {protocol.session.pending}")
    if len(protocol.outgoing) > 4 * made + 4:
        raise Broken(f"{len(protocol.outgoing)} frames for {made} calls")
    for frame in protocol.outgoing:
        decode_frame(joined(frame))
    protocol.outgoing.clear()


def caller_examples() -> Iterable[bytes]:
    greeting = [encode(wire.Welcome(1, SESSION, FRAME_BYTES_MAX))]
    bound = [*greeting, encode(wire.Bound("", "Everything", is_durable=False))]
    yield join(greeting)
    yield join(bound)
    for frame in EXAMPLE_FRAMES:
        yield join([*bound, encode(frame)])
    yield join([*greeting, encode(wire.Unbound("", "mismatch", "plain differs"))])
    yield join([*bound, encode(wire.Welcome(1, b"other", 1)), encode(wire.Redirect(1, "a:1"))])


# server: a caller that says what it likes.

_loop: VirtualLoop | None = None


def run_on_loop(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on a virtual loop that all inputs share; what its callbacks raise is raised here."""
    global _loop  # noqa: PLW0603 - making a loop for each input would cost more than the input
    if _loop is None:
        _loop = VirtualLoop()
    failures: list[dict[str, Any]] = []
    _loop.set_exception_handler(lambda _, context: failures.append(context))
    _loop.run_until_complete(main())
    if failures:
        error = failures[0].get("exception")
        raise Broken(str(failures[0].get("message"))) from error


def run_server(data: bytes) -> None:
    """Frames over one link of a host; afterwards another caller is served as if nothing was."""
    run_on_loop(lambda: _attack_server(pieces(data)))


async def _attack_server(frames: list[bytes]) -> None:
    network = MemoryNetwork(frame_bytes_max=FRAME_BYTES_MAX)
    dispatcher = ObjectDispatcher(EverythingObject(), INTERFACE, threads=0)
    server = Server(HOST, network=network, random=Random(1))
    server.host("Everything", dispatcher)
    await server.start()
    link = await network.connect(HOST)
    stranger = Stranger()
    link.start(stranger)
    for frame in frames:
        if len(frame) <= FRAME_BYTES_MAX:
            link.send(frame)
        await asyncio.sleep(0.01)
    await _serve_an_honest_caller(network)
    await asyncio.sleep(server.limits.handshake_timeout)
    link.close()
    await server.stop()
    await dispatcher.stop()


class Stranger:
    """Reads all that a host answers, which must at least be frames."""

    def frames_received(self, frames: list[bytes]) -> None:
        for frame in frames:
            decode_frame(frame)

    def link_closed(self, reason: LiferaftError | None) -> None: ...
    def bytes_received(self) -> None: ...
    def sending_paused(self) -> None: ...
    def sending_resumed(self) -> None: ...


async def _serve_an_honest_caller(network: MemoryNetwork) -> None:
    connection = CallerConnection(
        [HOST], interface=INTERFACE, network=network, random=Random(2), timeout=2.0
    )
    connection.open()
    answer = await connection.call(INTERFACE.methods["plain"], (1, "two", b""))
    await connection.aclose()
    if answer != 4:
        raise Broken(f"an honest caller gets {answer!r}")


def server_examples() -> Iterable[bytes]:
    greeting = [encode(wire.Hello("liferaft", 1, SESSION))]
    bound = [*greeting, encode(wire.Bind("", INTERFACE.signatures, is_resumed=False))]
    yield join(greeting)
    for method in ARGUMENTS:
        yield join([*bound, encode(call(method)), encode(call(method))])
    for frame in EXAMPLE_FRAMES:
        yield join([*bound, encode(call("hang")), encode(frame)])
        yield join([encode(frame)])
    yield join([*bound, *(encode(call("plain", number, number)) for number in (1, 9, 3, 1))])
    yield join([*greeting, encode(wire.Bind("x" * 300, {"m": "t" * 300}, is_resumed=False))])


# handshake: the first bytes on a new connection, as they stand in the stream.


def run_handshake(data: bytes) -> None:
    """Whatever the first bytes are, each side takes them for frames or ends the link."""
    frames = FrameSplitter(FRAME_BYTES_MAX).feed(data)[:8]
    run_caller(join(frames))
    run_server(join(frames))


def handshake_examples() -> Iterable[bytes]:
    for frame in EXAMPLE_FRAMES[:7]:
        yield encode_frame(encode(frame), FRAME_BYTES_MAX)
    both = (EXAMPLE_FRAMES[0], EXAMPLE_FRAMES[2])
    yield b"".join(encode_frame(encode(frame), FRAME_BYTES_MAX) for frame in both)
    yield b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


TARGETS = (
    Target("frames", run_splitter, (), splitter_examples),
    Target("wire_frame", run_wire_frame, (ProtocolError,), wire_examples),
    Target("arguments", run_arguments, (InvalidArgument,), argument_examples),
    Target("outcome", run_outcome, (ProtocolError,), outcome_examples),
    Target("caller", run_caller, (), caller_examples),
    Target("server", run_server, (), server_examples),
    Target("handshake", run_handshake, (ProtocolError,), handshake_examples),
)
