"""The log in memory: terms of everything, entries of the tail, and what the disk has of it."""

from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liferaft.errors import InvariantViolated
from liferaft.raft.log import ENTRY_OVERHEAD_BYTES, LogSummary, Piece, RaftLog
from liferaft.raft.types import Entry, EntryId, TermRun
from tests.raft.harness import entries_of, summary_of

TERMS = st.lists(st.integers(1, 6), max_size=12).map(sorted)


def log_of(*terms: int, tail_length: int | None = None) -> RaftLog:
    return RaftLog(summary_of(entries_of(terms), tail_length=tail_length))


def pieces(log: RaftLog, first: int, last: int, bytes_max: int) -> list[Entry]:
    piece = log.piece(first, last, bytes_max)
    assert piece is not None
    assert piece.size_bytes == sum(len(e.data) + ENTRY_OVERHEAD_BYTES for e in piece.entries)
    return list(piece.entries)


def test_the_empty_log_holds_the_empty_prefix() -> None:
    log = RaftLog(LogSummary())

    assert log.has(0, 0)
    assert not log.has(1, 0)
    assert (0, 0) == (log.last_index, log.last_term)


@given(terms=TERMS)
def test_term_at_tells_the_term_of_every_entry(terms: list[int]) -> None:
    log = log_of(*terms)

    assert [0, *terms] == [log.term_at(index) for index in range(len(terms) + 1)]


@given(terms=TERMS, index=st.integers(0, 14), term=st.integers(0, 7))
def test_last_at_or_below_is_what_a_search_from_the_end_finds(
    terms: list[int], index: int, term: int
) -> None:
    """The naive twin goes back entry by entry, as Figure 2 does."""
    candidates = [EntryId(0, 0), *(EntryId(t, i) for i, t in enumerate(terms, 1))]
    found = [entry for entry in candidates if entry.index <= index and entry.term <= term]

    assert found[-1] == log_of(*terms).last_at_or_below(index, term)


@given(terms=TERMS, other=TERMS)
def test_up_to_date_means_last_term_then_length(terms: list[int], other: list[int]) -> None:
    """Section 5.4.1 (trap 4)."""
    other_end = EntryId(max(other, default=0), len(other))
    is_as_up_to_date = (max(other, default=0), len(other)) >= (max(terms, default=0), len(terms))

    assert is_as_up_to_date == log_of(*terms).is_behind(other_end)


def test_an_append_must_follow_and_its_term_must_not_fall() -> None:
    log = log_of(1, 2)
    with pytest.raises(InvariantViolated, match="cannot follow"):
        log.append(entries_of([2], first=4))
    with pytest.raises(InvariantViolated, match="cannot follow"):
        log.append(entries_of([1], first=3))


@given(terms=TERMS.filter(bool), more=st.lists(st.integers(6, 9), min_size=1).map(sorted))
def test_truncating_and_appending_gives_the_log_that_was_never_otherwise(
    terms: list[int], more: list[int]
) -> None:
    for kept in range(len(terms)):
        log = log_of(*terms)
        log.truncate_from(kept + 1, commit_index=kept)
        log.append(entries_of(more, first=kept + 1))

        expected = log_of(*terms[:kept], *more)
        assert (expected.runs, expected.last_index) == (log.runs, log.last_index)
        assert pieces(expected, 1, expected.last_index, 10**6) == pieces(
            log, 1, log.last_index, 10**6
        )


def test_what_is_committed_is_never_truncated() -> None:
    """Trap 14, the last line of defence."""
    with pytest.raises(InvariantViolated, match="2 is to be dropped, 2 is committed"):
        log_of(1, 1, 1).truncate_from(2, commit_index=2)


def test_everything_new_is_handed_out_once() -> None:
    log = log_of(1)
    log.append(entries_of([1, 2], first=2))

    assert entries_of([1, 2], first=2) == log.hand_out(7)
    assert log.hand_out(8) == ()


def test_only_what_is_reported_stored_is_stable() -> None:
    """Trap 16: nothing is counted before its own write is on disk."""
    log = log_of(1)
    log.append(entries_of([1], first=2))
    log.hand_out(1)
    log.append(entries_of([1], first=3))
    log.hand_out(2)
    log.stored(1)

    assert (2, 3) == (log.stable_index, log.handed_index)


def test_a_late_write_does_not_count_for_entries_that_replaced_its_own() -> None:
    """Trap 17: the write of entry 2 of term 1 completes after it was overwritten in term 2."""
    log = log_of(1)
    log.append(entries_of([1, 1], first=2))
    log.hand_out(1)
    log.truncate_from(2, commit_index=1)
    log.append(entries_of([2, 2], first=2))
    log.hand_out(2)
    log.stored(1)

    assert log.stable_index == 1
    log.stored(2)
    assert log.stable_index == 3


@given(sizes=st.lists(st.integers(0, 50), min_size=1), bytes_max=st.integers(1, 200))
def test_a_piece_takes_as_many_as_fit_and_at_least_one(sizes: list[int], bytes_max: int) -> None:
    """Trap 18, against a sum done by hand."""
    entries = [Entry(1, i, 0, b"x" * size) for i, size in enumerate(sizes, 1)]
    log = RaftLog(LogSummary())
    log.append(entries)
    fitting, size_bytes = 0, 0
    for entry in entries:
        size_bytes += len(entry.data) + ENTRY_OVERHEAD_BYTES
        if size_bytes > bytes_max:
            break
        fitting += 1

    assert entries[: max(fitting, 1)] == pieces(log, 1, len(entries), bytes_max)


def test_a_piece_ends_where_it_is_told() -> None:
    assert list(entries_of([1, 1], first=2)) == pieces(log_of(1, 1, 1, 1), 2, 3, 10**6)


def test_what_memory_lacks_is_found_in_the_window() -> None:
    log = log_of(1, 1, 2, 2, tail_length=1)
    assert log.piece(2, 4, 10**6) is None
    log.fill_window(entries_of([1, 2], first=2))

    assert list(entries_of([1, 2], first=2)) == pieces(log, 2, 4, 10**6)
    assert log.piece(1, 4, 10**6) is None
    assert [*entries_of([2], first=3)] == pieces(log, 3, 4, 1)


def test_the_window_takes_only_entries_that_the_log_still_has() -> None:
    """What was read may have been overwritten while it was read."""
    log = log_of(1, 1, 3, 3, tail_length=0)
    log.fill_window(entries_of([1, 2, 2], first=2))

    assert Piece(entries_of([1], first=2), len(b"1.2") + ENTRY_OVERHEAD_BYTES) == log.piece(
        2, 4, 999
    )
    assert log.piece(3, 4, 999) is None


def test_a_truncation_into_the_window_empties_it() -> None:
    log = log_of(1, 1, 1, tail_length=0)
    log.fill_window(entries_of([1, 1], first=2))
    log.truncate_from(3, commit_index=0)

    assert log.piece(2, 2, 999) is None


def test_trimming_keeps_what_is_needed_and_no_more_than_allowed() -> None:
    log = log_of(*[1] * 100)
    one_bytes = log.tail_bytes // 100
    log.trim(50, 10 * one_bytes)
    assert log.first_held == 51
    log.trim(100, 10 * one_bytes)

    assert log.tail_bytes <= 10 * one_bytes
    assert pieces(log, log.first_held, 100, 10**6)[-1].index == 100


def test_trimming_goes_in_small_steps() -> None:
    """Each entry that is freed costs the time to copy its memory, if a snapshot shares that."""
    log = log_of(*[1] * 640)
    one_bytes = log.tail_bytes // 640
    steps = list[int]()
    for last in range(641, 1001):
        log.append(entries_of([1], first=last))
        log.hand_out(last)
        log.stored(last)
        held = log.first_held
        log.trim(last, 640 * one_bytes)
        steps.append(log.first_held - held)

    assert max(steps) < 64
    assert steps.count(0) > len(steps) * 9 / 10


def test_trimming_keeps_what_is_not_on_disk() -> None:
    log = log_of(1, 1)
    log.append(entries_of([1] * 50, first=3))
    log.trim(52, 1)

    assert log.first_held == 3


def test_the_terms_of_a_compacted_log_begin_at_its_base() -> None:
    log = RaftLog(LogSummary(first=4, last=5, runs=(TermRun(2, 4),), prior_term=2))

    assert (3, 2) == (log.base_index, log.term_at(3))
    assert EntryId(2, 3) == log.last_at_or_below(1, 1)


@pytest.mark.parametrize(
    "summary",
    [
        LogSummary(first=0),
        LogSummary(first=5, last=2),
        LogSummary(last=3),
        LogSummary(last=3, runs=(TermRun(1, 2),)),
        LogSummary(last=3, runs=(TermRun(1, 1), TermRun(2, 4))),
        LogSummary(last=3, runs=(TermRun(2, 1), TermRun(1, 2))),
        LogSummary(last=3, runs=(TermRun(1, 1), TermRun(2, 3), TermRun(3, 2))),
        LogSummary(last=3, runs=(TermRun(1, 1),), tail=entries_of([1, 1])),
        LogSummary(last=1, runs=(TermRun(1, 1),), tail=entries_of([1, 1], first=0)),
    ],
)
def test_what_is_no_log_is_refused(summary: LogSummary) -> None:
    with pytest.raises(InvariantViolated):
        RaftLog(summary)


@given(terms=TERMS)
def test_runs_are_the_terms_without_repeats(terms: list[int]) -> None:
    assert [0, *(term for term, _ in groupby(terms))] == [run.term for run in log_of(*terms).runs]
