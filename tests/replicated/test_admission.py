"""Who is let in when more comes than can be done: by how long it would wait, in equal shares."""

from collections import deque

import pytest

from liferaft.replicated.admission import (
    BYTES_SHARED_MIN,
    COMMANDS_MAX,
    COMMANDS_MIN,
    COMMANDS_SHARED,
    Admission,
    Ticket,
)

WAIT_MAX = 0.4
PACE = 1_000
"""Commands a second that are done: one each millisecond."""
TICK = 1 / PACE
SETTLED = COMMANDS_SHARED / PACE + 1.0
"""Seconds until the first burst is done, of which nobody knew how long it would take."""


class Host:
    """Does the commands in their order, one each tick, unless it stalls."""

    def __init__(self, *, queue_bytes_max: int = 64 * 1024 * 1024) -> None:
        self.admission = Admission(wait_max=WAIT_MAX, queue_bytes_max=queue_bytes_max)
        self.now = 100.0
        self.queue: deque[Ticket] = deque()
        self.waits: dict[bytes, list[float]] = {}

    def ask(
        self, session: bytes, *, size_bytes: int = 100, time_left: float | None = None
    ) -> float | None:
        """Return None where the command was let in, and the hint otherwise."""
        deadline = None if time_left is None else self.now + time_left
        ticket = self.admission.admit(session, size_bytes, now=self.now, deadline=deadline)
        if isinstance(ticket, Ticket):
            self.queue.append(ticket)
            return None
        return ticket

    def pass_tick(self, *, is_stalled: bool = False) -> None:
        self.now += TICK
        if self.queue and not is_stalled:
            ticket = self.queue.popleft()
            self.waits.setdefault(ticket.session, []).append(self.now - ticket.admitted_at)
            self.admission.done(ticket, self.now, is_applied=True)

    def run(self, seconds: float, *sessions: bytes, each_tick: int = 2) -> list[float | None]:
        """Have each session ask so often in every tick; return what was said, None for yes."""
        said: list[float | None] = []
        for _ in range(round(seconds * PACE)):
            said += [self.ask(session) for session in sessions for _ in range(each_tick)]
            self.pass_tick()
        return said


def test_below_what_can_be_done_nothing_is_turned_away() -> None:
    host = Host()

    assert {None} == set(host.run(5.0, b"a", each_tick=1))


def test_at_twice_the_load_the_wait_is_bounded_and_the_queue_never_empty() -> None:
    host = Host()
    host.run(5.0, b"a")

    assert max(host.waits[b"a"]) < 2 * WAIT_MAX
    assert len(host.waits[b"a"]) == 5 * PACE
    assert len(host.queue) == pytest.approx(WAIT_MAX * PACE, rel=0.1)


def test_who_is_turned_away_hears_how_long_the_queue_is() -> None:
    host = Host()
    hints = [hint for hint in host.run(5.0, b"a") if hint is not None]

    assert hints[-1] == pytest.approx(WAIT_MAX, rel=0.1)


def test_a_burst_that_nobody_has_waited_for_yet_is_let_in() -> None:
    """What came at once may be done at once: its number says nothing of how long it takes."""
    host = Host()
    host.run(1.0, b"a", each_tick=1)

    assert {None} == {host.ask(b"a") for _ in range(COMMANDS_SHARED)}
    assert host.ask(b"a") is not None


def test_one_call_at_a_time_goes_in_beside_thousands() -> None:
    host = Host()
    host.run(SETTLED, b"greedy", each_tick=10)
    said = []
    for number in range(1, 11):
        said.append(host.ask(b"modest"))
        while len(host.waits.get(b"modest", ())) < number:
            host.run(TICK, b"greedy", each_tick=10)

    assert [None] * 10 == said
    assert max(host.waits[b"modest"]) < 1.5 * WAIT_MAX


def test_sessions_that_all_ask_for_more_get_equal_shares() -> None:
    host = Host()
    host.run(SETTLED, b"first", each_tick=10)
    asked = ((b"first", 10), (b"second", 4), (b"third", 2))
    for _ in range(4 * PACE):
        for session, count in asked:
            for _ in range(count):
                host.ask(session)
        host.pass_tick()
    held = [sum(ticket.session == session for ticket in host.queue) for session, _ in asked]

    assert held == pytest.approx([len(host.queue) / 3] * 3, rel=0.1)


def test_a_session_that_fills_the_queue_with_bytes_leaves_room_for_others() -> None:
    host = Host(queue_bytes_max=2 * BYTES_SHARED_MIN)
    while host.ask(b"greedy", size_bytes=BYTES_SHARED_MIN // 8) is None:
        pass

    assert host.ask(b"modest", size_bytes=BYTES_SHARED_MIN // 8) is None
    assert host.ask(b"greedy", size_bytes=1) is not None
    assert host.ask(b"another", size_bytes=2 * BYTES_SHARED_MIN) is None
    assert host.ask(b"another", size_bytes=1) is not None


def test_who_would_wait_for_longer_than_there_is_time_is_turned_away() -> None:
    host = Host()
    host.run(3.0, b"a")

    assert host.ask(b"hasty", time_left=WAIT_MAX / 2) is not None
    assert host.ask(b"patient", time_left=2 * WAIT_MAX) is None


def test_whose_time_is_up_is_turned_away_whatever_there_is_to_do() -> None:
    assert Host().ask(b"late", time_left=0.0) is not None


def test_a_stall_of_a_few_is_no_overload() -> None:
    """So few wait for a disk, or for a leader: it would be no better later."""
    host = Host()
    host.run(1.0, b"a", each_tick=1)
    for _ in range(COMMANDS_MIN - 1):
        host.ask(b"a")
    for _ in range(2 * PACE):
        host.pass_tick(is_stalled=True)

    assert host.ask(b"a") is None
    assert host.ask(b"a") is not None
    assert host.ask(b"b") is None


def test_after_a_stall_everybody_is_let_in_again() -> None:
    host = Host()
    host.run(2.0, b"a")
    for _ in range(2 * PACE):
        host.pass_tick(is_stalled=True)
    while host.queue:
        host.pass_tick()

    assert {None} == set(host.run(2.0, b"a", each_tick=1))


def test_time_without_commands_does_not_make_the_pace_slower() -> None:
    host = Host()
    host.run(2.0, b"a")
    while host.queue:
        host.pass_tick()
    host.now += 3600.0
    host.run(2.0, b"a")

    assert len(host.queue) == pytest.approx(WAIT_MAX * PACE, rel=0.1)


def test_there_is_a_bound_whatever_the_shares() -> None:
    host = Host()
    for number in range(COMMANDS_MAX):
        assert host.ask(b"%d" % number) is None

    assert host.ask(b"one more") is not None
