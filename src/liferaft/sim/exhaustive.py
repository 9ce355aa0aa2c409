"""Every order of events of the pure core, breadth first, on a small scale.

A state is three cores, what their disks hold and are writing, the messages under way, and what was
committed and led so far. From each state every event that may come next is tried: a message
arrives, and is then gone or, within a bound, may arrive again (that it never arrives needs no event
of its own); a disk write is done; a node's patience with its leader ends, with a campaign or
without one; a leader's heartbeat is due; a client proposes; a node crashes, its unfinished writes
lost or the first of them kept, and starts again.

Time itself is left out: clocks stand still, and what they decide is an event that may come at any
moment. Check-quorum is left out, so a leader steps down only for a later term.

States that differ by the names of the nodes alone are one. A state is known by 16 bytes of BLAKE2b:
two of ten million states fall together with a probability below 10^-24.

`python -m liferaft.sim.exhaustive --minutes 10` explores as far as it comes, and tells how far.
"""

import argparse
import copy
import hashlib
import random as random_module
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any, Final

import msgspec

from liferaft.errors import InvariantViolated
from liferaft.raft.config import RaftConfig
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Apply, Persist, Send
from liferaft.raft.events import Event, Proposed, Received, Stored, TimePassed
from liferaft.raft.invariants import check_state
from liferaft.raft.log import LogSummary
from liferaft.raft.messages import Message
from liferaft.raft.state import Candidate, Follower, Leader, PreCandidate
from liferaft.raft.types import Configuration, Entry, HardState, NodeId, TermRun

NODES: Final[tuple[NodeId, ...]] = ("n1", "n2", "n3")
LONG_AGO: Final = -1e9


_NOTHING: Final = HardState()


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How small the scale is: what may happen at most so often in one history."""

    terms: int = 2
    entries: int = 2
    duplicates: int = 1
    crashes: int = 1
    heartbeats: int = 1
    in_flight: int = 8
    """Messages under way at a time; what is sent beyond them is lost."""


class Exploration(msgspec.Struct, frozen=True):
    """How far it came. `depth` is the number of events of the longest history."""

    states: int
    transitions: int
    depth: int
    is_complete: bool


class _StillRandom(random_module.Random):
    """Draws always the same: election timeouts are events here, not durations."""

    def random(self) -> float:
        """Return the middle."""
        return 0.5

    def __deepcopy__(self, memo: dict[int, Any]) -> "_StillRandom":
        """Return itself: it has no state."""
        return self


@dataclass(frozen=True)
class _Server:
    """One node: its core, its disk, and what waits for the disk."""

    core: RaftCore
    hard_state: HardState = _NOTHING
    entries: tuple[Entry, ...] = ()
    writing: tuple[Persist, ...] = ()
    held: tuple[Send, ...] = ()


@dataclass(frozen=True)
class _World:
    """One state of everything."""

    servers: tuple[_Server, ...]
    messages: tuple[Message, ...] = ()
    committed: tuple[Entry, ...] = ()
    leaders: tuple[tuple[int, NodeId], ...] = ()
    proposed: int = 0
    duplicates: int = 0
    crashes: int = 0
    heartbeats: int = 0


def explore(
    bounds: Bounds,
    *,
    seconds: float | None = None,
    levels: int | None = None,
    on_level: Callable[[Exploration], None] = lambda _: None,
) -> Exploration:
    """Visit every state within the bounds; raises `InvariantViolated` when one breaks a promise.

    Stops after `seconds`, or behind so many events, None for never; `on_level` is told after each
    further event.
    """
    end = None if seconds is None else time.monotonic() + seconds
    first = _World(servers=tuple(_Server(_new_core(n, HardState(), ())) for n in NODES))
    seen = {_digest(first)}
    level, transitions, depth = [first], 0, 0
    while level and depth != levels:
        following: list[_World] = []
        for world in level:
            for after in _successors(world, bounds):
                transitions += 1
                digest = _digest(after)
                if digest not in seen:
                    seen.add(digest)
                    following.append(after)
            if end is not None and time.monotonic() > end:
                return Exploration(len(seen), transitions, depth, is_complete=False)
        level = following
        depth += bool(level)
        on_level(Exploration(len(seen), transitions, depth, is_complete=not level))
    return Exploration(len(seen), transitions, depth, is_complete=not level)


# What may come next.


def _successors(world: _World, bounds: Bounds) -> Iterator[_World]:
    for index, message in enumerate(world.messages):
        rest = world.messages[:index] + world.messages[index + 1 :]
        place = NODES.index(message.target)
        if _is_within(message, bounds):
            yield _step(replace(world, messages=rest), place, Received(message), bounds)
            if world.duplicates < bounds.duplicates:
                again = replace(world, duplicates=world.duplicates + 1)
                yield _step(again, place, Received(message), bounds)
    for place, server in enumerate(world.servers):
        yield from _events_of(world, place, server, bounds)


def _events_of(world: _World, place: int, server: _Server, bounds: Bounds) -> Iterator[_World]:
    role = server.core.state.role
    if server.writing:
        yield _written(world, place, bounds)
    if isinstance(role, Leader):
        if world.proposed < bounds.entries:
            command = b"%d" % world.proposed
            asked = replace(world, proposed=world.proposed + 1)
            yield _step(asked, place, Proposed((command,)), bounds)
        if world.heartbeats < bounds.heartbeats:
            beaten = replace(world, heartbeats=world.heartbeats + 1)
            yield _step(beaten, place, TimePassed(), bounds, prepare=_heartbeat_is_due)
    else:
        if isinstance(role, Follower) and role.leader is not None and role.contact > LONG_AGO:
            yield _step(world, place, None, bounds, prepare=_lose_patience)
        if server.core.current_term < bounds.terms and not isinstance(role, PreCandidate):
            yield _step(world, place, TimePassed(), bounds, prepare=_timer_is_due)
    if world.crashes < bounds.crashes:
        for kept in (0, 1)[: 1 + bool(server.writing)]:
            yield _crashed(world, place, kept)


def _is_within(message: Message, bounds: Bounds) -> bool:
    return message.term <= bounds.terms


def _heartbeat_is_due(core: RaftCore) -> None:
    role = core.state.role
    assert isinstance(role, Leader)
    role.heartbeat_due = 0.0


def _timer_is_due(core: RaftCore) -> None:
    core.state.election_deadline = 0.0
    if isinstance(core.state.role, Follower):
        core.state.role.contact = LONG_AGO


def _lose_patience(core: RaftCore) -> None:
    role = core.state.role
    assert isinstance(role, Follower)
    role.contact = LONG_AGO


def _step(
    world: _World,
    place: int,
    event: Event | None,
    bounds: Bounds,
    *,
    prepare: Callable[[RaftCore], None] = lambda _: None,
) -> _World:
    """Return the state after one event of one node, its effects carried out."""
    server = world.servers[place]
    core = copy.deepcopy(server.core)
    prepare(core)
    if event is not None:
        core.step(event, 0.0)
    after = _carry_out(world, place, replace(server, core=core), bounds)
    check_state(core)
    return after


def _carry_out(world: _World, place: int, server: _Server, bounds: Bounds) -> _World:
    core = server.core
    writing, held, messages = server.writing, server.held, list(world.messages)
    committed = world.committed
    for effect in core.take_effects():
        if isinstance(effect, Persist):
            writing = (*writing, effect)
        elif isinstance(effect, Send) and effect.after and writing:
            held = (*held, effect)
        elif isinstance(effect, Send):
            messages.append(effect.message)
        elif isinstance(effect, Apply):
            committed = _applied(committed, effect.entries, core.state.node_id)
    server = replace(server, writing=writing, held=held)
    servers = (*world.servers[:place], server, *world.servers[place + 1 :])
    after = replace(
        world,
        servers=servers,
        committed=committed,
        messages=_bounded(messages, bounds),
        leaders=_led(world.leaders, committed, core),
    )
    _check_logs(after)
    return after


def _bounded(messages: list[Message], bounds: Bounds) -> tuple[Message, ...]:
    """Return the messages in one order, whichever they were sent in; equal ones are one."""
    unique = {msgspec.msgpack.encode(message): message for message in messages}
    return tuple(unique[key] for key in sorted(unique))[: bounds.in_flight]


def _written(world: _World, place: int, bounds: Bounds) -> _World:
    """Let the oldest write be done, and let go what waited for it."""
    server = world.servers[place]
    write, writing = server.writing[0], server.writing[1:]
    hard_state, entries = _stored(server, write)
    free = tuple(send.message for send in server.held if send.after <= write.mark)
    held = tuple(send for send in server.held if send.after > write.mark)
    server = replace(server, hard_state=hard_state, entries=entries, writing=writing, held=held)
    servers = (*world.servers[:place], server, *world.servers[place + 1 :])
    messages = _bounded([*world.messages, *free], bounds)
    return _step(
        replace(world, servers=servers, messages=messages), place, Stored(write.mark), bounds
    )


def _stored(server: _Server, write: Persist) -> tuple[HardState, tuple[Entry, ...]]:
    entries = server.entries
    if write.entries:
        entries = entries[: write.entries[0].index - 1] + write.entries
    return write.hard_state or server.hard_state, entries


def _crashed(world: _World, place: int, kept: int) -> _World:
    """End a node and start it again with its disk, the first of its writes kept or not."""
    server = world.servers[place]
    hard_state, entries = server.hard_state, server.entries
    for write in server.writing[:kept]:
        hard_state, entries = _stored(server, write)
    core = _new_core(NODES[place], hard_state, entries)
    fresh = _Server(core, hard_state, entries)
    servers = (*world.servers[:place], fresh, *world.servers[place + 1 :])
    return replace(world, servers=servers, crashes=world.crashes + 1)


def _new_core(node_id: NodeId, hard_state: HardState, entries: tuple[Entry, ...]) -> RaftCore:
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


# What must hold (Figure 3).


def _applied(
    committed: tuple[Entry, ...], entries: tuple[Entry, ...], node_id: NodeId
) -> tuple[Entry, ...]:
    for entry in entries:
        if entry.index <= len(committed):
            if committed[entry.index - 1] != entry:
                raise InvariantViolated(
                    f"state machine safety: {node_id} applies {entry}, another node applied "
                    f"{committed[entry.index - 1]}"
                )
        else:
            committed = (*committed, entry)
    return committed


def _led(
    leaders: tuple[tuple[int, NodeId], ...], committed: tuple[Entry, ...], core: RaftCore
) -> tuple[tuple[int, NodeId], ...]:
    if core.role != "leader":
        return leaders
    led = dict(leaders)
    node_id, term = core.state.node_id, core.current_term
    if led.setdefault(term, node_id) != node_id:
        raise InvariantViolated(f"election safety: {led[term]} and {node_id} lead in term {term}")
    for entry in committed:
        if entry.term < term and not core.state.log.has(entry.index, entry.term):
            raise InvariantViolated(
                f"leader completeness: {node_id} leads term {term} without {entry}"
            )
    return tuple(sorted(led.items()))


def _check_logs(world: _World) -> None:
    seen: dict[tuple[int, int], tuple[int, bytes]] = {}
    for server in world.servers:
        prior = 0
        for entry in _entries(server.core):
            what = (prior, entry.data)
            if seen.setdefault((entry.index, entry.term), what) != what:
                raise InvariantViolated(f"log matching: two entries {entry.index}: {entry}")
            prior = entry.term


def _entries(core: RaftCore) -> tuple[Entry, ...]:
    log = core.state.log
    if not log.last_index:
        return ()
    piece = log.piece(1, log.last_index, 2**40)
    assert piece is not None, "so short a log is held in memory"
    return piece.entries


# One name for all states that are the same.


def _digest(world: _World) -> bytes:
    encode = msgspec.msgpack.Encoder(order="deterministic").encode
    forms = (encode(_form(world, dict(zip(NODES, names, strict=True)))) for names in _NAMINGS)
    return hashlib.blake2b(min(forms), digest_size=16).digest()


_NAMINGS: Final = tuple(permutations(NODES))


def _form(world: _World, name: dict[NodeId, NodeId]) -> list[Any]:
    """Return all that matters of a state, with the nodes renamed."""
    servers = sorted(
        (name[node], _server_form(server, name))
        for node, server in zip(NODES, world.servers, strict=True)
    )
    messages = sorted(msgspec.msgpack.encode(_renamed(each, name)) for each in world.messages)
    leaders = sorted((term, name[node]) for term, node in world.leaders)
    counts = [world.proposed, world.duplicates, world.crashes, world.heartbeats]
    return [servers, messages, world.committed, leaders, counts]


def _server_form(server: _Server, name: dict[NodeId, NodeId]) -> bytes:
    core = server.core
    state, log = core.state, core.state.log
    done = server.writing[0].mark - 1 if server.writing else 0
    form = [
        _vote(state.hard_state, name),
        _role_form(state.role, name),
        _entries(core),
        [log.stable_index, log.handed_index, state.commit_index, state.last_applied],
        _vote(server.hard_state, name),
        server.entries,
        [
            [w.mark - done, w.hard_state and _vote(w.hard_state, name), w.entries]
            for w in server.writing
        ],
        [[s.after - done, _renamed(s.message, name)] for s in server.held],
    ]
    return msgspec.msgpack.encode(form)


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


def _renamed(message: Message, name: dict[NodeId, NodeId]) -> Message:
    return msgspec.structs.replace(
        message, source=name[message.source], target=name[message.target]
    )


def main(arguments: list[str]) -> int:
    """Explore for so many minutes, and tell how far it came."""
    parser = argparse.ArgumentParser(prog="python -m liferaft.sim.exhaustive")
    parser.add_argument("--minutes", type=float, default=10.0)
    for bound in msgspec.structs.fields(Bounds):
        parser.add_argument(f"--{bound.name.replace('_', '-')}", type=int, default=bound.default)
    given = vars(parser.parse_args(arguments))
    minutes = given.pop("minutes")

    def tell(so_far: Exploration) -> None:
        print(msgspec.json.encode(so_far).decode(), flush=True)  # noqa: T201 - a command prints

    tell(explore(Bounds(**given), seconds=minutes * 60, on_level=tell))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
