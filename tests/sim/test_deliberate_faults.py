"""A test that cannot fail proves nothing: each guard is taken out, and the simulator must see it.

The faults are put in from here; the product has no hooks for them.
"""

from collections.abc import Callable

import msgspec
import pytest

from liferaft.cluster.driver import Driver
from liferaft.raft import commitment, core, following, voting
from liferaft.raft.effects import Persist, Send
from liferaft.raft.messages import AppendEntries, AppendEntriesReply, RequestVote
from liferaft.raft.state import RaftState
from liferaft.raft.types import HardState
from liferaft.replicated.command import Command
from liferaft.replicated.machine import ReplicatedMachine
from liferaft.replicated.sessions import Session
from liferaft.rpc.wire import Call
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.run import simulate

Breaker = Callable[[pytest.MonkeyPatch], None]

SEEDS_MAX = 120


def answer_before_the_disk_has_it(patch: pytest.MonkeyPatch) -> None:
    """Figure 2: updated on stable storage before responding to RPCs."""
    persist = Driver._persist

    def broken(self: Driver, effect: Persist) -> None:
        persist(self, effect)
        self._stored(effect.mark)

    patch.setattr(Driver, "_persist", broken)


def send_before_the_mark(patch: pytest.MonkeyPatch) -> None:
    """Trap 1, for votes and for entries."""

    def broken(self: Driver, effect: Send) -> None:
        self._put(effect.message)

    patch.setattr(Driver, "_send", broken)


def forget_the_vote(patch: pytest.MonkeyPatch) -> None:
    """A voter that forgot its vote elects two leaders in one term."""
    persist = Driver._persist

    def broken(self: Driver, effect: Persist) -> None:
        hard_state = effect.hard_state
        if hard_state is not None:
            hard_state = HardState(hard_state.current_term, None)
        persist(self, msgspec.structs.replace(effect, hard_state=hard_state))

    patch.setattr(Driver, "_persist", broken)


def run_a_repeated_command_again(patch: pytest.MonkeyPatch) -> None:
    """Trap 41."""
    execute = ReplicatedMachine._execute_once

    def broken(self: ReplicatedMachine, command: Command, call: Call, session: Session) -> bytes:
        reply = execute(self, command, call, session)
        session.replies.clear()
        return reply

    patch.setattr(ReplicatedMachine, "_execute_once", broken)
    patch.setattr(ReplicatedMachine, "answered", lambda *_: None)


def vote_for_whoever_asks(patch: pytest.MonkeyPatch) -> None:
    """Trap 4: section 5.4.1."""
    patch.setattr(voting, "_is_grantable", _any_log(voting._is_grantable))


def _any_log(
    is_grantable: Callable[[RaftState, RequestVote], bool],
) -> Callable[[RaftState, RequestVote], bool]:
    def broken(state: RaftState, request: RequestVote) -> bool:
        best = msgspec.structs.replace(request, last_log_term=2**40, last_log_index=2**40)
        return is_grantable(state, best)

    return broken


def follow_without_comparing(patch: pytest.MonkeyPatch) -> None:
    """Figure 2, AppendEntries, step 2."""
    receive = following.receive_entries

    def broken(state: RaftState, message: AppendEntries) -> AppendEntriesReply:
        log = state.log
        prev = message.prev_log_index
        if log.base_index <= prev <= log.last_index:
            term = log.term_at(prev)
            message = msgspec.structs.replace(message, prev_log_term=term)
        return receive(state, message)

    patch.setattr(core, "receive_entries", broken)


def count_the_leader_s_unwritten_entries(patch: pytest.MonkeyPatch) -> None:
    """Trap 16: with its own copy in memory only, one crash of two loses a committed entry."""
    advance = commitment.advance_commit_index

    def broken(state: RaftState, leader: object) -> None:
        stable, state.log.stable_index = state.log.stable_index, state.log.last_index
        try:
            advance(state, leader)  # type: ignore[arg-type] # it is a Leader
        finally:
            state.log.stable_index = stable

    patch.setattr(core, "advance_commit_index", broken)


FAULTS: tuple[Breaker, ...] = (
    answer_before_the_disk_has_it,
    send_before_the_mark,
    forget_the_vote,
    run_a_repeated_command_again,
    vote_for_whoever_asks,
    follow_without_comparing,
    count_the_leader_s_unwritten_entries,
)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_simulator_finds(fault: Breaker, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)

    found = None
    for seed in range(SEEDS_MAX):
        try:
            simulate(seed)
        except SimulationFailed as failure:
            found = seed
            print(f"{fault.__name__}: seed {seed}: {str(failure).splitlines()[0]}")  # noqa: T201
            break

    assert found is not None, f"{SEEDS_MAX} seeds did not show {fault.__name__}"
