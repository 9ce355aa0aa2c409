"""What a host remembers of its callers is bounded, and counted rightly whatever they do."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liferaft.errors import Overloaded, SessionExpired
from liferaft.rpc.callee_sessions import CalleeSessions, Memory
from liferaft.rpc.session import CalleeSession, Verdict

Sessions = CalleeSessions[int]


def admitted(sessions: Sessions, name: str, now: float = 0.0) -> CalleeSession[int]:
    session_id = name.encode().ljust(16)
    sessions.admit(session_id, is_resumed=False, now=now)
    session = sessions.get(session_id)
    assert session is not None
    return session


def answer(session: CalleeSession[int], number: int, reply: bytes) -> None:
    assert Verdict.EXECUTE is session.receive(number, 1)
    session.finish(number, reply)


def test_acknowledged_replies_take_no_room() -> None:
    sessions = Sessions(Memory())
    session = admitted(sessions, "a")
    for number in range(1, 10):
        answer(session, number, b"reply")
    assert 45 == sessions.replies.count
    session.acknowledge(10)

    assert 0 == sessions.replies.count


def test_who_leaves_most_behind_pays_first_with_the_older_half() -> None:
    sessions = Sessions(Memory(reply_bytes_max=100))
    modest, greedy = admitted(sessions, "modest"), admitted(sessions, "greedy")
    answer(modest, 1, b"x" * 10)
    for number in range(1, 11):
        answer(greedy, number, b"x" * 10)
    sessions.drop_replies()

    assert (10, 50, 60) == (modest.reply_bytes, greedy.reply_bytes, sessions.replies.count)
    assert Verdict.FORGOTTEN is greedy.receive(5, 1)
    assert Verdict.REPEAT is greedy.receive(6, 1)


def test_who_is_idle_makes_room_and_its_replies_with_it() -> None:
    sessions = Sessions(Memory(sessions_max=1, session_idle_max=60.0))
    answer(admitted(sessions, "idle"), 1, b"reply")
    with pytest.raises(Overloaded):
        admitted(sessions, "early", now=60.0)
    admitted(sessions, "late", now=61.0)

    assert (1, 0) == (len(sessions), sessions.replies.count)


def test_who_has_a_call_under_way_is_never_forgotten() -> None:
    sessions = Sessions(Memory(sessions_max=1, session_idle_max=60.0))
    admitted(sessions, "busy").receive(1, 1)

    with pytest.raises(Overloaded):
        admitted(sessions, "late", now=600.0)


def test_who_was_forgotten_cannot_go_on_as_if_it_were_not() -> None:
    with pytest.raises(SessionExpired):
        Sessions(Memory()).admit(b"x" * 16, is_resumed=True, now=0.0)


@given(st.randoms(use_true_random=False))
def test_what_all_sessions_hold_is_counted(chance: random.Random) -> None:
    memory = Memory(
        sessions_max=3,
        session_idle_max=5.0,
        replies_max=4,
        session_reply_bytes_max=60,
        reply_bytes_max=100,
    )
    sessions = Sessions(memory)
    names = "abcde"
    for now in range(60):
        try:
            session = admitted(sessions, chance.choice(names), now=float(now))
        except Overloaded:
            continue
        number, acked_below = chance.randint(1, 12), chance.randint(1, 8)
        if session.receive(number, acked_below) is Verdict.EXECUTE and chance.random() < 0.8:
            session.finish(number, b"x" * chance.randint(1, 30))
        if chance.random() < 0.2:
            session.acknowledge(chance.randint(1, 12))
        if sessions.replies.count > memory.reply_bytes_max:
            sessions.drop_replies()
        known = (sessions.get(name.encode().ljust(16)) for name in names)

        assert sum(each.reply_bytes for each in known if each) == sessions.replies.count
