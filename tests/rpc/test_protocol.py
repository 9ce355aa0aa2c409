"""The caller's side of the protocol: no loop, no link, time moved by hand."""

from typing import Any

import msgspec
import pytest

from liferaft import errors
from liferaft.errors import (
    ConnectionLost,
    DeadlineExceeded,
    InterfaceMismatch,
    InvalidArgument,
    NoLeader,
    OutcomeUnknown,
    ProtocolError,
    SessionExpired,
    Unreachable,
)
from liferaft.link.base import BYTES_PER_SECOND_MIN
from liferaft.link.frames import joined
from liferaft.rpc import wire
from liferaft.rpc.caller_state import State
from liferaft.rpc.codec import decode_frame, encode
from liferaft.rpc.interface import Interface
from liferaft.rpc.protocol import CallerProtocol
from liferaft.rpc.session import travel_time
from liferaft.rpc.stream import CallStreams
from tests.rpc.objects import Counter

INTERFACE = Interface.of(Counter)
INCREMENT = INTERFACE.methods["increment"]
VALUE = INTERFACE.methods["value"]
ONE, OTHER = b"1" * 16, b"2" * 16


class Hand:
    """Moves one protocol by hand, and keeps what it sent."""

    def __init__(self, metadata: dict[str, str] | None = None) -> None:
        sessions = iter(bytes([65 + number]) * 16 for number in range(20))
        self.protocol: CallerProtocol[str] = CallerProtocol(
            object_name="",
            signatures=INTERFACE.signatures,
            draw_session=lambda: next(sessions),
            metadata=metadata,
        )
        self.now = 0.0

    def sent(self) -> list[wire.Frame]:
        frames = [decode_frame(joined(frame)) for frame in self.protocol.outgoing]
        self.protocol.outgoing.clear()
        return frames

    def give(self, *frames: wire.Frame) -> None:
        self.protocol.receive([encode(frame) for frame in frames], self.now)

    def bind(self, incarnation: bytes = ONE, *, is_durable: bool = False) -> list[wire.Frame]:
        self.protocol.link_opened(self.now)
        self.give(wire.Welcome(1, incarnation, 1000))
        self.sent()
        self.give(wire.Bound("", "Counter", is_durable))
        return self.sent()

    def call(self, method: Any = INCREMENT, deadline: float | None = None) -> Any:
        return self.protocol.call(
            method,
            (1,)[: len(method.signature.parameters)],
            now=self.now,
            deadline=deadline,
            waiter="w",
        )

    def pass_time(self, until: float) -> list[tuple[float, wire.Frame]]:
        """Move to `until` from due time to due time; return what was sent, and when."""
        sent = []
        while (due := self.protocol.deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.protocol.time_passed(self.now)
            sent += [(round(self.now, 3), frame) for frame in self.sent()]
            if self.protocol.leave is not None:
                break
        self.now = until
        return sent

    def outcomes(self) -> list[Any]:
        found = [outcome for _, outcome in self.protocol.answers]
        self.protocol.answers.clear()
        return found


def test_the_handshake_greets_binds_and_then_sends_what_waited() -> None:
    hand = Hand()
    hand.call()
    hand.protocol.link_opened(0.0)
    greeting = hand.sent()
    hand.give(wire.Welcome(1, ONE, 1000))
    binding = hand.sent()
    hand.give(wire.Bound("", "Counter", is_durable=False))
    [call] = hand.sent()

    assert [wire.Hello("liferaft", 1, b"A" * 16)] == greeting
    assert [wire.Bind("", INTERFACE.signatures, is_resumed=False)] == binding
    assert isinstance(call, wire.Call)
    assert (1, 1, "Counter", "increment") == (
        call.number,
        call.acked_below,
        call.object,
        call.method,
    )


def test_what_goes_with_every_call_goes_beside_what_one_call_has() -> None:
    hand = Hand({"within": "1.0"})
    hand.bind()
    hand.call()
    hand.protocol.call(
        INCREMENT, (1,), now=0.0, deadline=None, waiter="w", metadata={"trace": "7", "within": "9"}
    )
    calls = [frame for frame in hand.sent() if isinstance(frame, wire.Call)]

    assert [{"within": "1.0"}, {"trace": "7", "within": "1.0"}] == [c.metadata for c in calls]


@pytest.mark.parametrize(
    "where", [{"exported": [5, -5]}, {"object_name": "Counter#5"}, {"exported": [5]}]
)
def test_a_call_that_was_not_sent_ends_with_its_session_if_it_counts_on_the_hosts_references(
    where: dict[str, Any],
) -> None:
    """The host had sent 5, which comes home as -5; another 5 is this side's, and goes on."""
    hand = Hand()
    hand.protocol.call(INCREMENT, (1,), now=0.0, deadline=None, waiter="w", **where)
    hand.call()
    hand.protocol.begin_anew("the host was not heard of")

    outcomes, numbers = hand.outcomes(), list(hand.protocol.session.pending)
    if where == {"exported": [5]}:
        assert ([], [1, 2]) == (outcomes, numbers)
    else:
        assert [Unreachable] == [type(outcome) for outcome in outcomes]
        assert [1] == numbers, "the other goes on in the next session"


def test_a_call_that_was_never_sent_says_so_whatever_became_of_the_link() -> None:
    hand = Hand()
    hand.bind()
    hand.protocol.link_lost(ConnectionLost("it broke"))
    hand.call(deadline=1.0)

    hand.pass_time(1.0)

    ((_, outcome),) = hand.protocol.answers
    assert type(outcome) is Unreachable
    assert "it broke" in str(outcome)


def test_frames_of_the_handshake_are_sent_again_at_growing_intervals() -> None:
    hand = Hand()
    hand.protocol.link_opened(0.0)
    hand.sent()
    repeats = [at for at, frame in hand.pass_time(2.0) if isinstance(frame, wire.Hello)]

    assert [0.25, 0.75, 1.25, 1.75] == repeats


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


def test_after_a_new_link_unanswered_calls_are_sent_again_in_order() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.call()
    hand.protocol.link_lost(Unreachable("gone"))
    calls = hand.bind()

    assert [1, 2] == [call.number for call in calls if isinstance(call, wire.Call)]
    assert [] == hand.outcomes()


def test_the_second_binding_says_that_it_is_resumed() -> None:
    hand = Hand()
    hand.bind()
    hand.protocol.link_lost(Unreachable("gone"))
    hand.protocol.link_opened(0.0)
    hand.give(wire.Welcome(1, ONE, 1000))
    bind = hand.sent()[-1]

    assert wire.Bind("", INTERFACE.signatures, is_resumed=True) == bind


def test_another_incarnation_makes_sent_calls_unknown_but_not_idempotent_or_unsent_ones() -> None:
    hand = Hand()
    hand.bind(ONE)
    hand.call(INCREMENT)
    hand.call(VALUE)
    hand.protocol.link_lost(Unreachable("gone"))
    hand.call(INCREMENT)
    calls = hand.bind(OTHER)

    assert [OutcomeUnknown] == [type(outcome) for outcome in hand.outcomes()]
    assert [2, 3] == [call.number for call in calls if isinstance(call, wire.Call)]


def test_a_durable_session_goes_on_at_another_incarnation() -> None:
    hand = Hand()
    hand.bind(ONE, is_durable=True)
    hand.call()
    hand.protocol.link_lost(Unreachable("gone"))
    calls = hand.bind(OTHER, is_durable=True)

    assert [1] == [call.number for call in calls if isinstance(call, wire.Call)]
    assert [] == hand.outcomes()


def test_an_expired_session_fails_what_was_sent_and_renumbers_what_was_not() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.protocol.link_lost(Unreachable("gone"))
    hand.call()
    hand.protocol.link_opened(0.0)
    hand.give(wire.Welcome(1, ONE, 1000), wire.Unbound("", "expired", "idle"))
    hand.protocol.link_lost(Unreachable("left"))
    outcomes = hand.outcomes()
    hand.protocol.link_opened(0.0)
    greeting = hand.sent()[-1]
    hand.give(wire.Welcome(1, ONE, 1000), wire.Bound("", "Counter", is_durable=False))
    call = hand.sent()[-1]

    assert [SessionExpired] == [type(outcome) for outcome in outcomes]
    assert wire.Hello("liferaft", 1, b"B" * 16) == greeting
    assert isinstance(call, wire.Call)
    assert (1, 1) == (call.number, call.acked_below)


def test_a_mismatch_fails_what_waits_and_what_comes() -> None:
    hand = Hand()
    hand.call()
    hand.protocol.link_opened(0.0)
    hand.give(wire.Welcome(1, ONE, 1000), wire.Unbound("", "mismatch", "differs"))

    assert [InterfaceMismatch] == [type(outcome) for outcome in hand.outcomes()]
    with pytest.raises(InterfaceMismatch, match="differs"):
        hand.call()


@pytest.mark.parametrize("code", ["NoLeader", "Overloaded", "Refused"])
def test_a_refused_binding_keeps_its_class_as_the_reason(code: str) -> None:
    hand = Hand()
    hand.call(deadline=1.0)
    hand.protocol.link_opened(0.0)
    hand.give(wire.Welcome(1, ONE, 1000), wire.Unbound("", code, "not now"))
    hand.protocol.link_lost(hand.protocol.trouble)
    hand.protocol.leave = None
    hand.pass_time(2.0)

    assert [getattr(errors, code)] == [type(outcome) for outcome in hand.outcomes()]


def test_a_redirect_of_a_waiting_call_asks_to_move() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.give(wire.Redirect(1, "127.0.0.1:7"))
    leave = hand.protocol.leave

    assert leave is not None
    assert "127.0.0.1:7" == leave.address


@pytest.mark.parametrize("number", [0, 1, 9])
def test_a_late_redirect_moves_nobody(number: int) -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.give(wire.Reply(1, msgspec.Raw(b"\x01")), wire.Redirect(number, "127.0.0.1:7"))

    assert hand.protocol.leave is None


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


def test_a_host_that_is_being_left_is_left_at_once_when_it_owes_nothing() -> None:
    hand = Hand()
    hand.bind()
    hand.protocol.is_parting = True
    hand.protocol.link_lost(Unreachable("lost"))

    assert [wire.Goodbye("the host stops", is_final=True)] == hand.bind()
    assert hand.protocol.leave is not None
    assert hand.protocol.leave.has_parted


def test_silence_is_asked_about_and_then_left() -> None:
    hand = Hand()
    hand.bind()
    sent = hand.pass_time(20.0)

    pings = [(5.0 + step / 2, wire.Ping(1)) for step in range(20)]
    assert pings == sent, "one that was lost says little"
    assert hand.protocol.leave is not None
    assert isinstance(hand.protocol.leave.reason, Unreachable)


def left_at(hand: Hand, until: float) -> float | None:
    """Return when the host was left, if it was by then."""
    while hand.protocol.leave is None and (due := hand.protocol.deadline()) is not None:
        if due > until:
            return None
        hand.now = max(hand.now, due)
        hand.protocol.time_passed(hand.now)
    return hand.now


def test_a_host_is_not_taken_for_silent_because_it_was_not_asked() -> None:
    hand = Hand()
    hand.bind()
    hand.now = 4.5
    hand.call()

    assert 7.5 == left_at(hand, 20.0)


def test_calls_that_end_early_do_not_hide_that_a_host_is_silent() -> None:
    hand = Hand()
    hand.bind()
    hand.now = 4.5
    while hand.protocol.leave is None and hand.now < 20:
        hand.call(deadline=hand.now + 0.4)
        left_at(hand, hand.now + 0.4)

    assert 7.5 <= hand.now < 8


def test_a_ping_that_an_idle_host_has_not_answered_is_a_question_too() -> None:
    hand = Hand()
    hand.bind()
    assert [(5.0, wire.Ping(1))] == hand.pass_time(5.4)
    hand.call()

    assert 8.0 == left_at(hand, 20.0)


def test_a_host_that_was_heard_of_while_it_owed_an_answer_is_left_three_seconds_later() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.now = 1.0
    hand.give(wire.Working(1))
    assert left_at(hand, 3.5) is None
    hand.call()

    assert 4.0 == left_at(hand, 20.0)


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


def test_nothing_more_is_sent_or_judged_while_what_was_sent_waits_to_leave() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.sent()
    hand.protocol.set_clogged(hand.now, is_clogged=True)
    assert [] == hand.pass_time(100.0)
    assert hand.protocol.leave is None

    hand.protocol.set_clogged(hand.now, is_clogged=False)
    assert 103.0 == left_at(hand, 200.0)


def test_an_idle_host_is_asked_again_once_what_was_sent_has_left() -> None:
    hand = Hand()
    hand.bind()
    hand.protocol.set_clogged(hand.now, is_clogged=True)
    assert [] == hand.pass_time(6.0)
    hand.protocol.set_clogged(hand.now, is_clogged=False)

    assert [(6.5, wire.Ping(1))] == hand.pass_time(6.9)


def test_a_new_link_is_not_clogged() -> None:
    hand = Hand()
    hand.bind()
    hand.protocol.set_clogged(hand.now, is_clogged=True)
    hand.protocol.link_lost(Unreachable("lost"))
    hand.bind()

    assert [(5.0, wire.Ping(1))] == hand.pass_time(5.4)


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
        left.append(left_at(hand, 50.0))

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

    assert 13 == round(left_at(hand, 50.0) or 0)


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


def test_a_ping_that_is_due_is_sent_however_its_time_was_rounded() -> None:
    """Once `now - heard_at >= ping` was false at `now = heard_at + ping`, and time stood still."""
    for step in range(1, 500):
        hand = Hand()
        hand.now = step * 0.1
        hand.bind()
        due = hand.protocol.deadline()
        assert due is not None
        hand.protocol.time_passed(due)
        following = hand.protocol.deadline()

        assert following is not None
        assert due < following


def test_a_host_of_another_version_is_left() -> None:
    hand = Hand()
    hand.protocol.link_opened(0.0)
    hand.give(wire.Welcome(2, ONE, 1000))
    leave = hand.protocol.leave

    assert leave is not None
    assert isinstance(leave.reason, ProtocolError)


def test_what_only_callers_send_breaks_the_protocol() -> None:
    hand = Hand()
    hand.bind()
    with pytest.raises(ProtocolError, match="a host does not send Ping"):
        hand.give(wire.Ping(1))


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


def test_the_state_is_bound_only_after_the_whole_handshake() -> None:
    hand = Hand()
    states = [hand.protocol.state]
    hand.protocol.link_opened(0.0)
    states.append(hand.protocol.state)
    hand.give(wire.Bound("", "Counter", is_durable=False))
    states.append(hand.protocol.state)
    hand.give(wire.Welcome(1, ONE, 1000))
    states.append(hand.protocol.state)
    hand.give(wire.Bound("", "Counter", is_durable=False))
    states.append(hand.protocol.state)

    assert [State.DOWN, State.GREETING, State.GREETING, State.BINDING, State.BOUND] == states


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
