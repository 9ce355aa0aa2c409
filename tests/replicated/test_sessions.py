"""Exactly once: the table of sessions, which every replica keeps the same."""

import pytest

from liferaft.replicated import sessions as sessions_module
from liferaft.replicated.sessions import REPLIES_MAX, SESSION_IDLE_MAX, Session, SessionTable


def test_an_acknowledged_reply_is_forgotten_and_others_are_kept() -> None:
    session = Session(last_active_wall=0.0, replies={1: b"a", 2: b"b", 3: b"c"})

    session.acknowledge(3)

    assert {3: b"c"} == session.replies


def test_an_old_acknowledgement_takes_nothing_back() -> None:
    session = Session(last_active_wall=0.0, acked_below=5)

    session.acknowledge(3)

    assert 5 == session.acked_below


def test_an_acknowledgement_far_ahead_costs_no_more_than_what_is_kept() -> None:
    """The number comes from a client: it must not make every replica count to it."""
    session = Session(last_active_wall=0.0, replies={7: b"a"})

    session.acknowledge(2**62)

    assert ({}, 2**62) == (session.replies, session.acked_below)


def test_replies_just_below_a_far_acknowledgement_are_forgotten_too() -> None:
    session = Session(last_active_wall=0.0, replies={REPLIES_MAX + 5: b"a", 10**6: b"b"})

    session.acknowledge(10**6)

    assert {10**6: b"b"} == session.replies


def test_opening_a_session_twice_keeps_what_it_was_answered() -> None:
    table = SessionTable()
    table.open(b"s", 0.0)
    known = table.get(b"s")
    assert known is not None
    known.replies[1] = b"a"

    table.open(b"s", 1.0)

    again = table.get(b"s")
    assert again is not None
    assert {1: b"a"} == again.replies


def test_a_session_that_was_idle_for_too_long_is_forgotten_when_another_opens() -> None:
    """Trap 42: by the log's time, so at the same entry on every replica."""
    table = SessionTable()
    table.open(b"idle", 0.0)
    table.open(b"busy", 0.0)
    table.touch(b"busy", SESSION_IDLE_MAX)

    table.open(b"new", SESSION_IDLE_MAX + 1.0)

    assert [False, True, True] == [table.get(s) is not None for s in (b"idle", b"busy", b"new")]


def test_of_too_many_sessions_the_longest_idle_one_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "SESSIONS_MAX", 2)
    table = SessionTable()
    table.open(b"a", 0.0)
    table.open(b"b", 1.0)
    table.touch(b"a", 2.0)

    table.open(b"c", 3.0)

    assert [True, False, True] == [table.get(s) is not None for s in (b"a", b"b", b"c")]
