"""Figure 2, AppendEntries RPC, receiver implementation, step by step."""

from collections.abc import Sequence

import pytest

from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Effect, Persist, Send
from liferaft.raft.events import Received, Stored
from liferaft.raft.messages import AppendEntries, AppendEntriesReply
from liferaft.raft.types import Entry, HardState
from tests.raft.harness import core_of, entries_of


def append(
    *,
    prev: int = 0,
    prev_term: int = 0,
    entries: Sequence[Entry] = (),
    commit: int = 0,
    term: int = 3,
    round: int = 1,  # noqa: A002 - the message's own word
) -> AppendEntries:
    return AppendEntries(
        term=term,
        source="b",
        target="a",
        prev_log_index=prev,
        prev_log_term=prev_term,
        entries=tuple(entries),
        leader_commit=commit,
        round=round,
    )


def receive(core: RaftCore, message: AppendEntries, *, now: float = 0.0) -> list[Effect]:
    core.step(Received(message), now)
    return core.take_effects()


def reply_of(effects: list[Effect]) -> AppendEntriesReply:
    (reply,) = [effect.message for effect in effects if isinstance(effect, Send)]
    assert isinstance(reply, AppendEntriesReply)
    return reply


def log_terms(core: RaftCore) -> list[int]:
    return [core.term_at(index) for index in range(1, core.last_index + 1)]


def test_step_1_an_older_term_is_refused_and_changes_nothing() -> None:
    core = core_of(terms=[1], hard_state=HardState(4))
    deadline = core.deadline
    reply = reply_of(receive(core, append(prev=1, prev_term=1, entries=entries_of([3], first=2))))

    assert (4, False) == (reply.term, reply.is_success)
    assert ([1], None, deadline) == (log_terms(core), core.leader, core.deadline)


@pytest.mark.parametrize(
    ("terms", "prev", "prev_term", "conflict"),
    [
        ([1, 1], 5, 3, (1, 2)),
        ([1, 1, 2, 2], 4, 3, (2, 4)),
        ([1, 1, 3, 3], 4, 2, (1, 2)),
        ([1, 1, 3], 9, 2, (1, 2)),
        ([2, 2], 2, 1, (0, 0)),
        ([], 7, 2, (0, 0)),
    ],
)
def test_step_2_a_gap_or_another_term_is_refused_with_how_far_to_go_back(
    terms: list[int], prev: int, prev_term: int, conflict: tuple[int, int]
) -> None:
    core = core_of(terms=terms, hard_state=HardState(3))
    reply = reply_of(receive(core, append(prev=prev, prev_term=prev_term)))

    assert not reply.is_success
    assert prev == reply.rejected_index
    assert conflict == (reply.conflict_term, reply.conflict_index)


def test_step_3_a_conflicting_entry_goes_and_all_that_follow_it() -> None:
    core = core_of(terms=[1, 2, 2, 2], hard_state=HardState(3))
    effects = receive(core, append(prev=1, prev_term=1, entries=entries_of([2, 3], first=2)))

    assert [1, 2, 3] == log_terms(core)
    assert Persist(1, None, entries_of([3], first=3)) in effects


def test_step_4_what_is_there_already_is_not_touched() -> None:
    """Trap 14: a stale message about a prefix cuts nothing off behind it."""
    core = core_of(terms=[1, 2, 2, 2], hard_state=HardState(3))
    effects = receive(core, append(prev=0, entries=entries_of([1, 2])))

    assert [1, 2, 2, 2] == log_terms(core)
    assert not any(isinstance(effect, Persist) for effect in effects)
    assert reply_of(effects).match_index == 2


def test_step_5_commit_goes_no_further_than_the_last_new_entry() -> None:
    """Trap 13: what follows in this log may not be the leader's."""
    core = core_of(terms=[1, 2, 2, 2], hard_state=HardState(3))
    receive(core, append(prev=1, prev_term=1, entries=entries_of([2], first=2), commit=4))

    assert core.commit_index == 2


def test_step_5_the_commit_index_never_falls() -> None:
    core = core_of(terms=[1, 2, 2], hard_state=HardState(3))
    receive(core, append(prev=3, prev_term=2, commit=3))
    receive(core, append(prev=1, prev_term=1, commit=1))

    assert core.commit_index == 3


def test_entries_are_acknowledged_only_once_they_are_stored() -> None:
    core = core_of(hard_state=HardState(3))
    effects = receive(core, append(entries=entries_of([3, 3])))
    (send,) = [effect for effect in effects if isinstance(effect, Send)]

    assert Persist(1, None, entries_of([3, 3])) in effects
    assert (1, 2) == (send.after, reply_of(effects).match_index)


def test_repeated_entries_whose_write_is_under_way_are_not_acknowledged_before_it() -> None:
    core = core_of(hard_state=HardState(3))
    receive(core, append(entries=entries_of([3, 3])))
    effects = receive(core, append(entries=entries_of([3, 3])))

    assert [Send(reply_of(effects), after=1)] == effects


def test_a_heartbeat_is_answered_at_once_with_what_is_stored() -> None:
    """Traps 9 and 10: it proves who leads, and waits for no disk."""
    core = core_of(terms=[1], hard_state=HardState(3))
    receive(core, append(prev=1, prev_term=1, entries=entries_of([3, 3], first=2)))
    effects = receive(core, append(prev=3, prev_term=3, round=7))
    assert [Send(reply_of(effects), after=0)] == effects
    assert (True, 1, 7) == (
        reply_of(effects).is_success,
        reply_of(effects).match_index,
        reply_of(effects).round,
    )
    core.step(Stored(1), 0.0)

    assert reply_of(receive(core, append(prev=3, prev_term=3))).match_index == 3


def test_a_heartbeat_of_a_new_term_is_answered_when_the_term_is_stored() -> None:
    effects = receive(core_of(hard_state=HardState(1)), append())

    assert [Persist(1, HardState(3), ()), Send(reply_of(effects), after=1)] == effects[1:]


def test_a_message_that_begins_below_commit_is_taken_from_there_on() -> None:
    """Trap 15: the prefix is skipped, not refused for ever."""
    core = core_of(terms=[1, 1, 2], hard_state=HardState(3))
    receive(core, append(prev=3, prev_term=2, commit=3))
    effects = receive(core, append(prev=1, prev_term=1, entries=entries_of([1, 2, 3], first=2)))

    assert [1, 1, 2, 3] == log_terms(core)
    assert reply_of(effects).match_index == 4


def test_a_message_wholly_below_commit_succeeds_and_changes_nothing() -> None:
    core = core_of(terms=[1, 1, 2], hard_state=HardState(3))
    receive(core, append(prev=3, prev_term=2, commit=3))
    effects = receive(core, append(prev=0, entries=entries_of([1])))

    assert (True, 3) == (reply_of(effects).is_success, reply_of(effects).match_index)
    assert [1, 1, 2] == log_terms(core)
