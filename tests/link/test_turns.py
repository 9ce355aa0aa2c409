"""Who sends much waits for turns, and how long depends on who else is there."""

import asyncio

import pytest

from liferaft.link.turns import (
    ALONE_AFTER,
    FRAMES_AT_ONCE_MAX,
    FRAMES_OF_ALL_MAX,
    FRAMES_PER_TURN_MAX,
    FRAMES_TOGETHER,
    Turns,
)


class Flood:
    """A link with more frames than it ever gets turns for."""

    def __init__(self, count: int = 1_000_000) -> None:
        self.left = count
        self.shares: list[int] = []

    def deliver_next(self, count: int) -> bool:
        self.shares.append(min(count, self.left))
        self.left -= self.shares[-1]
        return self.left > 0

    @property
    def delivered(self) -> int:
        return sum(self.shares)


class Clock:
    """The running loop with a time that only the test moves."""

    def __init__(self) -> None:
        self.now = 1.0
        self.call_soon = asyncio.get_running_loop().call_soon

    def time(self) -> float:
        return self.now


def turns_by(clock: Clock) -> Turns:
    turns = Turns()
    turns._loop = clock  # type: ignore[assignment] # it has what turns ask of a loop
    turns._clock = clock.time
    return turns


async def test_few_frames_are_served_at_once_and_many_are_not() -> None:
    turns = Turns()

    assert turns.is_served_at_once(FRAMES_AT_ONCE_MAX)
    assert not turns.is_served_at_once(FRAMES_AT_ONCE_MAX + 1)


async def test_while_nobody_else_is_there_a_turn_is_full() -> None:
    turns, flood = Turns(), Flood(10 * FRAMES_PER_TURN_MAX)
    turns.wait(flood)
    for _ in range(20):
        await asyncio.sleep(0)

    assert [FRAMES_PER_TURN_MAX] * 10 == flood.shares


@pytest.mark.parametrize("floods", [1, 4])
@pytest.mark.parametrize("served_each_turn", [16, 40])
async def test_those_who_wait_get_half_of_what_the_others_get(
    floods: int, served_each_turn: int
) -> None:
    turns, waiting = turns_by(Clock()), [Flood() for _ in range(floods)]
    for flood in waiting:
        turns.wait(flood)
    served = 0
    for _ in range(200):
        for _ in range(served_each_turn // FRAMES_AT_ONCE_MAX):
            assert turns.is_served_at_once(FRAMES_AT_ONCE_MAX)
            served += FRAMES_AT_ONCE_MAX
        await asyncio.sleep(0)
    delivered = sum(flood.delivered for flood in waiting)
    first_turns = floods * FRAMES_PER_TURN_MAX * 2

    assert delivered <= served / 2 + first_turns
    assert all(flood.delivered > 0 for flood in waiting)


async def test_beside_a_caller_with_little_to_say_a_turn_is_still_worth_having() -> None:
    turns, flood = turns_by(Clock()), Flood()
    turns.is_served_at_once(2)
    turns.wait(flood)
    for _ in range(100):
        turns.is_served_at_once(2)
        await asyncio.sleep(0)

    assert FRAMES_TOGETHER == flood.shares[-1]


async def test_beside_long_work_those_who_wait_get_twice_the_time_of_that() -> None:
    """A turn in which ten milliseconds of commands were carried out, and a peer's frame came."""
    clock = Clock()
    turns, flood = turns_by(clock), Flood()
    turns.is_served_at_once(1)
    turns.wait(flood)
    for _ in range(10):
        turns.is_served_at_once(1)
        clock.now += 0.01
        await asyncio.sleep(0)

    assert [FRAMES_PER_TURN_MAX] * 9 == flood.shares[-9:]


async def test_a_turn_is_bounded_for_all_who_wait_together_and_they_take_turns() -> None:
    turns, floods = Turns(), [Flood() for _ in range(12)]
    for flood in floods:
        turns.wait(flood)
    per_turn = FRAMES_OF_ALL_MAX // FRAMES_PER_TURN_MAX
    await asyncio.sleep(0)
    first = [len(flood.shares) for flood in floods]
    await asyncio.sleep(0)

    assert [1] * per_turn + [0] * (12 - per_turn) == first
    assert [1] * 12 == [len(flood.shares) for flood in floods]


async def test_when_the_others_have_left_turns_are_full_again() -> None:
    clock = Clock()
    turns, flood = turns_by(clock), Flood()
    turns.wait(flood)
    for _ in range(50):
        turns.is_served_at_once(FRAMES_AT_ONCE_MAX)
        await asyncio.sleep(0)
    assert flood.shares[-1] < FRAMES_PER_TURN_MAX
    clock.now += 2 * ALONE_AFTER
    for _ in range(2):
        await asyncio.sleep(0)

    assert FRAMES_PER_TURN_MAX == flood.shares[-1]


async def test_a_link_that_fails_takes_nobodys_turn() -> None:
    class Broken:
        def deliver_next(self, count: int) -> bool:
            raise ZeroDivisionError

    turns, broken, flood = Turns(), Broken(), Flood(100)
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    turns.wait(broken)
    turns.wait(flood)
    for _ in range(5):
        await asyncio.sleep(0)
    turns.forget(broken)
    for _ in range(5):
        await asyncio.sleep(0)

    assert failures
    assert 100 == flood.delivered
