"""What a node's process runs on."""

import asyncio
import time

from liferaft.ops.hosting import new_event_loop


def test_the_loop_reads_its_clock_anew_each_time() -> None:
    """A lease, or the age of a state, must not be judged by the time at which a turn began."""

    async def passed() -> float:
        loop = asyncio.get_running_loop()
        before = loop.time()
        time.sleep(0.02)  # noqa: ASYNC251 - as a long turn, or a process that was stopped in it
        return loop.time() - before

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(passed()) >= 0.018
