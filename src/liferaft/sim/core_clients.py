"""Clients of the core fidelity, and the history that their answers make.

A client has a session. It writes in bursts: some numbered commands at once, sent again, to other
nodes too, until every one is answered. Between bursts it reads. The history is checked while it is
made: see `History`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

import msgspec

from liferaft.errors import InvariantViolated
from liferaft.raft.types import NodeId
from liferaft.sim.core_host import Machine
from liferaft.sim.core_machine import OLD_COPY, Command, WriteId, encode_command
from liferaft.sim.core_marks import Marks
from liferaft.sim.core_network import CoreNetwork
from liferaft.sim.scheduler import NOBODY, Scheduler

KEYS: Final = 8
ROUNDS_BETWEEN_READS: Final = 4

LARGE_BYTES: Final = 3000
PADDING_BYTES_MAX: Final = 60


class Load(msgspec.Struct, frozen=True):
    """What the clients ask for, if nothing hinders them: commands per second, in such bursts."""

    clients: int = 5
    commands_per_second: float = 100.0
    burst: int = 20
    large: float = 0.0
    """The probability that a command is of `LARGE_BYTES`."""


class History:
    """Whether what clients were told can have happened, one operation after the other.

    Writes of a key are answered with versions, which name their order. That order must agree with
    real time: an operation sees every version that was told to anyone before it began, and a write
    makes a later one (linearizability); and no version belongs to two writes.
    """

    def __init__(self) -> None:
        self.reads = 0
        self.acknowledged: Final[dict[WriteId, tuple[int, int]]] = {}
        self._told: dict[int, int] = {}
        self._writes: dict[tuple[int, int], WriteId] = {}

    def begin(self, key: int) -> int:
        """Return the latest version of a key that anyone was told."""
        return self._told.get(key, 0)

    def wrote(self, write: WriteId, key: int, version: int, begun: int) -> None:
        """Take the answer of a write; `begun` is what `begin` returned."""
        if version <= begun:
            raise InvariantViolated(
                f"linearizability: write {write} made version {version} of key {key}, and began "
                f"after version {begun} was known"
            )
        other = self._writes.setdefault((key, version), write)
        if other != write:
            raise InvariantViolated(
                f"linearizability: writes {other} and {write} both made version {version} of "
                f"key {key}"
            )
        self.acknowledged[write] = (key, version)
        if version > self._told.get(key, 0):
            self._told[key] = version

    def has_read(self, key: int, version: int, begun: int) -> None:
        """Take the answer of a read; `begun` is what `begin` returned."""
        self.reads += 1
        if version < begun:
            raise InvariantViolated(
                f"linearizability: a read saw version {version} of key {key}, and began after "
                f"version {begun} was known"
            )
        if version > self._told.get(key, 0):
            self._told[key] = version


class Acknowledge(Protocol):
    """Who checks what clients are told: the safety checker."""

    def __call__(self, index: int, term: int) -> None:
        """Check the entry whose command was acknowledged."""


@dataclass(slots=True)
class _Request:
    """Some commands on their way to one node, or a read of one key if there are none."""

    attempt: int
    writes: Sequence[tuple[int, bytes]]
    key: int
    deliver: Callable[["_Reply"], None]
    outstanding: int = 0


@dataclass(slots=True)
class _Reply:
    """What became of a request: number, version, index and term of what was executed."""

    attempt: int
    answers: list[tuple[int, int, int, int]]
    version: int | None = None
    is_refused: bool = False
    leader: NodeId | None = None


class _Waiting:
    """One command at a node: a `Proposal` that fills its request's reply."""

    __slots__ = ("_number", "_reply", "_request")

    def __init__(self, request: _Request, reply: _Reply, number: int) -> None:
        self._request = request
        self._reply = reply
        self._number = number

    def applied(self, outcome: bytes) -> None:
        """Take the state machine's answer."""
        version, index, term = outcome.split()
        self._reply.answers.append((self._number, int(version), int(index), int(term)))
        self._done()

    def lost(self, leader: NodeId | None) -> None:
        """Note that nobody knows what became of it."""
        self._reply.is_refused, self._reply.leader = True, leader
        self._done()

    def rejected(self, leader: NodeId | None, *, is_overloaded: bool) -> None:
        """Note that the node did not take it."""
        self._reply.is_refused, self._reply.leader = True, None if is_overloaded else leader
        self._done()

    def _done(self) -> None:
        self._request.outstanding -= 1
        if not self._request.outstanding:
            self._request.deliver(self._reply)


class _Reading:
    """A read at a node: looks at the registers when it may."""

    __slots__ = ("_machine", "_reply", "_request")

    def __init__(self, machine: Machine, request: _Request) -> None:
        self._machine = machine
        self._request = request
        self._reply = _Reply(request.attempt, [])

    def ready(self) -> None:
        """Look."""
        assert self._machine.process is not None
        self._reply.version = self._machine.process.registers.read(self._request.key)
        self._request.deliver(self._reply)

    def rejected(self, leader: NodeId | None) -> None:
        """Note that the node cannot answer."""
        self._reply.is_refused, self._reply.leader = True, leader
        self._request.deliver(self._reply)


def serve(machine: Machine, request: _Request) -> None:
    """Let the node on a machine take a request, or refuse it when there is none."""
    process = machine.process
    if process is None:
        request.deliver(_Reply(request.attempt, [], is_refused=True))
    elif request.writes:
        reply = _Reply(request.attempt, [])
        request.outstanding = len(request.writes)
        for number, command in request.writes:
            process.propose(command, _Waiting(request, reply, number))
    else:
        process.read(_Reading(machine, request))


class Client:
    """One session: writes a burst, waits until all of it is answered, reads, and so on.

    Nothing new is begun before `silent_until`.
    """

    def __init__(
        self,
        number: int,
        *,
        scheduler: Scheduler,
        network: CoreNetwork,
        machines: Sequence[Machine],
        history: History,
        acknowledge: Acknowledge,
        random: Random,
        load: Load,
        marks: Marks,
    ) -> None:
        self.is_over = False
        self.is_idle = True
        self.silent_until = 0.0
        self.number: Final = number
        self._scheduler = scheduler
        self._network = network
        self._machines = machines
        self._history = history
        self._acknowledge = acknowledge
        self._random = random
        self._load = load
        self._marks = marks
        self._next_number = 1
        self._begun: dict[int, int] = {}
        self._key_of: dict[int, int] = {}
        self._writes: dict[int, bytes] = {}
        self._read_key: int | None = None
        self._read_begun = 0
        self._target = random.choice(machines)
        self._attempt = 0  # never begins anew: a late reply must not pass for that of what follows
        self._is_asked_again = False
        self._timeout = random.uniform(0.2, 1.0)
        writing = ROUNDS_BETWEEN_READS / (ROUNDS_BETWEEN_READS + 1)
        self._pause = writing * load.burst * load.clients / load.commands_per_second

    def start(self) -> None:
        """Begin to work after a while."""
        self._scheduler.at(
            self._scheduler.now + self._random.uniform(0.0, self._pause), NOBODY, self._work, None
        )

    def _work(self, _: None) -> None:
        if self.is_over:
            return
        if self._scheduler.now < self.silent_until:
            self._scheduler.at(self.silent_until, NOBODY, self._work, None)
            return
        draw = self._random.random
        if draw() * (ROUNDS_BETWEEN_READS + 1) < 1:
            self.read(int(draw() * KEYS))
        else:
            self.write(max(1, round(self._load.burst * 2 * draw())))

    def read(self, key: int) -> None:
        """Read a key, until it is answered."""
        self.is_idle = False
        self._read_key, self._read_begun = key, self._history.begin(key)
        if self._random.random() < 0.3:  # a leader of old may still take it for its own
            self._target = self._random.choice(self._machines)
        self._send(None)

    def write(self, count: int) -> None:
        """Write so many times at once, until all of it is answered."""
        self.is_idle = False
        draw, first = self._random.random, self._next_number
        self._next_number += count
        for number in range(first, first + count):
            key = int(draw() * KEYS)
            padding = bytes(
                LARGE_BYTES if draw() < self._load.large else int(draw() * PADDING_BYTES_MAX)
            )
            self._writes[number] = encode_command(Command(self.number, number, first, key, padding))
            self._key_of[number], self._begun[number] = key, self._history.begin(key)
        self._send(None)

    def _send(self, _: None) -> None:
        self._attempt += 1
        if self._is_asked_again:
            self._marks["a client asked again"] += 1
        self._is_asked_again = True
        writes = tuple(self._writes.items())
        request = _Request(self._attempt, writes, self._read_key or 0, self._deliver)
        machine = self._target
        self._network.call(machine.number, lambda asked: serve(machine, asked), request)
        self._scheduler.at(
            self._scheduler.now + self._timeout, NOBODY, self._timed_out, self._attempt
        )

    def _deliver(self, reply: _Reply) -> None:
        """Carry a reply from the node back to here."""
        self._network.call(NOBODY, self._answered, reply)

    def _timed_out(self, attempt: int) -> None:
        if attempt == self._attempt and not self.is_idle:
            self._marks["a client heard nothing"] += 1
            self._target = self._random.choice(self._machines)
            self._send(None)

    def _answered(self, reply: _Reply) -> None:
        for number, version, index, term in reply.answers:
            self._take(number, version, index, term)
        is_current = reply.attempt == self._attempt
        if is_current and reply.version is not None and self._read_key is not None:
            self._history.has_read(self._read_key, reply.version, self._read_begun)
            self._read_key = None
        if self.is_idle:
            return
        if not self._writes and self._read_key is None:
            self._rest()
        elif reply.attempt == self._attempt and reply.is_refused:
            self._try_elsewhere(reply.leader)

    def _take(self, number: int, version: int, index: int, term: int) -> None:
        if number not in self._writes:
            return
        if version == OLD_COPY:
            raise InvariantViolated(
                f"exactly once: client {self.number} is told that its write {number} was answered "
                "long ago, and it was not"
            )
        del self._writes[number]
        write = (self.number, number)
        self._history.wrote(write, self._key_of.pop(number), version, self._begun.pop(number))
        self._acknowledge(index, term)

    def _rest(self) -> None:
        self.is_idle = True
        self._is_asked_again = False
        if not self.is_over:
            pause = self._pause * 2 * self._random.random()
            self._scheduler.at(self._scheduler.now + pause, NOBODY, self._work, None)

    def _try_elsewhere(self, leader: NodeId | None) -> None:
        """Ask who is said to lead, or anyone, after a while; the timeout goes on for this one."""
        known = next((each for each in self._machines if each.node_id == leader), None)
        self._target = known or self._random.choice(self._machines)
        pause = 0.001 if known else 0.02 + 0.08 * self._random.random()
        self._attempt += 1  # what still comes of the old one is no reason to ask a third time
        self._scheduler.at(self._scheduler.now + pause, NOBODY, self._send_again, self._attempt)

    def _send_again(self, attempt: int) -> None:
        if attempt == self._attempt and not self.is_idle:
            self._send(None)
