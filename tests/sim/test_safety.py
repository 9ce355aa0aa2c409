"""Each promise of the paper's Figure 3 has a run that breaks it, and the checker says which.

The runs are made by hand: a core that never was elected is given the role of a leader, and effects
that no core gives.
"""

from collections.abc import Sequence

import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import Apply, Effect, Persist, ReadReady, RoleChanged, Send
from liferaft.raft.events import Event, ReadAsked, Received, Stored
from liferaft.raft.leading import begin_term
from liferaft.raft.messages import AppendEntriesReply, RequestVoteReply
from liferaft.raft.state import Follower
from liferaft.raft.types import COMMAND, Entry, EntryKind, HardState
from liferaft.sim.safety import SafetyChecker
from tests.raft.harness import core_of, entries_of


def leader_of(node_id: str, *, term: int, terms: Sequence[int] = ()) -> RaftCore:
    """Return a core that leads `term` with a log of `terms` and its no-op."""
    core = core_of(node_id=node_id, terms=terms, hard_state=HardState(term, node_id))
    core.state.role = begin_term(core.state)
    return core


def knowing(core: RaftCore, commit_index: int) -> RaftCore:
    """Let the core know so much as committed."""
    core.state.commit_index = commit_index
    return core


def voted(core: RaftCore, term: int | None = None) -> list[Event]:
    """Return the votes of all others for a core."""
    node_id, term = core.state.node_id, core.current_term if term is None else term
    return [
        Received(RequestVoteReply(term, voter, node_id, is_granted=True))
        for voter in core.state.configuration.voters
        if voter != node_id
    ]


def elect(checker: SafetyChecker, core: RaftCore, effects: Sequence[Effect] = ()) -> None:
    """Let the checker see a core that leads since its votes came."""
    checker.observe(core.state.node_id, core, voted(core), effects)


def written(core: RaftCore, terms: Sequence[int], *, mark: int = 1) -> Persist:
    """Return the write of a log of these terms and of the core's hard state."""
    return Persist(mark, core.state.hard_state, entries_of(terms))


def store(checker: SafetyChecker, node_id: str, terms: Sequence[int], *, term: int) -> None:
    """Let the checker see that a node has entries of these terms on its disk."""
    checker.observe(
        node_id, core_of(node_id=node_id, terms=terms, hard_state=HardState(term)), [], []
    )


def test_a_sound_run_passes_and_is_counted() -> None:
    checker = SafetyChecker()
    leader = knowing(leader_of("a", term=1), 1)
    follower = knowing(core_of(node_id="b", terms=[1]), 1)
    noop = Entry(1, 1, int(EntryKind.NOOP), b"")
    elect(checker, leader, [Persist(1, None, (noop,)), Apply((noop,))])
    checker.observe("b", follower, [Stored(0), Stored(1)], [Apply((noop,))])
    checker.acknowledged(1, 1)

    assert (4, 1, 1) == (checker.events, checker.elections, checker.committed_index)
    assert [noop] == list(checker.applied)


def test_election_safety() -> None:
    checker = SafetyChecker()
    elect(checker, leader_of("a", term=2))
    with pytest.raises(InvariantViolated, match="election safety: a and b both lead in term 2"):
        elect(checker, leader_of("b", term=2))


def test_election_safety_of_a_leader_that_was_deposed_within_its_first_turn() -> None:
    checker = SafetyChecker()
    elect(checker, leader_of("a", term=2))
    deposed = core_of(node_id="b", hard_state=HardState(3))
    with pytest.raises(InvariantViolated, match="election safety"):
        checker.observe("b", deposed, [], [RoleChanged("leader", 2, "b")])


def test_leader_append_only_a_shorter_log() -> None:
    checker = SafetyChecker()
    leader = leader_of("a", term=2, terms=[1, 1])
    elect(checker, leader)
    leader.state.log.truncate_from(3, commit_index=0)
    with pytest.raises(InvariantViolated, match="leader append-only: a leads term 2"):
        checker.observe("a", leader, [], [])


def test_leader_append_only_an_entry_written_anew() -> None:
    checker = SafetyChecker()
    leader = leader_of("a", term=2, terms=[1, 1])
    elect(checker, leader)
    with pytest.raises(InvariantViolated, match="leader append-only"):
        checker.observe("a", leader, [], [Persist(2, None, entries_of([2], first=2))])


def test_log_matching_other_data() -> None:
    checker = SafetyChecker()
    core = core_of(terms=[1])
    other = Entry(1, 1, int(EntryKind.COMMAND), b"other")
    checker.observe("a", core, [], [written(core, [1])])
    with pytest.raises(InvariantViolated, match="log matching: b has another entry 1 of term 1"):
        checker.observe("b", core, [], [Persist(1, None, (other,))])


def test_log_matching_another_prefix() -> None:
    """The last entries are the same; those before them are not."""
    checker = SafetyChecker()
    one, other = core_of(node_id="a", terms=[1, 3]), core_of(node_id="b", terms=[2, 3])
    checker.observe("a", one, [], [Persist(1, None, entries_of([3], first=2))])
    with pytest.raises(InvariantViolated, match="log matching: b has another entry 2 of term 3"):
        checker.observe("b", other, [], [Persist(1, None, entries_of([3], first=2))])


def test_log_matching_of_logs_that_part_and_are_seen_in_turns() -> None:
    """The shortcut for what was seen last does not hide what was seen before."""
    checker = SafetyChecker()
    one, other = core_of(node_id="a", terms=[1, 1, 1]), core_of(node_id="b", terms=[1, 2, 2])
    for _ in range(2):
        checker.observe("a", one, [], [written(one, [1, 1, 1])])
        checker.observe("b", other, [], [written(other, [1, 2, 2])])
    forged = Entry(1, 2, int(EntryKind.COMMAND), b"forged")
    with pytest.raises(InvariantViolated, match="log matching"):
        checker.observe("a", one, [], [Persist(2, None, (forged,))])


def test_leader_completeness_without_an_entry_that_a_node_knew_as_committed() -> None:
    """Nobody has applied it yet; that one node knew it is enough."""
    checker = SafetyChecker()
    elect(checker, knowing(leader_of("a", term=2, terms=[1, 1]), 3))
    with pytest.raises(InvariantViolated, match="leader completeness: b leads term 3"):
        elect(checker, leader_of("b", term=3, terms=[1, 1]))


def test_leader_completeness_with_another_entry_in_its_place() -> None:
    checker = SafetyChecker()
    elect(checker, knowing(leader_of("a", term=2, terms=[1, 1]), 3))
    with pytest.raises(InvariantViolated, match=r"of terms 1 x 3, 3 x 1, without all"):
        elect(checker, leader_of("b", term=3, terms=[1, 1, 1]))


def test_a_late_leader_of_an_earlier_term_need_not_know_what_came_after() -> None:
    """It hears its last votes when term 3 has a leader already; it can commit nothing."""
    checker = SafetyChecker()
    elect(checker, knowing(leader_of("a", term=3), 1))
    elect(checker, leader_of("b", term=2))

    assert 2 == checker.elections


def test_state_machine_safety_other_entries_applied() -> None:
    checker = SafetyChecker()
    one, other = core_of(node_id="a", terms=[1]), core_of(node_id="b", terms=[2])
    checker.observe("a", one, [], [Apply(entries_of([1]))])
    with pytest.raises(InvariantViolated, match="state machine safety: b applies"):
        checker.observe("b", other, [], [Apply(entries_of([2]))])


@pytest.mark.parametrize("first", [1, 3], ids=["repeat", "gap"])
def test_state_machine_safety_no_gap_and_no_repeat(first: int) -> None:
    checker = SafetyChecker()
    core = core_of(terms=[1, 1, 1])
    checker.observe("a", core, [], [Apply(entries_of([1]))])
    with pytest.raises(InvariantViolated, match=f"state machine safety: a applies {first}"):
        checker.observe("a", core, [], [Apply(entries_of([1], first=first))])


def test_state_machine_safety_other_entries_known_as_committed() -> None:
    checker = SafetyChecker()
    checker.observe("a", knowing(core_of(node_id="a", terms=[1, 1]), 2), [], [])
    with pytest.raises(InvariantViolated, match="state machine safety: b knows 2 of term 2"):
        checker.observe("b", knowing(core_of(node_id="b", terms=[1, 2]), 2), [], [])


def test_a_term_never_falls_within_a_life() -> None:
    checker = SafetyChecker()
    core = core_of(hard_state=HardState(5))
    checker.observe("a", core, [], [])
    core.state.hard_state = HardState(4)
    with pytest.raises(InvariantViolated, match="monotonic term: a went from 5 to 4"):
        checker.observe("a", core, [], [])


def test_a_vote_never_changes_within_a_term() -> None:
    checker = SafetyChecker()
    core = core_of(hard_state=HardState(5, "b"))
    checker.observe("a", core, [], [])
    core.state.hard_state = HardState(5, "c")
    with pytest.raises(InvariantViolated, match="one vote: a voted for b and c in term 5"):
        checker.observe("a", core, [], [])


def test_a_commit_index_never_falls_within_a_life_and_may_across_a_restart() -> None:
    checker = SafetyChecker()
    core = knowing(core_of(terms=[1, 1]), 2)
    checker.observe("a", core, [], [])
    checker.node_started("a")
    checker.observe("a", knowing(core, 0), [], [])
    checker.observe("a", knowing(core, 2), [], [])
    with pytest.raises(InvariantViolated, match="monotonic commit: a went from 2 to 1"):
        checker.observe("a", knowing(core, 1), [], [])


@pytest.mark.parametrize("kept", [HardState(4, "b"), HardState(5, None), HardState(5, "c")])
def test_a_promised_vote_is_kept_across_a_crash(kept: HardState) -> None:
    checker = SafetyChecker()
    core = core_of(hard_state=HardState(5, "b"))
    checker.observe("a", core, [], [written(core, [])])
    checker.observe("a", core, [Stored(1)], [])
    checker.node_started("a")
    with pytest.raises(InvariantViolated, match="kept promise: a had stored HardState"):
        checker.observe("a", core_of(hard_state=kept), [], [])


def test_a_vote_that_was_not_reported_as_stored_may_be_forgotten() -> None:
    checker = SafetyChecker()
    core = core_of(hard_state=HardState(5, "b"))
    checker.observe("a", core, [], [written(core, [])])
    checker.node_started("a")
    checker.observe("a", core_of(hard_state=HardState(4)), [], [])
    later = core_of(hard_state=HardState(5, "c"))
    checker.observe("a", later, [], [written(later, [])])


@pytest.mark.parametrize("terms", [[1, 1], [1, 1, 2]], ids=["lost", "other"])
def test_stored_entries_are_kept_across_a_crash(terms: list[int]) -> None:
    checker = SafetyChecker()
    core = core_of(terms=[1, 1, 1])
    checker.observe("a", core, [], [])
    checker.observe("a", core, [], [written(core, [1, 1, 1])])
    checker.observe("a", core, [Stored(1)], [])
    checker.node_started("a")
    with pytest.raises(InvariantViolated, match=r"kept promise: a had stored 3 entries"):
        checker.observe("a", core_of(terms=terms, hard_state=HardState(2)), [], [])


def test_entries_that_were_being_overwritten_may_be_old_or_new_after_a_crash() -> None:
    for terms in ([1, 1, 1], [1, 2], [1]):
        checker = SafetyChecker()
        core = core_of(terms=[1, 1, 1], hard_state=HardState(2))
        checker.observe("a", core, [], [])
        checker.observe("a", core, [], [Persist(1, None, entries_of([2], first=2))])
        checker.node_started("a")
        checker.observe("a", core_of(terms=terms, hard_state=HardState(2)), [], [])

    checker.node_started("a")
    with pytest.raises(InvariantViolated, match="kept promise"):
        checker.observe("a", core_of(hard_state=HardState(2)), [], [])


def test_what_was_recovered_is_kept_in_the_next_life_as_well() -> None:
    checker = SafetyChecker()
    checker.observe("a", core_of(terms=[1, 1]), [], [])
    checker.node_started("a")
    with pytest.raises(InvariantViolated, match="kept promise: a had stored 2 entries"):
        checker.observe("a", core_of(terms=[1]), [], [])


def test_a_lost_disk_owes_nothing() -> None:
    checker = SafetyChecker()
    checker.observe("a", core_of(terms=[1, 1], hard_state=HardState(5, "b")), [], [])
    checker.disk_lost("a")
    checker.observe("a", core_of(), [], [])

    assert 0 == checker.committed_index


@pytest.mark.parametrize(("index", "term"), [(2, 1), (1, 2)], ids=["not applied", "other term"])
def test_what_was_acknowledged_is_applied(index: int, term: int) -> None:
    checker = SafetyChecker()
    effects: list[Effect] = [Apply(entries_of([1]))]
    checker.observe("a", core_of(terms=[1]), [], effects)
    checker.acknowledged(1, 1)
    with pytest.raises(InvariantViolated, match=f"acknowledged: entry {index} of term {term}"):
        checker.acknowledged(index, term)


def test_a_follower_may_rewrite_its_log() -> None:
    checker = SafetyChecker()
    core = leader_of("a", term=2, terms=[1, 1])
    elect(checker, core)
    core.state.role = Follower()
    core.state.hard_state = HardState(3)
    core.state.log.truncate_from(2, commit_index=0)
    checker.observe("a", core, [], [Persist(1, None, entries_of([3], first=2))])

    assert 1 == checker.elections


@pytest.mark.parametrize("term", [1, 3])
def test_votes_of_another_term_elect_nobody(term: int) -> None:
    checker = SafetyChecker()
    leader = leader_of("a", term=2)
    with pytest.raises(InvariantViolated, match="won votes: a leads term 2, in which"):
        checker.observe("a", leader, voted(leader, term), [])


def test_votes_from_before_a_crash_elect_nobody() -> None:
    checker = SafetyChecker()
    candidate = core_of(node_id="a", hard_state=HardState(2, "a"))
    checker.observe("a", candidate, voted(candidate), [])
    checker.node_started("a")
    with pytest.raises(InvariantViolated, match="won votes"):
        checker.observe("a", leader_of("a", term=2), [], [])


def test_a_leader_of_one_term_is_none_of_the_next() -> None:
    checker = SafetyChecker()
    leader = leader_of("a", term=2)
    elect(checker, leader)
    leader.state.hard_state = HardState(3, "a")
    with pytest.raises(InvariantViolated, match="a was elected in term 2 and goes on in term 3"):
        checker.observe("a", leader, [], [])


def committed(checker: SafetyChecker, index: int) -> None:
    """Let a leader of term 1 commit so much."""
    leader = leader_of("c", term=1, terms=[1] * (index - 1))
    elect(checker, leader)
    for node_id in ("a", "b"):
        store(checker, node_id, [1] * index, term=1)
    checker.observe("c", knowing(leader, index), [], [])


@pytest.mark.parametrize(("index", "is_enough"), [(3, True), (2, False)])
def test_who_reads_is_told_of_all_that_was_committed_when_it_asked(
    index: int, *, is_enough: bool
) -> None:
    checker = SafetyChecker()
    committed(checker, 3)
    reader = core_of(terms=[1, 1, 1], hard_state=HardState(1))
    checker.observe("a", reader, [ReadAsked(7)], [])
    if is_enough:
        checker.observe("a", reader, [], [ReadReady((7,), index)])
        return
    with pytest.raises(InvariantViolated, match="read: a is told to read at 2, and 3 was known"):
        checker.observe("a", reader, [], [ReadReady((7,), index)])


def test_who_asked_before_it_was_committed_may_read_what_was_before() -> None:
    checker = SafetyChecker()
    reader = core_of(terms=[1, 1, 1], hard_state=HardState(1))
    checker.observe("a", reader, [ReadAsked(7)], [])
    committed(checker, 3)

    checker.observe("a", reader, [], [ReadReady((7,), 0)])


def test_an_older_term_is_not_committed_by_counting() -> None:
    checker = SafetyChecker()
    leader = leader_of("a", term=2, terms=[1, 1])
    elect(checker, leader)
    with pytest.raises(InvariantViolated, match="own term: a leads term 2 and commits entry 2"):
        checker.observe("a", knowing(leader, 2), [], [])


def test_an_older_term_is_committed_through_an_entry_of_the_own() -> None:
    checker = SafetyChecker()
    leader = leader_of("a", term=2, terms=[1, 1])
    elect(checker, leader)
    for node_id in ("b", "c"):
        store(checker, node_id, [1, 1, 2], term=2)
    checker.observe("a", knowing(leader, 3), [], [])

    assert 3 == checker.committed_index


def test_a_follower_writes_what_its_leader_has() -> None:
    checker = SafetyChecker()
    elect(checker, leader_of("a", term=2, terms=[1, 1]))
    follower = core_of(node_id="b", terms=[1, 1], hard_state=HardState(2))
    checker.observe("b", follower, [], [])
    checker.observe("b", follower, [], [Persist(1, None, entries_of([1, 1]))])
    other = core_of(node_id="b", terms=[1, 1, 1], hard_state=HardState(2))
    with pytest.raises(InvariantViolated, match="its leader's log: b writes entries 3 to 3"):
        checker.observe("b", other, [], [Persist(2, None, entries_of([1], first=3))])


def test_within_one_turn_a_follower_may_have_written_for_the_leader_before() -> None:
    checker = SafetyChecker()
    elect(checker, leader_of("a", term=2, terms=[1, 1]))
    elect(checker, leader_of("c", term=3, terms=[1]))
    before = core_of(node_id="b", hard_state=HardState(2))
    checker.observe("b", before, [], [])
    after = core_of(node_id="b", terms=[1, 1], hard_state=HardState(3))
    checker.observe("b", after, [], [Persist(1, HardState(3), entries_of([1, 1]))])
    with pytest.raises(InvariantViolated, match="its leader's log"):
        checker.observe("b", after, [], [Persist(2, None, entries_of([1], first=2))])


def test_what_a_leader_appended_in_the_turn_in_which_it_stepped_down_is_its_own() -> None:
    checker = SafetyChecker()
    leader = leader_of("a", term=2, terms=[1])
    elect(checker, leader, [written(leader, [1, 2])])
    elect(checker, leader_of("b", term=3, terms=[1]))
    leader.state.append((Entry(2, 3, COMMAND, b"its last"),))
    leader.state.role = Follower("b")
    leader.state.hard_state = HardState(3)
    last = Persist(2, HardState(3), (Entry(2, 3, COMMAND, b"its last"),))

    checker.observe("a", leader, [], [last])


@pytest.mark.parametrize(
    "entries",
    [(Entry(2, 3, COMMAND, b""), Entry(2, 4, COMMAND, b"")), (Entry(3, 3, COMMAND, b""),)],
)
def test_what_skips_an_index_or_is_of_another_term_a_leader_has_not_appended(
    entries: tuple[Entry, ...],
) -> None:
    checker = SafetyChecker()
    leader = leader_of("a", term=2, terms=[1])
    elect(checker, leader, [written(leader, [1, 2])])
    elect(checker, leader_of("b", term=3, terms=[1]))
    leader.state.append(entries)
    leader.state.role = Follower("b")
    leader.state.hard_state = HardState(3)

    with pytest.raises(InvariantViolated, match="its leader's log: a writes entries"):
        checker.observe("a", leader, [], [Persist(2, HardState(3), entries[-1:])])


def test_entries_are_stored_when_their_write_has_ended() -> None:
    checker = SafetyChecker()
    core = core_of(terms=[1, 1])
    core.state.log.stable_index = 0
    checker.observe("a", core, [], [written(core, [1, 1])])
    core.state.log.stable_index = 2
    with pytest.raises(InvariantViolated, match="stored: a takes 2 entries for stored; 0 are"):
        checker.observe("a", core, [Stored(0)], [])


def test_entries_that_are_being_overwritten_are_not_stored() -> None:
    """Trap 17: that their first write has ended says nothing of what replaced them."""
    checker = SafetyChecker()
    core = core_of(terms=[1, 1], hard_state=HardState(2))
    core.state.log.stable_index = 0
    checker.observe("a", core, [], [written(core, [1, 1])])
    rewritten = core_of(terms=[1, 2], hard_state=HardState(2))
    rewritten.state.log.stable_index = 0
    checker.observe("a", rewritten, [], [Persist(2, None, entries_of([2], first=2))])
    rewritten.state.log.stable_index = 2
    with pytest.raises(InvariantViolated, match="those from 2 on are being overwritten"):
        checker.observe("a", rewritten, [Stored(1)], [])


def test_entries_of_another_term_are_not_the_stored_ones() -> None:
    checker = SafetyChecker()
    core = core_of(terms=[1, 2], hard_state=HardState(2))
    core.state.log.stable_index = 0
    checker.observe("a", core, [], [Persist(1, None, entries_of([1, 1]))])
    core.state.log.stable_index = 2
    with pytest.raises(InvariantViolated, match="entry 2 of term 2 for stored; one of term 1"):
        checker.observe("a", core, [Stored(1)], [])


def answer(match_index: int, *, term: int = 3, after: int = 0) -> Send:
    """Return what a follower says of its log, at once or after a write."""
    reply = AppendEntriesReply(
        term=term,
        source="b",
        target="a",
        is_success=True,
        match_index=match_index,
        rejected_index=0,
        conflict_term=0,
        conflict_index=0,
        round=1,
    )
    return Send(reply, after)


def test_what_is_said_at_once_of_entries_is_on_the_disk() -> None:
    checker = SafetyChecker()
    store(checker, "b", [3, 3], term=3)
    core = core_of(node_id="b", terms=[3, 3, 3], hard_state=HardState(3))
    write = Persist(1, None, entries_of([3, 3, 3])[2:])
    checker.observe("b", core, [], [write, answer(2), answer(3, after=1)])
    with pytest.raises(InvariantViolated, match="persisted: b says that it has entry 3, which is"):
        checker.observe("b", core, [], [answer(3)])

    checker.observe("b", core, [Stored(1)], [answer(3)])


def test_of_an_earlier_term_it_is_not_known_any_more_what_was_said() -> None:
    checker = SafetyChecker()
    store(checker, "b", [3, 3], term=3)
    core = core_of(node_id="b", terms=[3, 4], hard_state=HardState(4))

    checker.observe("b", core, [], [Persist(1, HardState(4), entries_of([3, 4])[1:]), answer(2)])


def vote(*, after: int = 0, is_prevote: bool = False) -> Send:
    """Return a vote that is given in term 3."""
    reply = RequestVoteReply(3, "b", "a", is_granted=True, is_prevote=is_prevote)
    return Send(reply, after)


def test_a_vote_that_is_given_at_once_is_on_the_disk() -> None:
    checker = SafetyChecker()
    core = core_of(node_id="b", hard_state=HardState(2))
    checker.observe("b", core, [], [])
    core.state.hard_state = HardState(3, "a")
    write = Persist(1, HardState(3, "a"), ())
    checker.observe("b", core, [], [write, vote(after=1), vote(is_prevote=True)])
    with pytest.raises(InvariantViolated, match="persisted: b votes for a in term 3, and has"):
        checker.observe("b", core, [], [vote()])

    checker.observe("b", core, [Stored(1)], [vote()])
