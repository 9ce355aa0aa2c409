"""The whole state of a machine as a snapshot, and back: its time, its sessions, its objects.

The sections, whose bytes `sections` frames; every body is MessagePack:

    MACHINE    once, the first: the index of the last entry applied, and the log's time
    SESSIONS   any number: some sessions, the longest idle first, each with its replies
    OBJECT     the head of an object: its name, and the names of the pieces that follow
    PIECE      one piece of the object's state, in the order of its head; see `restoring`

Writing goes section by section, so no more is held at a time than the largest of them, decoded once
to prove it. Reading makes the state beside the present one, which is not touched.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Final, TypeVar

import msgspec

from liferaft.errors import ConfigurationError, DamagedSnapshot
from liferaft.replicated.likeness import Likeness
from liferaft.replicated.restoring import ObjectState, Pieces
from liferaft.replicated.sections import SectionKind, read_sections, write_sections
from liferaft.replicated.sessions import Session

SESSIONS_BYTES: Final = 256 * 1024
"""Where a section of sessions ends: large enough to be worth a checksum, small beside the state."""

BodyT = TypeVar("BodyT")

_encode: Final = msgspec.msgpack.Encoder().encode


class MachineHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state of the machine itself."""

    applied_index: Annotated[int, msgspec.Meta(ge=0)]
    wall_now: float


class _ObjectHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An object. `absent` names attributes that it had once, or may get, and has not now."""

    name: str
    pieces: tuple[str, ...]
    absent: tuple[str, ...]


class Contents(msgspec.Struct, frozen=True):
    """What a snapshot holds, decoded."""

    machine: MachineHead
    sessions: dict[bytes, Session]
    objects: dict[str, Pieces]


def write_snapshot(
    machine: MachineHead, sessions: Mapping[bytes, Session], objects: Mapping[str, ObjectState]
) -> Iterator[bytes]:
    """Yield the snapshot in chunks, made as they are asked for.

    Nothing may change before the last one was taken. Raises `ConfigurationError` when something
    would not come back as it is; what was yielded before is of no use then.
    """
    return write_sections(_sections(machine, sessions, objects))


def read_snapshot(chunks: Iterable[bytes], objects: Mapping[str, ObjectState]) -> Contents:
    """Return the state in a snapshot, for the objects that are hosted here.

    An object that the snapshot does not know is in its first state. Raises `DamagedSnapshot` when
    the bytes are not a whole snapshot, `ConfigurationError` when it is one of other objects.
    """
    reader = _Reader(objects)
    for kind, body in read_sections(chunks):
        reader.take(kind, body)
    return reader.contents()


def _sections(
    machine: MachineHead, sessions: Mapping[bytes, Session], objects: Mapping[str, ObjectState]
) -> Iterator[tuple[SectionKind, bytes]]:
    yield SectionKind.MACHINE, _encode(machine)
    for batch in _batches(sessions):
        yield SectionKind.SESSIONS, batch
    likeness = Likeness()
    for name, state in objects.items():
        yield SectionKind.OBJECT, _encode(_ObjectHead(name, state.names(), state.absent()))
        for piece in state.pieces(likeness):
            yield SectionKind.PIECE, piece


def _batches(sessions: Mapping[bytes, Session]) -> Iterator[bytes]:
    batch: list[msgspec.Raw] = []
    size_bytes = 0
    for each in sessions.items():
        batch.append(msgspec.Raw(_encode(each)))
        size_bytes += len(batch[-1])
        if size_bytes >= SESSIONS_BYTES:
            yield _encode(batch)
            batch.clear()
            size_bytes = 0
    if batch:
        yield _encode(batch)


class _Reader:
    """Takes the sections of one snapshot, in their order."""

    def __init__(self, objects: Mapping[str, ObjectState]) -> None:
        self._hosted = objects
        self._machine: MachineHead | None = None
        self._sessions: dict[bytes, Session] = {}
        self._objects: dict[str, Pieces] = {}
        self._head = _ObjectHead("", (), ())

    def take(self, kind: SectionKind, body: bytes) -> None:
        """Take the next section."""
        if (kind == SectionKind.MACHINE) != (self._machine is None):
            raise DamagedSnapshot("the machine's own state is not the first section, and the only")
        if kind == SectionKind.MACHINE:
            self._machine = _decoded(body, MachineHead)
        elif kind == SectionKind.SESSIONS and not self._objects:
            self._sessions.update(_decoded(body, list[tuple[bytes, Session]]))
        elif kind == SectionKind.OBJECT and not self._has_missing_pieces():
            self._begin_object(_decoded(body, _ObjectHead))
        elif kind == SectionKind.PIECE and self._has_missing_pieces():
            self._take_piece(body)
        else:
            raise DamagedSnapshot(f"a section of the kind {kind.name} where none can be")

    def contents(self) -> Contents:
        """Return what was taken, when all of it is there."""
        if self._machine is None or self._has_missing_pieces():
            raise DamagedSnapshot("sections are missing at the end of the snapshot")
        unknown = [name for name in self._hosted if name not in self._objects]
        firsts = {name: self._first_pieces(name, ()) for name in unknown}
        return Contents(self._machine, self._sessions, self._objects | firsts)

    def _begin_object(self, head: _ObjectHead) -> None:
        if head.name in self._objects:
            raise DamagedSnapshot(f"the object {head.name!r} is in the snapshot twice")
        if head.name not in self._hosted:
            raise ConfigurationError(
                f"the snapshot has an object {head.name!r}, and this node hosts none of that name: "
                "start it with the objects that the cluster's other nodes have"
            )
        self._head = head
        self._objects[head.name] = {}
        self._complete_object()

    def _take_piece(self, body: bytes) -> None:
        pieces = self._objects[self._head.name]
        name = self._head.pieces[len(pieces)]
        pieces[name] = self._hosted[self._head.name].decode(name, body)
        self._complete_object()

    def _has_missing_pieces(self) -> bool:
        return len(self._objects.get(self._head.name, ())) < len(self._head.pieces)

    def _complete_object(self) -> None:
        """Add what the class has, and had not when the snapshot was made, to a whole object."""
        if not self._has_missing_pieces():
            pieces = self._objects[self._head.name]
            known = {*self._head.absent, *pieces}
            pieces.update(self._first_pieces(self._head.name, known))

    def _first_pieces(self, name: str, known: Collection[str]) -> Pieces:
        """Return the pieces of the object's first state, but for the `known` ones."""
        state = self._hosted[name]
        return {
            piece: state.decode(piece, body)
            for piece, body in state.first.items()
            if piece not in known
        }


def _decoded(body: bytes, kind: type[BodyT]) -> BodyT:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedSnapshot(f"a section is whole, and no snapshot's: {error}") from error
