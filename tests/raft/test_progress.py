"""One follower as its leader sees it: where the logs meet, and what is on its way."""

from hypothesis import given
from hypothesis import strategies as st

from liferaft.raft.progress import Progress, ProgressState
from liferaft.raft.types import Configuration, Snapshot


def replicating(*, match_index: int = 0) -> Progress:
    progress = Progress(next_index=match_index + 1, contact=0.0)
    progress.accepted(match_index)
    return progress


def test_a_probe_is_sent_once_and_then_waits() -> None:
    progress = Progress(next_index=5, contact=0.0)
    assert progress.can_send(messages_max=2, bytes_max=100)
    progress.sent(6, 10)

    assert not progress.can_send(messages_max=2, bytes_max=100)
    assert progress.next_index == 5


def test_an_accepted_probe_begins_pipelining() -> None:
    progress = Progress(next_index=5, contact=0.0)
    progress.sent(6, 10)
    progress.accepted(6)

    assert (6, 7) == (progress.match_index, progress.next_index)
    assert ProgressState.REPLICATE == progress.state


def test_a_probe_whose_heartbeat_is_answered_first_is_not_sent_again() -> None:
    progress = Progress(next_index=5, contact=0.0)
    progress.sent(6, 10)
    progress.accepted(2)

    assert (2, 7, 1) == (progress.match_index, progress.next_index, len(progress.inflight))


def test_the_number_of_messages_in_flight_is_bounded() -> None:
    progress = replicating()
    progress.sent(1, 1)
    assert progress.can_send(messages_max=2, bytes_max=100)
    progress.sent(2, 1)

    assert not progress.can_send(messages_max=2, bytes_max=100)
    progress.accepted(1)
    assert progress.can_send(messages_max=2, bytes_max=100)


def test_the_bytes_in_flight_are_bounded() -> None:
    progress = replicating()
    progress.sent(1, 100)

    assert not progress.can_send(messages_max=9, bytes_max=100)
    progress.accepted(1)
    assert progress.inflight_bytes == 0


def test_match_index_never_falls() -> None:
    """Trap 20: an answer that was overtaken by a later one."""
    progress = replicating(match_index=7)
    progress.accepted(3)

    assert (7, 8) == (progress.match_index, progress.next_index)


def test_a_rewind_goes_back_but_never_below_what_matches() -> None:
    progress = replicating(match_index=7)
    progress.sent(12, 30)
    progress.rewind(3)

    assert 8 == progress.next_index
    assert ProgressState.PROBE == progress.state
    assert (0, 0) == (len(progress.inflight), progress.inflight_bytes)


def test_a_rewind_never_moves_up() -> None:
    """Trap 20: a hint from a log that has been cut since."""
    progress = Progress(next_index=5, contact=0.0)
    progress.rewind(9)

    assert progress.next_index == 4


def test_while_probing_only_the_answer_to_the_probe_is_news() -> None:
    """Trap 19: of all rejections in flight the first rewinds, the rest are stale."""
    progress = replicating()
    progress.sent(3, 1)
    progress.sent(6, 1)
    assert not progress.is_stale_rejection(3)
    progress.rewind(2)

    assert progress.is_stale_rejection(3)
    assert not progress.is_stale_rejection(1)


@given(match_index=st.integers(0, 9), sent=st.integers(1, 9), rejected=st.integers(0, 30))
def test_a_rejection_while_replicating_is_news_only_between_match_and_next(
    match_index: int, sent: int, rejected: int
) -> None:
    progress = replicating(match_index=match_index)
    progress.sent(match_index + sent, 1)
    is_possible = match_index < rejected < progress.next_index

    assert is_possible == (not progress.is_stale_rejection(rejected))


def test_while_a_snapshot_is_offered_what_is_stored_meanwhile_counts() -> None:
    """Answers to what was sent before the offer still arrive."""
    progress = Progress(next_index=3, contact=0.0)
    progress.offer(Snapshot(9, 1, Configuration(voters=("a",))))
    progress.accepted(5)

    assert (5, 6, ProgressState.SNAPSHOT) == (
        progress.match_index,
        progress.next_index,
        progress.state,
    )
    progress.accepted(9)
    assert (10, ProgressState.PROBE) == (progress.next_index, progress.state)
