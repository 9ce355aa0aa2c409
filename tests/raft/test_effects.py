"""The outbox: persist before you answer."""

from liferaft.raft.effects import Accepted, Effect, Outbox, Persist, Send
from liferaft.raft.log import LogSummary, RaftLog
from liferaft.raft.messages import RequestVoteReply
from liferaft.raft.types import HardState
from tests.raft.harness import entries_of

OLD, NEW = HardState(1, None), HardState(2, "b")
VOTE = RequestVoteReply(term=2, source="a", target="b", is_granted=True)


def take(outbox: Outbox, hard_state: HardState = OLD, log: RaftLog | None = None) -> list[Effect]:
    return outbox.take(hard_state, log or RaftLog(LogSummary()), 0.0)


def test_what_speaks_for_what_is_stored_leaves_at_once() -> None:
    outbox = Outbox(OLD)
    outbox.send(VOTE)

    assert [Send(VOTE, after=0)] == take(outbox)


def test_a_vote_waits_for_the_write_that_holds_it() -> None:
    """Trap 1."""
    outbox = Outbox(OLD)
    outbox.send(VOTE)

    assert [Persist(1, NEW, ()), Send(VOTE, after=1)] == take(outbox, NEW)


def test_as_long_as_that_write_is_under_way_everything_of_its_term_waits() -> None:
    outbox = Outbox(OLD)
    take(outbox, NEW)
    outbox.send(VOTE)

    assert [Send(VOTE, after=1)] == take(outbox, NEW)
    outbox.stored(1)
    outbox.send(VOTE)
    assert [Send(VOTE, after=0)] == take(outbox, NEW)


def test_only_what_speaks_for_entries_waits_for_entries() -> None:
    log = RaftLog(LogSummary())
    log.append(entries_of([1]))
    outbox = Outbox(OLD)
    outbox.send(VOTE)
    outbox.send(VOTE, speaks_for_log=True)

    expected = [Persist(1, None, entries_of([1])), Send(VOTE, after=0), Send(VOTE, after=1)]
    assert expected == take(outbox, OLD, log)


def test_one_persist_holds_all_that_is_new_and_marks_rise() -> None:
    log = RaftLog(LogSummary())
    outbox = Outbox(OLD)
    log.append(entries_of([1]))
    log.append(entries_of([1], first=2))
    assert [Persist(1, NEW, entries_of([1, 1]))] == take(outbox, NEW, log)
    log.append(entries_of([1], first=3))

    assert [Persist(2, None, entries_of([1], first=3))] == take(outbox, NEW, log)
    assert [] == take(outbox, NEW, log)


def test_answers_come_first_in_their_order() -> None:
    outbox = Outbox(OLD)
    answers = [Accepted(1, 1, 1), Accepted(1, 2, 1)]
    outbox.send(VOTE)
    for answer in answers:
        outbox.answer(answer)

    assert [*answers, Send(VOTE)] == take(outbox)


def test_it_knows_since_when_the_oldest_write_is_under_way() -> None:
    outbox = Outbox(OLD)
    log = RaftLog(LogSummary())
    outbox.take(HardState(2), log, 1.0)
    outbox.take(HardState(3), log, 2.0)
    before = outbox.written_since()
    outbox.stored(1)
    between = outbox.written_since()
    outbox.stored(2)

    assert (1.0, 2.0, None) == (before, between, outbox.written_since())
