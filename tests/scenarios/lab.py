"""Servers of a course's lab: a cluster of cores on a network in virtual time, from a seed.

The cluster is that of the core's own tests, so Raft's promises are checked after every step. Around
it: messages take time, and may be lost or held up; disks take time; servers are cut off, crash and
come back; each takes a snapshot after so many entries, where told to.
"""

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from random import Random

import msgspec

from liferaft.raft.config import RaftConfig
from liferaft.raft.effects import Accepted
from liferaft.raft.events import TimePassed
from liferaft.raft.messages import (
    AppendEntriesReply,
    InstallSnapshotReply,
    Message,
    ReadIndexReply,
    RequestVoteReply,
)
from liferaft.raft.types import NodeId
from tests.raft.harness import Cluster

REPLIES = (AppendEntriesReply, InstallSnapshotReply, ReadIndexReply, RequestVoteReply)
AGREE_SECONDS = 10.0
"""Within so long a command must be committed where it is expected."""
AGAIN_SECONDS = 2.0
"""After so long without agreement a command is proposed once more."""
ELECTION_SECONDS = 1.0
"""The labs take it that an election is over by then."""


class Weather(msgspec.Struct, frozen=True):
    """What becomes of messages: probabilities from 0 to 1, delays in seconds, from and to."""

    loss: float = 0.0
    delay: tuple[float, float] = (0.0005, 0.0015)
    long_reordering: float = 0.0
    """How many of the replies come very late."""


FAIR = Weather()
UNRELIABLE = Weather(loss=0.1, delay=(0.0, 0.026))
LONG_DELAY = (0.2, 2.4)


class Lab:
    """The servers, and what the tests of a lab do with them."""

    def __init__(
        self,
        size: int,
        *,
        seed: int = 1,
        weather: Weather = FAIR,
        disk_seconds: float = 0.0,
        snapshot_each: int = 0,
        config: RaftConfig | None = None,
    ) -> None:
        self.cluster = Cluster(size, seed=seed, config=config)
        self.cluster.is_disk_fast = not disk_seconds
        self.servers: tuple[NodeId, ...] = tuple(self.cluster.nodes)
        self.random = Random(seed)
        self.weather = weather
        self.cut_off: set[NodeId] = set()
        self.calls = 0
        self.sent_bytes = 0
        self.fetches = 0
        self._disk_seconds = disk_seconds
        self._snapshot_each = snapshot_each
        self._writing: set[NodeId] = set()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._commands = count(1)

    @property
    def now(self) -> float:
        """The virtual time in seconds."""
        return self.cluster.now

    # Time.

    def run(self, seconds: float) -> None:
        """Let so much virtual time pass."""
        self.run_until(lambda: False, seconds)

    def run_until(self, is_done: Callable[[], bool], seconds: float) -> bool:
        """Let time pass until something is so, or for so long; return whether it is."""
        end = self.now + seconds
        while not is_done():
            self._look_around()
            at, server = self._next_deadline()
            if self._queue and self._queue[0][0] <= at:
                at, _, work = self._queue[0]
                if at > end:
                    break
                heapq.heappop(self._queue)
                self.cluster.now = max(self.now, at)
                work()
            elif at > end:
                break
            else:
                self.cluster.now = max(self.now, at)
                self.cluster.step(server, TimePassed())
        else:
            return True
        self.cluster.now = end
        return is_done()

    def _next_deadline(self) -> tuple[float, NodeId]:
        up = [server for server in self.servers if self.cluster.nodes[server].is_up]
        due = [(self.cluster[server].deadline, server) for server in up]
        return min(due, default=(float("inf"), ""))

    def _later(self, seconds: float, work: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), work))

    def _look_around(self) -> None:
        """Take what servers want from the network and the disks, and let them take snapshots."""
        for server, node in self.cluster.nodes.items():
            if node.writes and server not in self._writing:
                self._writing.add(server)
                seconds = self.random.uniform(0.5, 1.5) * self._disk_seconds
                self._later(seconds, lambda server=server: self._write(server))  # type: ignore[misc]
            if node.fetch is not None and node.is_up:
                self._fetch(server)
            self._take_snapshot(server)
        bag, self.cluster.bag = self.cluster.bag, []
        for message in bag:
            self._send(message)

    def _write(self, server: NodeId) -> None:
        self._writing.discard(server)
        node = self.cluster.nodes[server]
        if node.is_up and node.writes:
            self.cluster.store(server)

    def _fetch(self, server: NodeId) -> None:
        """A snapshot travels as one answer, and is lost as one."""
        fetch = self.cluster.nodes[server].fetch
        assert fetch is not None
        if self._is_lost(fetch.source, server):
            # Whoever fetches asks its source again until it is told otherwise.
            return
        self.fetches += 1
        self.cluster.fetch(server)

    def _take_snapshot(self, server: NodeId) -> None:
        node = self.cluster.nodes[server]
        if not (self._snapshot_each and node.is_up):
            return
        newest = node.snapshots[-1].index if node.snapshots else 0
        if len(node.applied) >= newest + self._snapshot_each:
            self.cluster.take_snapshot(server)

    # The network.

    def _send(self, message: Message) -> None:
        is_reply = isinstance(message, REPLIES)
        if not is_reply:
            self.calls += 1
        self.sent_bytes += len(msgspec.msgpack.encode(message))
        if self._is_lost(message.source, message.target):
            return
        seconds = self.random.uniform(*self.weather.delay)
        if is_reply and self.random.random() < self.weather.long_reordering:
            seconds += self.random.uniform(*LONG_DELAY)
        self._later(seconds, lambda: self._arrive(message))

    def _is_lost(self, source: NodeId, target: NodeId) -> bool:
        is_cut = source in self.cut_off or target in self.cut_off
        return is_cut or self.random.random() < self.weather.loss

    def _arrive(self, message: Message) -> None:
        if message.source not in self.cut_off and message.target not in self.cut_off:
            self.cluster.deliver(message)

    def disconnect(self, *servers: NodeId) -> None:
        """Cut servers off from everyone."""
        self.cut_off.update(servers)

    def connect(self, *servers: NodeId) -> None:
        """Let them talk again."""
        self.cut_off.difference_update(servers)

    def crash(self, *servers: NodeId) -> None:
        """Stop servers; what their disks have not finished is lost."""
        for server in servers:
            self.cluster.crash(server)

    def restart(self, *servers: NodeId) -> None:
        """Start servers from their disks."""
        for server in servers:
            self.cluster.restart(server)

    # What the labs ask.

    def others(self, *servers: NodeId) -> list[NodeId]:
        """Return everyone else."""
        return [server for server in self.servers if server not in servers]

    def leader(self) -> NodeId:
        """Return the only leader of the newest term among those who can talk; wait for one."""
        for _ in range(10):
            self.run(self.random.uniform(0.45, 0.55))
            leaders = self._leaders()
            terms = [self.cluster[server].current_term for server in leaders]
            assert len(set(terms)) == len(terms), f"{leaders} lead in the terms {terms}"
            if leaders:
                return max(leaders, key=lambda server: self.cluster[server].current_term)
        raise AssertionError("nobody leads")

    def assert_no_leader(self) -> None:
        """Nobody who can talk believes that it leads."""
        assert [] == self._leaders()

    def _leaders(self) -> list[NodeId]:
        leading = [server for server in self.cluster.leaders if server not in self.cut_off]
        return [server for server in leading if self.cluster.nodes[server].is_up]

    def terms(self) -> set[int]:
        """Return the terms of those who can talk."""
        servers = self.others(*self.cut_off)
        return {self.cluster[server].current_term for server in servers}

    def command(self, size_bytes: int = 0) -> bytes:
        """Return a command that is not like any other."""
        return b"%08d" % next(self._commands) + b"x" * (size_bytes - 8)

    def propose(self, server: NodeId, command: bytes) -> bool:
        """Give a server a command; return whether it took it."""
        if not self.cluster.nodes[server].is_up:
            return False
        return isinstance(self.cluster.propose(server, command), Accepted)

    def holders(self, command: bytes) -> list[NodeId]:
        """Return who has applied a command."""
        nodes = self.cluster.nodes.items()
        return [server for server, node in nodes if node.is_up and command in node.commands[-400:]]

    def one(self, command: bytes | None = None, *, on: int, can_repeat: bool = True) -> int:
        """Let a command be agreed on by so many servers, and return its index."""
        command = self.command() if command is None else command
        end = self.now + AGREE_SECONDS
        while self.now < end:
            takers = [s for s in self.others(*self.cut_off) if self.propose(s, command)]
            if takers and self.run_until(lambda: len(self.holders(command)) >= on, AGAIN_SECONDS):
                return self.index_of(command)
            assert can_repeat or not takers, f"{command[:20]!r} is not agreed on"
            self.run(0.05)
        raise AssertionError(f"{command[:20]!r} is not agreed on within {AGREE_SECONDS} s")

    def index_of(self, command: bytes) -> int:
        """Return where a command was committed, the latest place if it was so twice."""
        return max(entry.index for entry in self.cluster.committed if entry.data == command)

    def assert_applied_alike(self, servers: Sequence[NodeId] | None = None) -> None:
        """Everyone has applied the same, when there was time for it."""
        applied = [self.cluster.nodes[server].applied for server in servers or self.servers]
        assert all(each == applied[0] for each in applied)

    def log_bytes(self) -> int:
        """Return how much the largest log holds behind its snapshot."""
        nodes = self.cluster.nodes.values()
        return max(len(msgspec.msgpack.encode(node.log[node.base :])) for node in nodes)
