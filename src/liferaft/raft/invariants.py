"""What must hold of one server at every moment, and from one moment to the next (Figure 3).

Tests and the simulator call these after every step; nothing else imports this module. What holds
across servers (election safety, log matching, leader completeness, state machine safety) needs
all of them, and is checked by who runs them all.
"""

from itertools import pairwise

import msgspec

from liferaft.errors import InvariantViolated
from liferaft.raft.core import RaftCore
from liferaft.raft.log import RaftLog
from liferaft.raft.state import Candidate, Leader, RaftState
from liferaft.raft.types import HardState, TermRun


class Observation(msgspec.Struct, frozen=True):
    """What of one server is compared with what it was before."""

    hard_state: HardState
    role: str
    commit_index: int
    last_applied: int
    last_index: int
    runs: tuple[TermRun, ...]
    match_index: dict[str, int]


def observe(core: RaftCore) -> Observation:
    """Return what `check_transition` compares."""
    state = core.state
    progress = state.role.progress if isinstance(state.role, Leader) else {}
    return Observation(
        hard_state=state.hard_state,
        role=core.role,
        commit_index=state.commit_index,
        last_applied=state.last_applied,
        last_index=state.log.last_index,
        runs=state.log.runs,
        match_index={peer: follower.match_index for peer, follower in progress.items()},
    )


def check_state(core: RaftCore) -> None:
    """Raise `InvariantViolated` unless the server's state is sound in itself."""
    state = core.state
    _check_log(state.log)
    if not state.last_applied <= state.commit_index <= state.log.last_index:
        raise InvariantViolated(
            f"applied {state.last_applied}, committed {state.commit_index}, "
            f"last {state.log.last_index}"
        )
    if state.log.last_term > state.current_term:
        raise InvariantViolated(f"an entry of term {state.log.last_term} in {state.current_term}")
    if isinstance(state.role, Candidate | Leader) and state.hard_state.voted_for != state.node_id:
        raise InvariantViolated(f"{state.node_id} campaigns without its own vote")
    if isinstance(state.role, Leader):
        _check_leader(state, state.role)


def _check_log(log: RaftLog) -> None:
    if not log.base_index <= log.stable_index <= log.handed_index <= log.last_index:
        raise InvariantViolated(
            f"base {log.base_index}, stable {log.stable_index}, handed out {log.handed_index}, "
            f"last {log.last_index}"
        )
    for before, after in pairwise(log.runs):
        if not (before.term < after.term and before.first < after.first):
            raise InvariantViolated(f"{after} follows {before}")
    if log.first_held > log.stable_index + 1:
        raise InvariantViolated(f"{log.stable_index + 1} is neither stored nor in memory")
    if log.first_held <= log.last_index:
        for index in (log.first_held, log.last_index):
            piece = log.piece(index, index, 1)
            assert piece is not None
            if (piece.entries[0].index, piece.entries[0].term) != (index, log.term_at(index)):
                raise InvariantViolated(f"the tail holds {piece.entries[0]} at {index}")


def _check_leader(state: RaftState, leader: Leader) -> None:
    is_compacted = 0 < leader.term_start <= state.log.base_index
    if not is_compacted and state.log.term_at(leader.term_start) != state.current_term:
        raise InvariantViolated(f"the no-op of term {state.current_term} is gone")
    if leader.uncommitted_bytes != sum(size for _, size in leader.uncommitted):
        raise InvariantViolated(f"{leader.uncommitted_bytes} bytes of {leader.uncommitted}")
    for peer, progress in leader.progress.items():
        is_sound = (
            progress.match_index < progress.next_index <= state.log.last_index + 1
            and progress.round_acked <= progress.round_sent <= leader.round
            and progress.inflight_bytes == sum(size for _, size in progress.inflight)
            and all(progress.match_index < last for last, _ in progress.inflight)
        )
        if not is_sound:
            raise InvariantViolated(f"{peer}: {progress}")


def check_transition(before: Observation, after: Observation) -> None:
    """Raise `InvariantViolated` unless the server may have come from `before` to `after`."""
    _check_hard_state(before.hard_state, after.hard_state)
    for name in ("commit_index", "last_applied"):
        if getattr(after, name) < getattr(before, name):
            raise InvariantViolated(
                f"{name} fell from {getattr(before, name)} to {getattr(after, name)}"
            )
    if not _is_same_log(before, after, before.commit_index):
        raise InvariantViolated(f"the log changed below {before.commit_index}, which is committed")
    is_same_term = before.hard_state.current_term == after.hard_state.current_term
    if before.role == after.role == "leader" and is_same_term:
        _check_leadership(before, after)


def _check_hard_state(before: HardState, after: HardState) -> None:
    if after.current_term < before.current_term:
        raise InvariantViolated(f"the term fell from {before.current_term} to {after.current_term}")
    is_same_term = after.current_term == before.current_term
    if is_same_term and before.voted_for not in (None, after.voted_for):
        raise InvariantViolated(
            f"the vote of term {after.current_term} went from {before.voted_for} "
            f"to {after.voted_for}"
        )


def _check_leadership(before: Observation, after: Observation) -> None:
    """Leader Append-Only: a leader never overwrites or deletes entries in its log."""
    if not _is_same_log(before, after, before.last_index):
        raise InvariantViolated("a leader rewrote its own log")
    for peer, match_before in before.match_index.items():
        match_after = after.match_index.get(peer, match_before)
        if match_after < match_before:
            raise InvariantViolated(f"a match_index fell from {match_before} to {match_after}")


def _is_same_log(before: Observation, after: Observation, index: int) -> bool:
    """Return whether both logs have the same terms up to `index`, as far as they were kept."""
    base = max(before.runs[0].first, after.runs[0].first)
    return base >= index or _terms(before, base, index) == _terms(after, base, index)


def _terms(observation: Observation, base: int, index: int) -> tuple[TermRun, ...] | None:
    """Return the terms from `base` up to `index`; None when the log does not reach it."""
    if observation.last_index < index:
        return None
    at_base = [run for run in observation.runs if run.first <= base][-1]
    behind = [run for run in observation.runs if base < run.first <= index]
    return (TermRun(at_base.term, base), *behind)
