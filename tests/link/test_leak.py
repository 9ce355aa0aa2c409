"""What a leak does to the frames of one direction: its rates, its times, and that it repeats."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from liferaft.errors import ConfigurationError
from liferaft.link.base import HIGH_WATER_BYTES, LOW_WATER_BYTES
from liferaft.link.leak import (
    HELD_BYTES_MAX,
    REORDER_SECONDS_MIN,
    Leak,
    LeakCounts,
    LeakyDirection,
)

pytestmark = pytest.mark.looptime


class Line:
    """A direction, with what it carried and when."""

    def __init__(self, leak: Leak, seed: int = 1) -> None:
        self.batches: list[list[bytes]] = []
        self.times: list[float] = []
        self.changes = 0
        self.changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self.direction = LeakyDirection(
            Random(seed), leak, carry=self._carry, changed=self._changed
        )

    @property
    def frames(self) -> list[bytes]:
        return [frame for batch in self.batches for frame in batch]

    def _carry(self, frames: list[bytes]) -> None:
        assert frames
        self.batches.append(frames)
        self.times.extend([self._loop.time() - self._began] * len(frames))

    def _changed(self) -> None:
        self.changes += 1
        self.changed.set()


def numbered(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(count)]


async def drain(line: Line) -> None:
    """Let virtual time pass until nothing is held any more."""
    while line.direction.is_holding:
        line.changed.clear()
        await line.changed.wait()


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "sentence"),
        [
            ({"loss": 1.1}, "loss is 1.1: give a probability from 0 to 1"),
            ({"loss": -0.1}, "loss is -0.1"),
            ({"duplicate": 2}, "duplicate is 2"),
            ({"reorder": float("nan")}, "reorder is nan"),
            ({"delay_min": -1}, "delay_min is -1: give a number from 0 up"),
            ({"delay_max": float("inf")}, "delay_max is inf"),
            ({"bytes_per_second": -5}, "bytes_per_second is -5"),
            ({"delay_min": 2, "delay_max": 1}, "delay_min is 2, above delay_max, which is 1"),
        ],
    )
    async def test_a_setting_out_of_its_range_is_refused(
        self, settings: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=sentence):
            Leak(**settings)

    async def test_the_ends_of_the_ranges_are_allowed(self) -> None:
        leak = Leak(loss=1, duplicate=1, reorder=1, delay_min=1, delay_max=1, bytes_per_second=1)

        assert 1 == leak.loss


class TestChance:
    async def test_a_faultless_direction_carries_each_batch_as_it_came(self) -> None:
        line = Line(Leak())
        batch = numbered(3)
        line.direction.take(batch)

        assert [batch] == line.batches
        assert LeakCounts(sent=3, delivered=3) == line.direction.counts()

    @pytest.mark.parametrize("loss", [0.1, 0.5, 0.9])
    async def test_as_many_frames_are_lost_as_the_rate_says(self, loss: float) -> None:
        line = Line(Leak(loss=loss))
        line.direction.take(numbered(20_000))
        counts = line.direction.counts()

        assert loss == pytest.approx(counts.lost / counts.sent, abs=0.015)
        assert counts.sent == counts.lost + len(line.frames)

    async def test_as_many_frames_are_repeated_as_the_rate_says(self) -> None:
        line = Line(Leak(duplicate=0.2))
        line.direction.take(numbered(20_000))
        copies = Counter(Counter(line.frames).values())

        assert {1, 2} == set(copies)
        assert 0.2 == pytest.approx(copies[2] / 20_000, abs=0.015)
        assert copies[2] == line.direction.counts().duplicated

    async def test_what_is_lost_and_repeated_keeps_its_order_and_its_batch(self) -> None:
        line = Line(Leak(loss=0.3, duplicate=0.3))
        line.direction.take(numbered(1000))

        assert 1 == len(line.batches)
        assert sorted(line.frames) == line.frames

    async def test_total_loss_loses_everything(self) -> None:
        line = Line(Leak(loss=1))
        line.direction.take(numbered(1000))

        assert [] == line.frames

    async def test_the_same_seed_gives_the_same_fate(self) -> None:
        leak = Leak(loss=0.2, duplicate=0.1, delay_max=0.05, reorder=0.1, bytes_per_second=100_000)
        told = []
        for seed in (7, 7, 8):
            line = Line(leak, seed)
            for frame in numbered(500):
                line.direction.take([frame])
            await drain(line)
            told.append((line.frames, [round(time, 9) for time in line.times]))

        assert told[0] == told[1]
        assert told[0] != told[2]


class TestDelay:
    async def test_frames_take_as_long_as_the_range_says(self) -> None:
        line = Line(Leak(delay_min=0.010, delay_max=0.030))
        line.direction.take(numbered(5000))
        await drain(line)

        assert 5000 == len(line.frames)
        assert 0.010 <= min(line.times) <= 0.011
        assert 0.029 <= max(line.times) <= 0.030 + 1e-9
        assert 0.020 == pytest.approx(sum(line.times) / 5000, abs=0.001)

    async def test_equal_delays_keep_order_and_batch(self) -> None:
        line = Line(Leak(delay_min=0.5, delay_max=0.5))
        line.direction.take(numbered(1000))
        await drain(line)

        assert [numbered(1000)] == line.batches
        assert {0.5} == {round(time, 6) for time in line.times}

    async def test_an_earlier_frame_is_not_held_up_by_one_that_is_due_later(self) -> None:
        line = Line(Leak(delay_min=10, delay_max=10))
        line.direction.take([b"slow"])
        line.direction.leak = Leak(delay_min=1, delay_max=1)
        line.direction.take([b"quick"])
        await drain(line)

        assert [b"quick", b"slow"] == line.frames
        assert [1, 10] == [round(time, 6) for time in line.times]


class TestReordering:
    async def test_later_frames_overtake_the_ones_held_back(self) -> None:
        line = Line(Leak(reorder=0.25))
        line.direction.take(numbered(2000))
        carried_at_once = len(line.frames)
        await drain(line)
        counts = line.direction.counts()

        assert sorted(line.frames) == numbered(2000)
        assert line.frames != numbered(2000)
        assert 0.25 == pytest.approx(counts.reordered / 2000, abs=0.03)
        assert 2000 - counts.reordered == carried_at_once
        assert max(line.times) <= REORDER_SECONDS_MIN + 1e-9


class TestThrottle:
    async def test_no_more_passes_than_the_line_can_carry(self) -> None:
        line = Line(Leak(bytes_per_second=1000))
        line.direction.take([b"x" * 100] * 50)
        await drain(line)

        assert [round(0.1 * n, 6) for n in range(1, 51)] == [round(t, 6) for t in line.times]

    async def test_a_line_that_was_idle_saves_nothing_up(self) -> None:
        line = Line(Leak(bytes_per_second=1000))
        await asyncio.sleep(100)
        line.direction.take([b"x" * 1000])
        await drain(line)

        assert [101] == [round(time, 6) for time in line.times]


class TestCut:
    async def test_a_cut_direction_carries_nothing(self) -> None:
        line = Line(Leak(is_cut=True))
        line.direction.take(numbered(10))

        assert [] == line.frames
        assert LeakCounts(sent=10, cut=10) == line.direction.counts()

    async def test_a_cut_takes_what_is_held(self) -> None:
        line = Line(Leak(delay_min=1, delay_max=1))
        line.direction.take(numbered(10))
        line.direction.leak = Leak(is_cut=True)
        await asyncio.sleep(5)
        line.direction.leak = Leak()
        line.direction.take([b"healed"])

        assert [b"healed"] == line.frames
        assert LeakCounts(sent=11, delivered=1, cut=10, delayed=10) == line.direction.counts()


class TestHolding:
    async def test_the_owner_learns_when_all_that_was_held_has_left(self) -> None:
        line = Line(Leak(delay_min=1, delay_max=1))
        line.direction.take(numbered(10))
        await asyncio.sleep(0.9)
        changes_before = line.changes
        await asyncio.sleep(0.2)

        assert 0 == changes_before
        assert 1 == line.changes

    async def test_a_direction_is_full_between_its_marks(self) -> None:
        line = Line(Leak(bytes_per_second=HIGH_WATER_BYTES))
        states = []
        for _ in range(3):
            line.direction.take([b"x" * (HIGH_WATER_BYTES // 2)])
            states.append(line.direction.is_full)
        await asyncio.sleep(0.6)
        states.append(line.direction.is_full)
        await asyncio.sleep(1)

        assert LOW_WATER_BYTES < HIGH_WATER_BYTES // 2
        assert [False, False, True, True] == states
        assert not line.direction.is_full

    async def test_what_is_held_is_bounded_but_one_frame_always_fits(self) -> None:
        line = Line(Leak(delay_min=1, delay_max=1))
        largest = bytes(HELD_BYTES_MAX + 1)
        line.direction.take([largest, b"too much"])
        await drain(line)
        line.direction.take([b"room again"])
        await drain(line)

        assert [largest, b"room again"] == line.frames
        assert 1 == line.direction.counts().overflowed

    async def test_dropping_stops_the_timer(self) -> None:
        line = Line(Leak(delay_min=1, delay_max=1))
        line.direction.take(numbered(3))
        dropped = line.direction.drop()

        assert 3 == dropped
        assert not line.direction.is_holding
        assert line.direction._timer is None


async def test_counts_add_up_field_by_field() -> None:
    one = LeakCounts(sent=1, delivered=2, lost=3, cut=4, overflowed=5, duplicated=6)
    other = LeakCounts(sent=10, delayed=7, reordered=8)

    assert one.plus(other) == LeakCounts(
        sent=11, delivered=2, lost=3, cut=4, overflowed=5, duplicated=6, delayed=7, reordered=8
    )
