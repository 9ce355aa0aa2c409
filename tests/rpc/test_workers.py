"""A job whose time is up when its turn comes is not begun, and holds up nobody behind it."""

import asyncio
import functools
import threading
from typing import Any

import msgspec
import pytest

from liferaft.errors import DeadlineExceeded
from liferaft.rpc import deadline as ambient
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.codec import encode
from liferaft.rpc.workers import Job, Workers

LOOPTIME = pytest.mark.looptime(noop_cycles=0)


class Noted(Job, eq=False):
    """Notes its outcome, and is waited for."""

    deadline: float | None = None
    outcome: asyncio.Future[CallFrame | BaseException] = msgspec.field(
        default_factory=asyncio.Future
    )

    def encode(self, result: Any) -> CallFrame:
        return encode(result)

    def done(self, outcome: CallFrame | BaseException) -> None:
        self.outcome.set_result(outcome)


@LOOPTIME
@pytest.mark.parametrize("is_async", [True, False])
async def test_what_comes_too_late_is_not_begun(is_async: bool) -> None:
    begun: list[int] = []

    async def work() -> None:
        begun.append(1)

    workers = Workers(threads=0, is_serial=False)
    now = asyncio.get_running_loop().time()
    late = Noted(work if is_async else lambda: begun.append(2), now)
    workers.start(late, is_async=is_async)
    await workers.stop()

    assert [] == begun
    assert isinstance(late.outcome.result(), DeadlineExceeded)


@LOOPTIME
async def test_those_behind_one_that_is_late_have_their_turn() -> None:
    begun: list[int] = []

    async def rest() -> None:
        await asyncio.sleep(2)

    async def note(number: int) -> None:
        begun.append(number)

    workers = Workers(threads=8, is_serial=True)
    soon = asyncio.get_running_loop().time() + 1
    late = [Noted(functools.partial(note, number), soon) for number in (1, 2)]
    last = Noted(functools.partial(note, 3))
    for job in (Noted(rest), *late, last):
        workers.start(job, is_async=True)
    await last.outcome
    await workers.stop()

    assert [3] == begun
    assert all(isinstance(job.outcome.result(), DeadlineExceeded) for job in late)


async def test_a_blocking_one_is_looked_at_when_its_thread_is_free_and_knows_the_time_it_has() -> (
    None
):
    loop = asyncio.get_running_loop()
    gate = threading.Event()
    left: list[float | None] = []

    def hold() -> None:
        gate.wait()

    def look() -> None:
        left.append(ambient.time_left())

    workers = Workers(threads=1, is_serial=False)
    late, now = Noted(look, loop.time() + 0.01), loop.time()
    jobs = [Noted(hold), late, Noted(look, now + 600)]
    for job in jobs:
        workers.start(job, is_async=False)
    await asyncio.sleep(0.02)
    passed = loop.time() - now
    gate.set()
    for job in jobs:
        await job.outcome
    await workers.stop()

    assert isinstance(late.outcome.result(), DeadlineExceeded)
    assert 1 == len(left)
    assert left[0] is not None
    assert left[0] <= 600 - passed
