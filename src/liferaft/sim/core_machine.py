"""The state machine and the commands of the core fidelity: versioned registers, exactly once.

A write makes the next version of its key, and its answer is that version: so the answers of all
clients name the order in which their writes took place, and a history is linearizable if that order
agrees with real time. Repeats are answered from the session, as the replicated objects that ship
do (replicated/sessions.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from liferaft.raft.types import COMMAND, Entry

OLD_COPY = 0
"""The answer to a command that its client acknowledged long ago: nobody waits for it."""

WriteId = tuple[int, int]
"""The client and its number for the write."""


class Command(msgspec.Struct, frozen=True, array_like=True):
    """Write `key`; everything below `acked_below` was answered and will not be asked again."""

    client: int
    number: int
    acked_below: int
    key: int
    padding: bytes = b""


class _State(msgspec.Struct, frozen=True, array_like=True):
    """All registers and sessions, in the order of their numbers: equal states, equal bytes."""

    registers: list[tuple[int, int, WriteId]]
    sessions: list[tuple[int, int, list[tuple[int, int]]]]


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(_State).decode

encode_command = msgspec.msgpack.Encoder().encode
decode_command = msgspec.msgpack.Decoder(Command).decode


@dataclass(slots=True)
class _Session:
    acked_below: int = 1
    replies: dict[int, int] = field(default_factory=dict)


class RegisterMachine:
    """Keys with a version and the write that made it. `repeats` counts what was answered again."""

    def __init__(self) -> None:
        self.repeats = 0
        self.old_copies = 0
        self._registers: dict[int, tuple[int, WriteId]] = {}
        self._sessions: dict[int, _Session] = {}

    def apply(self, data: bytes) -> int:
        """Carry out a command, at most once, and return the version that it made."""
        command = decode_command(data)
        session = self._sessions.get(command.client)
        if session is None:
            session = self._sessions[command.client] = _Session()
        version = session.replies.get(command.number)
        if version is not None:
            self.repeats += 1
            return version
        if command.number < session.acked_below:
            self.old_copies += 1
            return OLD_COPY
        return self._execute(command, session)

    def _execute(self, command: Command, session: _Session) -> int:
        register = self._registers.get(command.key)
        version = 1 if register is None else register[0] + 1
        self._registers[command.key] = (version, (command.client, command.number))
        session.replies[command.number] = version
        if command.acked_below > session.acked_below:
            session.acked_below = command.acked_below
            for number in [n for n in session.replies if n < command.acked_below]:
                del session.replies[number]
        return version

    def read(self, key: int) -> int:
        """Return the version of a key, 0 before the first write."""
        register = self._registers.get(key)
        return register[0] if register is not None else 0

    def encoded(self) -> bytes:
        """Return the whole state, for a snapshot."""
        registers = [(key, *register) for key, register in sorted(self._registers.items())]
        sessions = [
            (client, session.acked_below, sorted(session.replies.items()))
            for client, session in sorted(self._sessions.items())
        ]
        return _encode_state(_State(registers, sessions))

    def restore(self, state: bytes) -> None:
        """Make the state what `encoded` returned."""
        decoded = _decode_state(state)
        self._registers = {key: (version, write) for key, version, write in decoded.registers}
        self._sessions = {
            client: _Session(acked_below, dict(replies))
            for client, acked_below, replies in decoded.sessions
        }

    def state(self) -> dict[int, tuple[int, WriteId]]:
        """Return everything, to be compared."""
        return self._registers


def executed_once(entries: Iterable[Entry]) -> dict[WriteId, tuple[int, int]]:
    """Return key and version of every write in a log, each executed the first time it is there.

    The naive twin of `RegisterMachine`: it keeps every number for ever.
    """
    versions: dict[int, int] = {}
    writes: dict[WriteId, tuple[int, int]] = {}
    for entry in entries:
        if entry.kind == COMMAND:
            command = decode_command(entry.data)
            write = (command.client, command.number)
            if write not in writes:
                versions[command.key] = versions.get(command.key, 0) + 1
                writes[write] = (command.key, versions[command.key])
    return writes
