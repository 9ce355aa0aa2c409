"""The state machine that ordinary classes make: commands, queries and sessions.

It applies what the log carries, one command at a time, in the order of the log, and answers each
with the very frame that the client gets: a `Reply`, or a `Failure` when the method raised, for an
exception is a result like any other and the same on every replica (trap 47).

Invariant: two machines that applied the same entries are equal, sessions included.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from liferaft.errors import (
    ConfigurationError,
    InterfaceError,
    InvariantViolated,
    NoSuchObject,
    OutcomeUnknown,
    Overloaded,
    SessionExpired,
)
from liferaft.raft.types import Entry
from liferaft.replicated.command import Command, CommandKind, unpack
from liferaft.replicated.determinism import CommandContext
from liferaft.replicated.points import OnPoint, Points
from liferaft.replicated.restoring import state_of
from liferaft.replicated.sessions import REPLIES_MAX, Session, SessionTable
from liferaft.replicated.snapshot import Contents, MachineHead, read_snapshot, write_snapshot
from liferaft.replicated.state import (
    OWN_STATE_METHODS,
    digest_of,
    encoded_pieces,
    encoded_sessions,
    encoded_state,
)
from liferaft.rpc.codec import encode, encode_failure, encode_raised
from liferaft.rpc.interface import Interface
from liferaft.rpc.views import VIEW_MARK
from liferaft.rpc.wire import Call, Reply

MethodT = TypeVar("MethodT", bound=Callable[..., Any])

_call_decoder: Final = msgspec.msgpack.Decoder(Call)
_CALL: Final = int(CommandKind.CALL)
_OPEN_SESSION: Final = int(CommandKind.OPEN_SESSION)

_QUERY_MARK: Final = "__liferaft_query__"

SESSIONS_PART: Final = "the sessions"
"""The part of the state that belongs to no object. What is in it changes with this name only."""


def query(method: MethodT) -> MethodT:
    """Mark a method that only reads: it is answered without a log entry, and still linearizable."""
    setattr(method, _QUERY_MARK, True)
    return method


class ReplicatedObject:
    """One object of the machine, with its methods looked up once.

    Raises `InterfaceError` for a class whose methods cannot be commands, and `ConfigurationError`
    for one whose state cannot be encoded, or restored from a snapshot, or whose name is a view's.
    """

    def __init__(self, name: str, instance: object) -> None:
        if VIEW_MARK in name:
            raise ConfigurationError(
                f"{name!r} cannot be an object's name: {VIEW_MARK} is for views (docs/reads.md)"
            )
        self.name: Final = name
        self.instance: Final = instance
        self.state: Final = state_of(instance)
        self.interface: Final = _interface_of(type(instance))
        self.queries: Final = frozenset(
            method
            for method in self.interface.methods
            if getattr(getattr(type(instance), method), _QUERY_MARK, False)
        )
        for signature in self.interface.methods.values():
            is_more = signature.is_oneway or signature.has_streams or signature.has_references
            if signature.is_async or is_more:
                raise InterfaceError(
                    f"{type(instance).__qualname__}.{signature.name} cannot be replicated: "
                    "a command is a plain method that takes and gives values, and is done when it"
                    " returns"
                )
        encoded_state(name, instance)

    def execute(self, call: Call) -> bytes:
        """Run the method and return the encoded answer."""
        signature = self.interface.methods.get(call.method)
        if signature is None:
            missing = NoSuchObject(f"{self.name} has no method {call.method}")
            return encode_failure(call.number, missing)
        try:
            arguments = signature.arguments.decode(call.arguments)
            result = signature.prepare(getattr(self.instance, call.method), arguments)()
            return encode(Reply(call.number, msgspec.Raw(encode(result))))
        except Exception as error:  # noqa: BLE001 - an exception is the command's result
            return encode_raised(call.number, _without_traceback(error), signature.declared)


def _interface_of(cls: type) -> Interface:
    """Return what clients may call: not `restore`, by which they could replace the state."""
    declared = Interface.of(cls)
    methods = {
        name: method for name, method in declared.methods.items() if name not in OWN_STATE_METHODS
    }
    return Interface(declared.name, declared.cls, methods)


def _missing(call: Call) -> bytes:
    """Return the answer to a call of an object that there is not: clients write what they like."""
    return encode_failure(call.number, NoSuchObject(f"there is no object {call.object!r}"))


def _without_traceback(error: Exception) -> Exception:
    """Take off what holds paths and line numbers: replicas may be installed in other places."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class Prepared:
    """The state in a snapshot, ready to be installed, once, in the machine that prepared it."""

    def __init__(self, machine: "ReplicatedMachine", contents: Contents) -> None:
        self._machine = machine
        self._contents: Contents | None = contents
        self.applied_index: Final = contents.machine.applied_index

    def install(self) -> None:
        """Make it the machine's state; see `ReplicatedMachine.install`."""
        self._machine.install(self)

    def take(self, machine: "ReplicatedMachine") -> Contents:
        """Give the state away to `machine`."""
        contents, self._contents = self._contents, None
        if contents is None or machine is not self._machine:
            # Two machines, or two moments of one, would share what commands change.
            raise InvariantViolated("a prepared snapshot is installed twice, or somewhere else")
        return contents


class ReplicatedMachine:
    """All objects of one cluster, and the sessions of their clients.

    Raises `ConfigurationError` when two objects share what can be changed, and whatever
    `ReplicatedObject` raises.
    """

    def __init__(self, objects: Mapping[str, object]) -> None:
        self.objects: Final = {
            name: ReplicatedObject(name, instance) for name, instance in objects.items()
        }
        self.sessions: Final = SessionTable()
        self.applied_index = 0
        self._wall_now = 0.0
        self._points = Points()
        # What the objects share would be parted by a snapshot; this finds it before there is one.
        for _ in self.snapshot():
            pass

    def apply(self, entry: Entry) -> bytes:
        """Carry out one command of the log and return its answer as a frame."""
        if entry.index <= self.applied_index:
            raise InvariantViolated(
                f"entry {entry.index} is to be applied after {self.applied_index}"
            )
        self.applied_index = entry.index
        command = unpack(entry.data)
        # The leaders' clocks may differ; the log's time never falls.
        self._wall_now = max(self._wall_now, command.wall_now)
        if command.kind == _CALL:
            answer = self._call(command)
        elif command.kind == _OPEN_SESSION:
            self.sessions.open(command.session, self._wall_now)
            answer = b""
        else:
            raise InvariantViolated(f"entry {entry.index} has the unknown kind {command.kind}")
        self._points.passed(entry.index, self._wall_now, answer)
        return answer

    def snapshot(self) -> Iterator[bytes]:
        """Yield the whole state at `applied_index` in chunks that are made as they are asked for.

        Nothing may be applied from the first one to the last: take them at once, or in a forked
        process. Raises `ConfigurationError` when something would not come back as it is; the chunks
        are of no use then, and the state is unharmed.
        """
        index = self.applied_index
        states = {name: hosted.state for name, hosted in self.objects.items()}
        for chunk in write_snapshot(
            MachineHead(index, self._wall_now), self.sessions.state(), states
        ):
            if self.applied_index != index:
                raise InvariantViolated(
                    f"entry {self.applied_index} was applied while a snapshot was taken at {index}"
                )
            yield chunk

    def prepare(self, chunks: Iterable[bytes]) -> Prepared:
        """Return the state in a snapshot, decoded beside the present one, on whichever thread.

        The chunks may end anywhere. Raises `DamagedSnapshot` when they are not one whole snapshot,
        and `ConfigurationError` when it is of objects or classes that are not hosted here.
        """
        states = {name: hosted.state for name, hosted in self.objects.items()}
        return Prepared(self, read_snapshot(chunks, states))

    def install(self, prepared: Prepared) -> None:
        """Replace the whole state by a snapshot's, on the thread that applies entries.

        Raises `InvariantViolated` when a class's own `restore` fails or when the state would go
        back; the node must end.
        """
        contents = prepared.take(self)
        if contents.machine.applied_index < self.applied_index:
            raise InvariantViolated(
                f"a snapshot at {contents.machine.applied_index} is to replace the state at "
                f"{self.applied_index}"
            )
        for name, pieces in contents.objects.items():
            self.objects[name].state.install(pieces)
        self.sessions.replace(contents.sessions)
        self.applied_index = contents.machine.applied_index
        self._wall_now = contents.machine.wall_now
        self._points.begin(self.applied_index, self._wall_now)

    def execute_query(self, call: Call) -> bytes:
        """Run a query on the state as it is and return its answer as a frame."""
        hosted = self.objects.get(call.object)
        return _missing(call) if hosted is None else hosted.execute(call)

    def answered(self, session_id: bytes, number: int) -> bytes | None:
        """Return the reply that this call was given before, None when it has none."""
        session = self.sessions.get(session_id)
        return None if session is None else session.replies.get(number)

    def digest(self) -> str:
        """Return the digest of the whole state at `applied_index`."""
        states = {name: self.encoded_state(name) for name in sorted(self.objects)}
        return digest_of(states, self.sessions.state())

    def watch(self, interval: float, on_point: OnPoint) -> None:
        """Tell where the replicas are to be compared, from now on; see `points`."""
        self._points.watch(interval, on_point, index=self.applied_index, wall_now=self._wall_now)

    def digest_pieces(self) -> Iterator[tuple[str, bytes]]:
        """Yield what the replicas must have in common at `applied_index`: small pieces of parts.

        That is all of the state but the words of answers that were given already: who has got one
        never asks for it again, and the text of an exception may change with a version of Python.
        Nothing may be applied from the first piece to the last, as with `snapshot`.
        """
        yield SESSIONS_PART, encode((self.applied_index, self._wall_now))
        for piece in encoded_sessions(self.sessions.state()):
            yield SESSIONS_PART, piece
        for name in sorted(self.objects):
            hosted = self.objects[name]
            yield from encoded_pieces(name, hosted.instance, hosted.state.shapes)

    def encoded_state(self, name: str) -> bytes:
        """Return the state of one object as bytes; raises `NoSuchObject`."""
        hosted = self.objects.get(name)
        if hosted is None:
            raise NoSuchObject(f"there is no object {name!r}")
        return encoded_state(name, hosted.instance)

    def _call(self, command: Command) -> bytes:
        try:
            call = _call_decoder.decode(command.frame)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            # Hosts let in only what can be decoded, so this came from no host of this version.
            raise InvariantViolated(f"a command that carries no call: {error}") from error
        session = self.sessions.touch(command.session, self._wall_now)
        if session is None:
            return encode_failure(
                call.number,
                SessionExpired("the session was idle for too long and its replies are forgotten"),
            )
        session.acknowledge(call.acked_below)
        if call.number < session.acked_below:
            return encode_failure(
                call.number, OutcomeUnknown("the call was acknowledged before it came again")
            )
        reply = session.replies.get(call.number)
        if reply is None:
            reply = self._execute_once(command, call, session)
        return reply

    def _execute_once(self, command: Command, call: Call, session: Session) -> bytes:
        if len(session.replies) >= REPLIES_MAX:
            full = Overloaded(f"{REPLIES_MAX} replies of this session are not acknowledged yet")
            return encode_failure(call.number, full)
        hosted = self.objects.get(call.object)
        if hosted is None:
            return _missing(call)
        with CommandContext(self._wall_now, command.seed):
            reply = hosted.execute(call)
        session.replies[call.number] = reply
        return reply
