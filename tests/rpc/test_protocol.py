"""A caller's links, the handshake and hosts that are silent: no loop, time moved by hand."""

from typing import Any

import msgspec
import pytest

from liferaft import errors
from liferaft.errors import (
    InterfaceMismatch,
    OutcomeUnknown,
    ProtocolError,
    SessionExpired,
    Unreachable,
)
from liferaft.rpc import wire
from liferaft.rpc.caller_state import State
from tests.rpc.hand import INCREMENT, INTERFACE, ONE, OTHER, VALUE, Hand


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


def test_frames_of_the_handshake_are_sent_again_at_growing_intervals() -> None:
    hand = Hand()
    hand.protocol.link_opened(0.0)
    hand.sent()
    repeats = [at for at, frame in hand.pass_time(2.0) if isinstance(frame, wire.Hello)]

    assert [0.25, 0.75, 1.25, 1.75] == repeats


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


def test_a_host_is_not_taken_for_silent_because_it_was_not_asked() -> None:
    hand = Hand()
    hand.bind()
    hand.now = 4.5
    hand.call()

    assert 7.5 == hand.left_at(20.0)


def test_calls_that_end_early_do_not_hide_that_a_host_is_silent() -> None:
    hand = Hand()
    hand.bind()
    hand.now = 4.5
    while hand.protocol.leave is None and hand.now < 20:
        hand.call(deadline=hand.now + 0.4)
        hand.left_at(hand.now + 0.4)

    assert 7.5 <= hand.now < 8


def test_a_ping_that_an_idle_host_has_not_answered_is_a_question_too() -> None:
    hand = Hand()
    hand.bind()
    assert [(5.0, wire.Ping(1))] == hand.pass_time(5.4)
    hand.call()

    assert 8.0 == hand.left_at(20.0)


def test_a_host_that_was_heard_of_while_it_owed_an_answer_is_left_three_seconds_later() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.now = 1.0
    hand.give(wire.Working(1))
    assert hand.left_at(3.5) is None
    hand.call()

    assert 4.0 == hand.left_at(20.0)


def test_nothing_more_is_sent_or_judged_while_what_was_sent_waits_to_leave() -> None:
    hand = Hand()
    hand.bind()
    hand.call()
    hand.sent()
    hand.protocol.set_clogged(hand.now, is_clogged=True)
    assert [] == hand.pass_time(100.0)
    assert hand.protocol.leave is None

    hand.protocol.set_clogged(hand.now, is_clogged=False)
    assert 103.0 == hand.left_at(200.0)


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
