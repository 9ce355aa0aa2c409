"""What may arrive as a Raft message, from a peer or from somebody who claims to be one."""

from collections.abc import Iterable, Sequence
from random import Random

import msgspec

from liferaft.cluster.envelope import Introduction, sealed
from liferaft.cluster.peers import Mailbox
from liferaft.errors import InvariantViolated
from liferaft.raft.config import RaftConfig
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Persist, Send
from liferaft.raft.events import Received, Stored, TimePassed
from liferaft.raft.invariants import check_state, check_transition, observe
from liferaft.raft.log import LogSummary
from liferaft.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Message,
    RequestVote,
    RequestVoteReply,
)
from liferaft.raft.types import Configuration, Entry, HardState, TermRun
from liferaft.storage.records import encode_entries, encode_hard_state
from tests.fuzz.target import Broken, Target

CLUSTER = "blue"
CONTRADICTIONS = (
    "leads in term",
    "both lead in term",
    "of this leader's",
    "cannot follow",
)
"""What a forged message can still provoke: each says that two servers claim what Raft's own safety
properties exclude. A node cannot tell a forger from a broken cluster, and stops (Figure 3)."""


def cores() -> list[RaftCore]:
    """Return a follower with a log, a candidate, and a leader with a follower that lags."""
    entries = tuple(Entry(term, index, 0, b"x") for index, term in enumerate((1, 1, 2, 5), 1))
    runs = (TermRun(1, 1), TermRun(2, 3), TermRun(5, 4))
    made = []
    for _ in range(3):
        core = RaftCore(
            "a",
            RaftConfig(),
            Configuration(voters=("a", "b", "c")),
            HardState(5, None),
            LogSummary(last=4, runs=runs, tail=entries),
            now=0.0,
            random=Random(1),
        )
        made.append(core)
    follower, candidate, leader = made
    give(follower, append(term=5, prev=4, prev_term=5, commit=2), now=0.0)
    for core in (candidate, leader):
        carry_out(core, TimePassed(), now=9.0)
        give(core, RequestVoteReply(6, "b", "a", is_granted=True, is_prevote=True), now=9.0)
    give(leader, RequestVoteReply(6, "b", "a", is_granted=True), now=9.0)
    return made


def append(
    *, term: int, prev: int, prev_term: int, commit: int = 0, entries: tuple[Entry, ...] = ()
) -> AppendEntries:
    return AppendEntries(term, "b", "a", prev, prev_term, entries, commit, 1)


def give(core: RaftCore, message: Message, *, now: float) -> None:
    carry_out(core, Received(message), now=now)


def carry_out(core: RaftCore, event: Received | TimePassed, *, now: float) -> None:
    """Step, and write and send what comes of it as a driver would."""
    core.step(event, now)
    for effect in core.take_effects():
        if isinstance(effect, Persist):
            encode_entries(effect.entries)
            if effect.hard_state is not None:
                encode_hard_state(effect.hard_state)
            core.step(Stored(effect.mark), now)
        elif isinstance(effect, Send):
            sealed(Introduction(), "", (effect.message,))
    core.take_effects()


class _Receiver:
    """A node that takes everything."""

    def __init__(self, received: list[Message]) -> None:
        self._received = received

    def receive(self, messages: Sequence[Message], source: Introduction) -> None:
        del source
        self._received += messages

    def is_taken_for(self, disk_id: str) -> bool:
        return not disk_id


def run_raft_messages(data: bytes) -> None:
    """Decode as a host does, hand on as the mailbox does, and step three cores in three roles."""
    received: list[Message] = []
    Mailbox(CLUSTER, "a", _Receiver(received)).deliver(CLUSTER, data)
    for core in cores():
        for message in received[:8]:
            before = observe(core)
            try:
                give(core, message, now=9.0)
            except InvariantViolated as error:
                if not any(words in str(error) for words in CONTRADICTIONS):
                    raise
                break
            check_state(core)
            check_transition(before, observe(core))
        else:
            _check_alive(core)


def _check_alive(core: RaftCore) -> None:
    """A node must still be able to campaign: its next term can be written and sent."""
    carry_out(core, TimePassed(), now=20.0)
    carry_out(core, TimePassed(), now=30.0)
    if core.current_term >= 2**63:
        raise Broken(f"the term is {core.current_term}: the next ones cannot be counted")


def message_examples() -> Iterable[bytes]:
    entries = (Entry(5, 5, 0, b"x"), Entry(6, 6, 1, b""))
    messages: list[Message] = [
        append(term=5, prev=4, prev_term=5, entries=entries[:1], commit=5),
        append(term=6, prev=4, prev_term=5, entries=entries),
        append(term=6, prev=1, prev_term=1, commit=2**63),
        append(term=2**63 - 1, prev=2**63 - 1, prev_term=2**63 - 2),
        append(term=6, prev=0, prev_term=0, entries=(Entry(1, 1, 300, b""),)),
        RequestVote(6, "b", "a", 9, 5),
        RequestVote(7, "b", "a", 9, 5, is_prevote=True),
        RequestVote(2**63 - 1, "b", "a", 2**63 - 1, 2**63 - 2, is_transfer=True),
        RequestVote(7, "", "a", 9, 5, is_transfer=True),
        RequestVoteReply(6, "c", "a", is_granted=False),
        AppendEntriesReply(6, "b", "a", True, 5, 0, 0, 0, 1),
        AppendEntriesReply(6, "b", "a", False, 0, 4, -1, -(2**63), 1),
    ]
    for message in messages:
        yield sealed(Introduction("d1", 1), "", (message,))
    yield sealed(Introduction(), "", tuple(messages))
    yield sealed(Introduction(), "d2", tuple(messages))
    yield sealed(Introduction(), "", (msgspec.structs.replace(messages[0], target="z"),))


TARGETS = (Target("raft_messages", run_raft_messages, (), message_examples),)
