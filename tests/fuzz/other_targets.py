"""What is in the log's entries, and what people write."""

from collections.abc import Iterable

import msgspec

from liferaft.cluster.config import parse_peers
from liferaft.errors import (
    AddressError,
    ConfigurationError,
    DamagedSnapshot,
    InvariantViolated,
    ProtocolError,
)
from liferaft.link.address import parse_addresses
from liferaft.raft.types import Entry
from liferaft.recipes.kv import KeyValue
from liferaft.recipes.todo import TodoList
from liferaft.replicated.command import CommandKind, pack
from liferaft.replicated.machine import ReplicatedMachine
from liferaft.replicated.sections import SectionKind, read_sections, write_sections
from liferaft.rpc import wire
from liferaft.rpc.codec import decode_frame, encode
from tests.fuzz.target import Broken, Target, join, pieces

SESSION = b"s" * 16
NO_SNAPSHOT = (DamagedSnapshot, ConfigurationError)


def run_entry(data: bytes) -> None:
    """The pieces are the data of entries that were committed, whoever wrote them."""
    machine = new_machine()
    for index, piece in enumerate(pieces(data), 1):
        machine.apply(Entry(1, index, 0, piece))
    machine.digest()


def run_commands(data: bytes) -> None:
    """The pieces are frames of a client. What a host lets in, every replica can apply."""
    replicas = [new_machine(), new_machine()]
    opening = pack(CommandKind.OPEN_SESSION, session=SESSION, wall_now=1.0, seed=1, frame=b"")
    for machine in replicas:
        machine.apply(Entry(1, 1, 0, opening))
    for index, frame in enumerate(pieces(data), 2):
        try:
            call = decode_frame(frame)
        except ProtocolError:
            continue
        if not isinstance(call, wire.Call):
            continue
        command = pack(CommandKind.CALL, session=SESSION, wall_now=2.0, seed=index, frame=frame)
        answers = [machine.apply(Entry(1, index, 0, command)) for machine in replicas]
        if call.method in ("items", "get", "size"):
            answers += [machine.execute_query(call) for machine in replicas]
        if any(not isinstance(decode_frame(a), wire.Reply | wire.Failure) for a in answers):
            raise Broken("an answer that is none")
        if replicas[0].digest() != replicas[1].digest():
            raise Broken("two replicas differ")


def new_machine() -> ReplicatedMachine:
    return ReplicatedMachine({"Todo": TodoList(), "KeyValue": KeyValue()})


def client_frames() -> list[bytes]:
    calls = [
        ("Todo", "add", ("buy milk", "me")),
        ("Todo", "complete", (1, "me")),
        ("Todo", "complete", (2**64 - 1, "")),
        ("Todo", "items", ()),
        ("KeyValue", "put", (b"k", b"v")),
        ("KeyValue", "get", (b"k",)),
        ("", "size", ()),
        ("Todo", "no_such_method", (1,)),
        ("Todo", "add", (1, 2)),
    ]
    return [
        encode(wire.Call(number, number - 1, name, method, None, msgspec.Raw(encode(arguments))))
        for number, (name, method, arguments) in enumerate(calls, 1)
    ]


def command_examples() -> Iterable[bytes]:
    yield join(client_frames())
    yield join([*client_frames()[:2], *client_frames()[:2]])
    for frame in client_frames():
        yield join([frame])


def entry_examples() -> Iterable[bytes]:
    opening = pack(CommandKind.OPEN_SESSION, session=SESSION, wall_now=1.0, seed=1, frame=b"")
    commands = [
        pack(CommandKind.CALL, session=SESSION, wall_now=2.0, seed=7, frame=frame)
        for frame in client_frames()
    ]
    yield join([opening, *commands])
    yield join([commands[0]])
    yield join([opening[:-1]])
    yield join([b"\x07" + opening[1:]])


def run_snapshot(data: bytes) -> None:
    """The pieces are sections: the first byte is the kind. Their checksums are made right."""
    sections = ((SectionKind(1 + piece[0] % 4), piece[1:]) for piece in pieces(data))
    machine = new_machine()
    machine.install(machine.prepare(write_sections(sections)))
    machine.digest()


def run_snapshot_bytes(data: bytes) -> None:
    """A whole snapshot of which a part was changed; nothing gets through but what was written."""
    machine = new_machine()
    machine.install(machine.prepare([data[:7], data[7:]]))
    if b"".join(machine.snapshot()) != data:
        raise Broken("what was read was never written so")


def snapshot_examples() -> Iterable[bytes]:
    for machine in (new_machine(), written_machine()):
        sections = list(read_sections(machine.snapshot()))
        yield join(bytes([kind - 1]) + body for kind, body in sections)
        yield join(bytes([kind - 1]) + body for kind, body in sections[:-1])


def snapshot_bytes_examples() -> Iterable[bytes]:
    yield b"".join(new_machine().snapshot())
    yield b"".join(written_machine().snapshot())


def written_machine() -> ReplicatedMachine:
    machine = new_machine()
    opening = pack(CommandKind.OPEN_SESSION, session=SESSION, wall_now=1.0, seed=1, frame=b"")
    machine.apply(Entry(1, 1, 0, opening))
    for index, frame in enumerate(client_frames(), 2):
        command = pack(CommandKind.CALL, session=SESSION, wall_now=2.0, seed=index, frame=frame)
        machine.apply(Entry(1, index, 0, command))
    return machine


# text: addresses and peers, as users write them.


def run_addresses(data: bytes) -> None:
    """What is read must read the same after it was written again."""
    text = data.decode("utf-8", "surrogateescape")
    addresses = parse_addresses(text)
    if parse_addresses(",".join(map(str, addresses))) != addresses:
        raise Broken(f"{text!r} is read as {addresses}")


def run_peers(data: bytes) -> None:
    """Every node of the list has a name and an address."""
    peers = parse_peers(data.decode("utf-8", "surrogateescape"))
    if not all(name and address for name, address in peers.items()):
        raise Broken(f"{peers}")


def address_examples() -> Iterable[bytes]:
    yield b"127.0.0.1:7400"
    yield b"[::1]:7400,localhost:0"
    yield b"unix:/run/liferaft.sock"
    yield b"memory:name"
    yield "b\u00fccher.example:80".encode()
    yield b"127.0.0.1:99999"
    yield b"[::1:7400"
    yield b" a:1 , a:1"


def peer_examples() -> Iterable[bytes]:
    yield b"n1=127.0.0.1:7401,n2=127.0.0.1:7402"
    yield b"n1=[::1]:7401"
    yield b"n1,n1="
    yield b",,"


TARGETS = (
    Target("entry", run_entry, (InvariantViolated,), entry_examples),
    Target("commands", run_commands, (), command_examples),
    Target("snapshot", run_snapshot, NO_SNAPSHOT, snapshot_examples),
    Target("snapshot_bytes", run_snapshot_bytes, NO_SNAPSHOT, snapshot_bytes_examples),
    Target("addresses", run_addresses, (AddressError,), address_examples, input_bytes_max=512),
    Target("peers", run_peers, (ConfigurationError,), peer_examples, input_bytes_max=512),
)
