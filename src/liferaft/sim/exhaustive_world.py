"""The states of a small cluster and what may come next; see `liferaft.sim.exhaustive`.

Servers, and messages, are kept once each (exhaustive_parts.py): a state refers to those that others
have too. What an event does to a server depends on the two alone, so it is worked out once, and
kept.

A state is known by its form: all that matters of it, under that renaming of the nodes that comes
first in order, so that states which differ by the names alone are one.

It never looks for anything: who visits which state is the search's business.
"""

import hashlib
import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Apply, Persist, Send
from liferaft.raft.events import Event, Proposed, Received, Stored, TimePassed
from liferaft.raft.invariants import check_state
from liferaft.raft.messages import Message
from liferaft.raft.state import Follower, Leader, PreCandidate
from liferaft.raft.types import Entry, HardState, NodeId
from liferaft.sim.exhaustive_checks import check_logs, checked_applied, checked_led
from liferaft.sim.exhaustive_parts import (
    LONG_AGO,
    NAMINGS,
    NODES,
    Letter,
    Move,
    Server,
    encode,
    new_core,
    server_form,
    stored,
)

PartT = TypeVar("PartT")

_NOTHING: Final = HardState()


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How small the scale is: what may happen at most so often in one history."""

    terms: int = 2
    entries: int = 2
    duplicates: int = 1
    crashes: int = 1
    heartbeats: int = 1
    step_downs: int = 0
    """How often check-quorum ends a leader's reign."""
    in_flight: int = 8
    """Messages under way at a time; what is sent beyond them is lost."""


class World(NamedTuple):
    """One state of everything. `counts` are proposals, repeats, crashes, heartbeats, step-downs."""

    servers: tuple[Server, ...]
    letters: tuple[Letter, ...]
    committed: tuple[Entry, ...]
    leaders: tuple[tuple[int, NodeId], ...]
    counts: tuple[int, ...]


_PROPOSED, _REPEATED, _CRASHED, _BEATEN, _STEPPED_DOWN = range(5)


class Space:
    """Every state within the bounds, from `first` on; raises `InvariantViolated` for a bad one."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._servers: dict[bytes, Server] = {}
        self._letters: dict[bytes, Letter] = {}
        # Small parts that many states share.
        self._parts: dict[object, Any] = {}
        servers = tuple(
            self._kept(Server(new_core(node, _NOTHING, ()), _NOTHING, (), (), ())) for node in NODES
        )
        self.first: Final = World(servers, (), (), (), (0, 0, 0, 0, 0))

    @property
    def server_count(self) -> int:
        """How many servers that differ were met."""
        return len(self._servers)

    def digest(self, world: World) -> bytes:
        """Return 16 bytes that all states have which are this one, but for the nodes' names."""
        rest = encode((world.committed, world.counts))
        return hashlib.blake2b(min(_forms(world)) + rest, digest_size=16).digest()

    def successors(self, world: World) -> Iterator[World]:
        """Return the states that one event leads to."""
        bounds, counts, letters = self.bounds, world.counts, world.letters
        for index, letter in enumerate(letters):
            if letter.message.term > bounds.terms:
                continue
            rest = letters[:index] + letters[index + 1 :]
            move = self._received(world.servers[letter.place], letter)
            yield self._after(world, letter.place, move, rest, counts)
            if counts[_REPEATED] < bounds.duplicates:
                yield self._after(world, letter.place, move, letters, _more(counts, _REPEATED))
        for place, server in enumerate(world.servers):
            for move, count in self._events_of(server, counts):
                after = counts if count is None else _more(counts, count)
                yield self._after(world, place, move, letters, after)

    def _events_of(
        self, server: Server, counts: tuple[int, ...]
    ) -> Iterator[tuple[Move, int | None]]:
        """Return what may happen to one server by itself, and what that counts as."""
        bounds, role = self.bounds, server.core.state.role
        if server.writing:
            yield self._move(server, "written", self._written), None
        if isinstance(role, Leader):
            if counts[_PROPOSED] < bounds.entries:
                command = b"%d" % counts[_PROPOSED]
                yield self._stepped(server, command, Proposed((command,)), _stay), _PROPOSED
            if counts[_BEATEN] < bounds.heartbeats:
                yield self._stepped(server, "beat", TimePassed(), _heartbeat_is_due), _BEATEN
            if counts[_STEPPED_DOWN] < bounds.step_downs:
                yield self._stepped(server, "alone", TimePassed(), _lose_quorum), _STEPPED_DOWN
        else:
            if isinstance(role, Follower) and role.leader is not None and role.contact > LONG_AGO:
                yield self._stepped(server, "impatient", None, _lose_patience), None
            if server.core.current_term < bounds.terms and not isinstance(role, PreCandidate):
                yield self._stepped(server, "timer", TimePassed(), _timer_is_due), None
        if counts[_CRASHED] < bounds.crashes:
            for kept in (0, 1)[: 1 + bool(server.writing)]:
                crash = partial(self._crashed, kept=kept)
                yield self._move(server, ("crash", kept), crash), _CRASHED

    # What crosses to another process, which has a space of its own.

    def packed(self, world: World, told: set[int]) -> tuple[Any, ...]:
        """Return a state as `unpacked` takes it; `told` are the servers that were explained."""
        news = []
        for server in world.servers:
            if server.number not in told:
                told.add(server.number)
                parts = server.core, server.hard_state, server.entries, server.writing, server.held
                news.append((server.number, parts))
        numbers = tuple([server.number for server in world.servers])
        keys = self._parts.get(("keys", world.letters))
        if keys is None:
            keys = tuple([letter.message for letter in world.letters])
            self._parts["keys", world.letters] = keys
        return news, numbers, keys, world.committed, world.leaders, world.counts

    def unpacked(self, packed: tuple[Any, ...], explained: dict[int, Server]) -> World:
        """Return the state; `explained` are the servers of the other process, by its numbers."""
        news, numbers, messages, committed, leaders, counts = packed
        for number, parts in news:
            explained[number] = self._kept(Server(*parts))
        servers = tuple([explained[number] for number in numbers])
        letters = self._part(self._sent(messages))
        return World(
            servers, letters, self._part(committed), self._part(leaders), self._part(counts)
        )

    # One event and one server.

    def _move(self, server: Server, event: object, make: Callable[[Server], Move]) -> Move:
        move = server.moves.get(event)
        if move is None:
            move = server.moves[event] = make(server)
        return move

    def _received(self, server: Server, letter: Letter) -> Move:
        return self._move(
            server, letter.key, lambda of: self._step(of, Received(letter.message), _stay)
        )

    def _stepped(
        self,
        server: Server,
        name: object,
        event: Event | None,
        prepare: Callable[[RaftCore], None],
    ) -> Move:
        return self._move(server, name, lambda of: self._step(of, event, prepare))

    def _step(
        self, server: Server, event: Event | None, prepare: Callable[[RaftCore], None]
    ) -> Move:
        """Work out what an event does to a core, and carry out what that asks for."""
        if not server.pickled:
            server.pickled = pickle.dumps(server.core, pickle.HIGHEST_PROTOCOL)
        core: RaftCore = pickle.loads(server.pickled)  # noqa: S301 - made two lines above
        prepare(core)
        if event is not None:
            core.step(event, 0.0)
        writing, held = server.writing, server.held
        sent: list[Message] = []
        applied: tuple[Entry, ...] = ()
        for effect in core.take_effects():
            if isinstance(effect, Persist):
                writing = (*writing, effect)
            elif isinstance(effect, Send) and effect.after and writing:
                held = (*held, effect)
            elif isinstance(effect, Send):
                sent.append(effect.message)
            elif isinstance(effect, Apply):
                applied += effect.entries
        check_state(core)
        after = self._kept(Server(core, server.hard_state, server.entries, writing, held))
        return Move(after, self._sent(sent), applied)

    def _written(self, server: Server) -> Move:
        """Let the oldest write be done, and let go what waited for it."""
        write, writing = server.writing[0], server.writing[1:]
        hard_state, entries = stored(server.hard_state, server.entries, write)
        free = [send.message for send in server.held if send.after <= write.mark]
        held = tuple(send for send in server.held if send.after > write.mark)
        done = Server(server.core, hard_state, entries, writing, held)
        move = self._step(done, Stored(write.mark), _stay)
        return move._replace(letters=(*self._sent(free), *move.letters))

    def _crashed(self, server: Server, *, kept: int) -> Move:
        """End a node and start it again with its disk, the first of its writes kept or not."""
        hard_state, entries = server.hard_state, server.entries
        for write in server.writing[:kept]:
            hard_state, entries = stored(hard_state, entries, write)
        core = new_core(server.core.state.node_id, hard_state, entries)
        return Move(self._kept(Server(core, hard_state, entries, (), ())), (), ())

    def _kept(self, server: Server) -> Server:
        """Return the server that is the same as this one, this one if there is none yet."""
        forms = tuple(server_form(server, name) for name in NAMINGS)
        known = self._servers.get(forms[0])
        if known is not None:
            return known
        server.forms = forms
        server.number = len(self._servers)
        self._servers[forms[0]] = server
        return server

    def _part(self, part: PartT) -> PartT:
        """Return the part that equals this one and is kept."""
        kept: PartT = self._parts.setdefault(part, part)
        return kept

    def _sent(self, messages: Iterable[Message]) -> tuple[Letter, ...]:
        return tuple(self._letter(message) for message in messages)

    def _letter(self, message: Message) -> Letter:
        key = encode(message)
        letter = self._letters.get(key)
        if letter is None:
            letter = self._letters[key] = Letter(message, key)
        return letter

    # One event and everything.

    def _after(
        self,
        world: World,
        place: int,
        move: Move,
        letters: tuple[Letter, ...],
        counts: tuple[int, ...],
    ) -> World:
        """Return the state after a move of one node, and check what must hold of all together."""
        server, core = move.server, move.server.core
        servers = (*world.servers[:place], server, *world.servers[place + 1 :])
        if move.letters:
            unique = {letter.key: letter for letter in (*letters, *move.letters)}
            letters = tuple([unique[key] for key in sorted(unique)])
        letters = self._part(letters)
        committed = world.committed
        if move.applied:
            committed = self._part(checked_applied(committed, move.applied, core.state.node_id))
        leaders = world.leaders
        if isinstance(core.state.role, Leader):
            leaders = self._part(checked_led(leaders, committed, core))
        if server is not world.servers[place]:
            check_logs(servers)
        after = World(servers, letters, committed, leaders, self._part(counts))
        return after if len(letters) <= self.bounds.in_flight else self._thinned(after)

    def _thinned(self, world: World) -> World:
        """Lose what is beyond the bound: of states that are one, always the same messages."""
        forms = _forms(world)
        first = forms.index(min(forms))
        letters = sorted(world.letters, key=lambda letter: letter.forms[first])
        kept = sorted(letters[: self.bounds.in_flight], key=lambda letter: letter.key)
        return world._replace(letters=self._part(tuple(kept)))


def _forms(world: World) -> list[bytes]:
    """Return all that matters of a state, but what has no names in it, under each naming."""
    first, second, third = world.servers
    forms = []
    for number, name in enumerate(NAMINGS):
        parts = [first.forms[number], second.forms[number], third.forms[number]]
        parts.sort()
        parts += sorted([letter.forms[number] for letter in world.letters])
        parts.append(encode(sorted([(term, name[node]) for term, node in world.leaders])))
        forms.append(b"".join(parts))
    return forms


def _more(counts: tuple[int, ...], which: int) -> tuple[int, ...]:
    return (*counts[:which], counts[which] + 1, *counts[which + 1 :])


# What happens to a core before an event, in the place of time.


def _stay(_: RaftCore) -> None:
    """Leave it as it is."""


def _heartbeat_is_due(core: RaftCore) -> None:
    role = core.state.role
    assert isinstance(role, Leader)
    role.heartbeat_due = 0.0


def _lose_quorum(core: RaftCore) -> None:
    role = core.state.role
    assert isinstance(role, Leader)
    for progress in role.progress.values():
        progress.contact = LONG_AGO


def _timer_is_due(core: RaftCore) -> None:
    core.state.election_deadline = 0.0
    _lose_patience(core)


def _lose_patience(core: RaftCore) -> None:
    if isinstance(core.state.role, Follower):
        core.state.role.contact = LONG_AGO
