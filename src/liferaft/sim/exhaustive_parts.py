"""Servers and messages of a small cluster, kept once each, and the forms that they are known by.

A server is a core, what its disk holds and is writing, and what waits for the disk. Its form is all
that matters of it under one renaming of the nodes. Nothing here says what may happen next.
"""

import random as random_module
from itertools import permutations
from typing import Any, Final, NamedTuple

import msgspec

from liferaft.raft.config import RaftConfig
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Persist, Send
from liferaft.raft.log import LogSummary
from liferaft.raft.messages import Message
from liferaft.raft.state import Candidate, Follower, PreCandidate
from liferaft.raft.types import Configuration, Entry, HardState, NodeId, TermRun

NODES: Final[tuple[NodeId, ...]] = ("n1", "n2", "n3")
LONG_AGO: Final = -1e9

NAMINGS: Final = tuple(dict(zip(NODES, names, strict=True)) for names in permutations(NODES))
"""Every renaming of the nodes."""

encode: Final = msgspec.msgpack.Encoder(order="deterministic").encode


class _StillRandom(random_module.Random):
    """Draws always the same: election timeouts are events here, not durations."""

    def random(self) -> float:
        """Return the middle."""
        return 0.5

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how to make it: it has no state."""
        return _StillRandom, ()


class Letter:
    """A message under way, kept once."""

    __slots__ = ("forms", "key", "message", "place")

    def __init__(self, message: Message, key: bytes) -> None:
        self.message = message
        self.key = key
        self.place = NODES.index(message.target)
        self.forms = tuple(encode(renamed(message, name)) for name in NAMINGS)


class Server:
    """One node, kept once; `moves` is what each event that was tried does to it."""

    __slots__ = (
        "core",
        "entries",
        "forms",
        "hard_state",
        "held",
        "moves",
        "number",
        "pickled",
        "writing",
    )

    def __init__(
        self,
        core: RaftCore,
        hard_state: HardState,
        entries: tuple[Entry, ...],
        writing: tuple[Persist, ...],
        held: tuple[Send, ...],
    ) -> None:
        self.core = core
        self.hard_state = hard_state
        self.entries = entries
        self.writing = writing
        self.held = held
        self.number = 0
        self.pickled = b""
        self.forms: tuple[bytes, ...] = ()
        self.moves: dict[object, Move] = {}


class Move(NamedTuple):
    """What an event does: the server after it, what it sends, what it gives out as committed."""

    server: Server
    letters: tuple[Letter, ...]
    applied: tuple[Entry, ...]


def new_core(node_id: NodeId, hard_state: HardState, entries: tuple[Entry, ...]) -> RaftCore:
    """Return the core of a node that starts with this on its disk."""
    runs: list[TermRun] = []
    for entry in entries:
        if not runs or runs[-1].term != entry.term:
            runs.append(TermRun(entry.term, entry.index))
    return RaftCore(
        node_id,
        RaftConfig(),
        Configuration(voters=NODES),
        hard_state,
        LogSummary(first=1, last=len(entries), runs=tuple(runs), tail=entries),
        now=0.0,
        random=_StillRandom(),
    )


def stored(
    hard_state: HardState, entries: tuple[Entry, ...], write: Persist
) -> tuple[HardState, tuple[Entry, ...]]:
    """Return what is on a disk once a write is done."""
    if write.entries:
        entries = entries[: write.entries[0].index - 1] + write.entries
    return write.hard_state or hard_state, entries


def entries_of(core: RaftCore) -> tuple[Entry, ...]:
    """Return the whole log of a node."""
    log = core.state.log
    if not log.last_index:
        return ()
    piece = log.piece(1, log.last_index, 2**40)
    assert piece is not None, "so short a log is held in memory"
    return piece.entries


def server_form(server: Server, name: dict[NodeId, NodeId]) -> bytes:
    """Return all that matters of a server, with the nodes renamed."""
    core = server.core
    state, log = core.state, core.state.log
    done = server.writing[0].mark - 1 if server.writing else 0
    form = [
        name[state.node_id],
        _vote(state.hard_state, name),
        _role_form(state.role, name),
        entries_of(core),
        [log.stable_index, log.handed_index, state.commit_index, state.last_applied],
        _vote(server.hard_state, name),
        server.entries,
        [
            [w.mark - done, w.hard_state and _vote(w.hard_state, name), w.entries]
            for w in server.writing
        ],
        sorted(encode([s.after - done, renamed(s.message, name)]) for s in server.held),
    ]
    return encode(form)


def _vote(hard_state: HardState, name: dict[NodeId, NodeId]) -> list[Any]:
    voted_for = hard_state.voted_for
    return [hard_state.current_term, name[voted_for] if voted_for else None]


def _role_form(role: Any, name: dict[NodeId, NodeId]) -> list[Any]:
    if isinstance(role, Follower):
        leader = name[role.leader] if role.leader else None
        return ["follower", leader, role.contact > LONG_AGO]
    if isinstance(role, PreCandidate | Candidate):
        return [role.name, sorted((name[node], vote) for node, vote in role.votes.items())]
    progress = [
        [
            name[node],
            p.next_index,
            p.match_index,
            p.state.value,
            p.round_sent,
            p.round_acked,
            list(p.inflight),
        ]
        for node, p in role.progress.items()
    ]
    return ["leader", role.term_start, role.round, sorted(progress)]


def renamed(message: Message, name: dict[NodeId, NodeId]) -> Message:
    """Return a message between nodes that are renamed."""
    return msgspec.structs.replace(
        message, source=name[message.source], target=name[message.target]
    )
