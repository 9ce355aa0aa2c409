"""The load of an open loop is what was asked for, and a kept peak is told from a lost one."""

import asyncio

import pytest

from liferaft.bench.open_load import Offered, offer
from liferaft.bench.overload import Overload, Round, bench_overload
from liferaft.errors import DeadlineExceeded, Overloaded, Unreachable


@pytest.mark.slow
async def test_calls_arrive_at_their_rate_whatever_becomes_of_those_before() -> None:
    fates = (None, Overloaded("full"), DeadlineExceeded("late"), Unreachable("gone"))

    async def call(number: int) -> None:
        await asyncio.sleep(0.1)
        fate = fates[number % 4]
        if fate is not None:
            raise fate

    offered = await offer(call, rate=400, seconds=0.5)

    assert 200 == offered.calls
    assert [50] * 4 == [offered.answered, offered.refused, offered.late, offered.failed]
    assert (100.0, 0.25) == (offered.goodput, offered.refused_share)
    assert offered.p50 is not None
    assert offered.p50 >= 0.1


def offered(answered: int) -> Offered:
    return Offered(
        rate=100.0,
        seconds=1.0,
        calls=100,
        answered=answered,
        refused=0,
        late=0,
        failed=0,
        p50=None,
        p99=None,
        refused_p50=None,
        refused_p99=None,
        lateness=0.0,
        busy=0.0,
    )


@pytest.mark.parametrize(("left", "is_kept"), [((90, 80, 10), True), ((79, 50, 100), False)])
def test_four_fifths_of_the_peak_must_be_left_in_most_rounds(
    left: tuple[int, ...], *, is_kept: bool
) -> None:
    rounds = tuple(Round(offered(100), offered(each), 0, has_other_leader=False) for each in left)

    assert (
        is_kept is Overload(256, is_pinned=True, rising=(), memory_bytes=0, rounds=rounds).is_kept
    )


@pytest.mark.slow
@pytest.mark.processes
async def test_a_real_cluster_is_measured() -> None:
    found = await bench_overload(rounds=1, seconds=0.3, size_bytes=64)

    assert 7 == len(found.rising)
    assert found.rounds[0].peak.answered > 0
    assert found.memory_bytes > 0
