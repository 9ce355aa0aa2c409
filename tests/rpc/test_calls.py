"""A caller's calls: sent, repeated, answered, given up; no loop, time moved by hand."""

import msgspec
import pytest

from liferaft.errors import (
    ConnectionLost,
    DeadlineExceeded,
    InvalidArgument,
    NoLeader,
    Unreachable,
)
from liferaft.link.base import BYTES_PER_SECOND_MIN
from liferaft.rpc import wire
from liferaft.rpc.codec import encode
from liferaft.rpc.session import travel_time
from liferaft.rpc.stream import CallStreams
from tests.rpc.hand import INCREMENT, VALUE, Hand


def test_what_goes_with_every_call_goes_beside_what_one_call_has() -> None:
    hand = Hand({"within": "1.0"})
    hand.bind()
    hand.call()
    hand.protocol.call(
        INCREMENT, (1,), now=0.0, deadline=None, waiter="w", metadata={"trace": "7", "within": "9"}
    )
    calls = [frame for frame in hand.sent() if isinstance(frame, wire.Call)]

    assert [{"within": "1.0"}, {"trace": "7", "within": "1.0"}] == [c.metadata for c in calls]


def test_a_call_that_was_never_sent_says_so_whatever_became_of_the_link() -> None:
    hand = Hand()
    hand.bind()
    hand.protocol.link_lost(ConnectionLost("it broke"))
    hand.call(deadline=1.0)

    hand.pass_time(1.0)

    ((_, outcome),) = hand.protocol.answers
    assert type(outcome) is Unreachable
    assert "it broke" in str(outcome)


def test_an_unanswered_call_is_sent_again_under_its_number_at_growing_intervals() -> None:
    hand = Hand()
    hand.bind()
    hand.call(deadline=100.0)
    hand.sent()
    calls = [(at, f) for at, f in hand.pass_time(2.0) if isinstance(f, wire.Call)]

    assert [0.25, 0.75, 1.25, 1.75] == [at for at, _ in calls]
    assert {1} == {call.number for _, call in calls}
    assert [99.75, 99.25, 98.75, 98.25] == [call.time_left for _, call in calls]


def test_working_makes_the_interval_long() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.sent()
    hand.give(wire.Working(1))
    calls = [at for at, f in hand.pass_time(2.4) if isinstance(f, wire.Call)]

    assert [2.0] == calls


def test_a_host_that_is_slower_than_was_thought_is_asked_again_later() -> None:
    """By the old interval each call would be sent twice, and none would tell how long it takes."""
    hand = Hand()
    hand.bind()
    hand.call()
    hand.sent()
    before = first_repeat(hand)
    hand.give(wire.Working(1))
    hand.call()
    hand.sent()

    assert 2 * before == pytest.approx(first_repeat(hand))


def first_repeat(hand: Hand) -> float:
    """Let time pass until a call is sent again, and return how long that took."""
    began = hand.now
    while not any(isinstance(frame, wire.Call) for frame in hand.sent()):
        due = hand.protocol.deadline()
        assert due is not None
        hand.now = max(hand.now, due)
        hand.protocol.time_passed(hand.now)
    return hand.now - began


def test_a_repeated_answer_is_given_once() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.give(wire.Reply(1, msgspec.Raw(b"\x01")), wire.Reply(1, msgspec.Raw(b"\x01")))

    assert 1 == len(hand.outcomes())


def test_a_call_is_acknowledged_with_the_next_one() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.give(wire.Reply(1, msgspec.Raw(b"\x01")))
    hand.sent()
    hand.call()
    [call] = hand.sent()

    assert isinstance(call, wire.Call)
    assert (2, 2) == (call.number, call.acked_below)


def test_a_deadline_ends_a_sent_call_with_a_cancel() -> None:
    hand = Hand()
    hand.bind()
    hand.call(deadline=0.1)
    hand.sent()
    sent = hand.pass_time(0.2)

    assert [(0.1, wire.Cancel(1))] == sent
    assert [DeadlineExceeded] == [type(outcome) for outcome in hand.outcomes()]


def test_a_deadline_ends_a_call_that_was_never_sent_with_the_reason() -> None:
    hand = Hand()
    hand.call(deadline=0.1)
    hand.protocol.link_lost(NoLeader("none"))
    hand.pass_time(0.2)

    assert [NoLeader] == [type(outcome) for outcome in hand.outcomes()]


def test_a_call_that_another_connection_took_over_is_sent_there_and_nothing_else_is_taken() -> None:
    here, there = Hand(), Hand()
    for hand in (here, there):
        hand.bind()
        hand.call(VALUE)
    moved, stays = here.call(VALUE), here.call(VALUE)
    here.protocol.session.settle(moved.number)
    there.call(VALUE)
    there.sent()
    moved.begun_at, moved.has_arrived = 7.0, True

    there.protocol.take_over(moved, there.now)
    (sent,) = there.sent()
    here.protocol.cancel(moved)

    assert isinstance(sent, wire.Call)
    assert moved.number == sent.number == 3
    assert not moved.has_arrived
    assert stays in here.protocol.session.pending.values()


def test_a_call_is_not_sent_again_while_a_large_answer_comes() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.sent()
    for _ in range(20):
        hand.protocol.bytes_received(hand.now)
        assert [] == hand.pass_time(hand.now + 0.4)

    assert hand.protocol.leave is None
    sent = hand.pass_time(hand.now + 2.0)
    assert wire.Call in {type(frame) for _, frame in sent}


def test_a_large_call_is_given_time_by_its_length_until_the_host_says_that_it_has_it() -> None:
    size_bytes = 10 * BYTES_PER_SECOND_MIN
    left = []
    for has_arrived in (False, True):
        hand = Hand()
        hand.bind()
        call = hand.call()
        call.frame = bytes(size_bytes)
        assert size_bytes / 2**20 == travel_time(call.frame)
        if has_arrived:
            hand.now = 1.0
            hand.give(wire.Working(call.number))
        call.resend_at = 1000.0
        left.append(hand.left_at(50.0))

    assert [13.0, 4.0] == left


def test_a_large_item_of_a_stream_is_given_time_by_its_length() -> None:
    hand = Hand()
    hand.bind()
    streams = CallStreams(sending=(1,), receiving=())
    call = hand.protocol.call(
        INCREMENT, (1,), now=hand.now, deadline=None, waiter="w", streams=streams, patience=100.0
    )
    streams.senders[1].offer(msgspec.Raw(encode(bytes(10 * BYTES_PER_SECOND_MIN))))
    hand.protocol.send_streams(call, hand.now)

    assert 13 == round(hand.left_at(50.0) or 0)


def test_a_large_call_has_to_arrive_anew_over_each_link_and_once_over_one() -> None:
    hand = Hand()
    hand.protocol.call(INCREMENT, (1,), now=0.0, deadline=None, waiter="w")
    (call,) = hand.protocol.session.pending.values()
    hand.bind()
    hand.give(wire.Working(call.number))
    begun = [call.begun_at]
    assert call.has_arrived
    hand.now = 3.0
    hand.give(wire.Pong())
    hand.pass_time(5.0)
    begun.append(call.begun_at)
    hand.protocol.link_lost(Unreachable("lost"))
    hand.bind()
    begun.append(call.begun_at)

    assert [0.0, 0.0, 5.0] == begun
    assert call.sent_count > 2
    assert not call.has_arrived


def test_arguments_larger_than_the_host_bears_are_refused_when_it_has_said_so() -> None:
    hand = Hand()
    hand.protocol.call(INCREMENT, ("x" * 2000,), now=0.0, deadline=None, waiter="w")
    hand.bind()

    assert [InvalidArgument] == [type(outcome) for outcome in hand.outcomes()]


def test_arguments_larger_than_the_host_bears_are_not_sent() -> None:
    hand = Hand()
    hand.bind()
    with pytest.raises(InvalidArgument, match="1000 are allowed"):
        hand.protocol.call(INCREMENT, ("x" * 2000,), now=0.0, deadline=None, waiter="w")

    assert [] == hand.sent()


def test_the_answer_to_a_call_that_was_sent_twice_measures_nothing() -> None:
    """Karn's rule: nobody knows which of the two it answers."""
    hand = Hand()
    hand.bind()
    hand.call()
    hand.pass_time(0.3)
    hand.give(wire.Reply(1, msgspec.Raw(b"\x01")))
    hand.call()

    assert 0.25 == hand.protocol.session.pending[2].interval


def turned_away(number: int) -> wire.Failure:
    nothing = msgspec.Raw(encode(None))
    return wire.Failure(number, "liferaft", "Overloaded", "too many calls", "", nothing)


def test_a_call_sent_once_and_turned_away_was_not_executed() -> None:
    hand = Hand()
    hand.bind()
    hand.call(deadline=5.0)
    hand.give(turned_away(1))

    assert [turned_away(1)] == [outcome for _, outcome in hand.protocol.answers]


def test_a_repeated_call_that_is_turned_away_is_asked_again() -> None:
    """Simulated seed 1506 on five nodes: the copy that the first leader took was executed later."""
    hand = Hand()
    hand.bind()
    hand.call(deadline=5.0)
    hand.sent()
    hand.now = hand.protocol.deadline() or 0.0
    hand.protocol.time_passed(hand.now)
    repeats = hand.sent()
    hand.give(turned_away(1))
    answers = list(hand.protocol.answers)
    hand.now += 1.0
    hand.protocol.time_passed(hand.now)

    assert [1] == [frame.number for frame in repeats if isinstance(frame, wire.Call)]
    assert [] == answers
    assert [1] == [frame.number for frame in hand.sent() if isinstance(frame, wire.Call)]
