"""Children that end when their parent does, and are signalled by nobody else."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from liferaft.ops.child import ChildProcess

pytestmark = pytest.mark.processes

ECHO = (sys.executable, "-uc", "import sys; print('ready'); sys.stdin.read(); print('finished')")
IGNORE = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready')"
DEAF = (sys.executable, "-uc", f"{IGNORE}; signal.pause()")
PARENT = """
import asyncio, os, signal
from liferaft.ops.child import ChildProcess

async def main():
    child = await ChildProcess.start(CHILD)
    await child.read_line()
    if IS_PAUSED:
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
    print(child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_child_ends_its_work_when_its_input_ends() -> None:
    child = await ChildProcess.start(ECHO)
    first = await child.read_line()
    child.close_stdin()
    rest = [line async for line in child.lines()]

    assert ("ready", ["finished"], 0) == (first, rest, await child.wait())


async def test_a_child_that_does_not_listen_is_killed() -> None:
    child = await ChildProcess.start(DEAF)
    await child.read_line()

    assert -signal.SIGKILL == await child.stop(timeout=0.1)


async def test_a_paused_child_is_stopped() -> None:
    child = await ChildProcess.start(ECHO)
    await child.read_line()
    child.send_signal(signal.SIGSTOP)

    assert -signal.SIGTERM == await child.stop()


async def test_a_child_that_has_ended_may_be_ended_again() -> None:
    child = await ChildProcess.start(ECHO)
    statuses = [await child.kill(), await child.kill(), await child.stop()]

    assert [-signal.SIGKILL] * 3 == statuses


async def test_a_signal_does_not_lose_the_status_of_a_child_that_has_just_ended() -> None:
    """The moment between its end and our hearing of it is short, so it is tried many times."""
    statuses: list[int] = []
    for _ in range(40):
        child = await ChildProcess.start(("/bin/sh", "-c", "exit 3"))
        await child.read_line()  # nothing: its stdout ends with it
        statuses.append(await child.kill())

    assert set(statuses) <= {3, -signal.SIGKILL}


async def test_what_a_child_says_on_stderr_is_appended_to_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for word in ("one", "two"):
        child = await ChildProcess.start(
            (sys.executable, "-c", f"import sys; print('{word}', file=sys.stderr)"), log=log
        )
        await child.wait()

    assert ["one", "two"] == log.read_text().splitlines()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux tells when a stranger ends")
@pytest.mark.parametrize("is_paused", [False, True], ids=["running", "paused"])
async def test_no_child_outlives_a_parent_that_is_killed(is_paused: bool) -> None:
    code = PARENT.replace("CHILD", repr(ECHO)).replace("IS_PAUSED", repr(is_paused))
    parent = await ChildProcess.start((sys.executable, "-c", code))
    pidfd = os.pidfd_open(int(await parent.read_line()))
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(pidfd, ended.set)
    await parent.kill()
    async with asyncio.timeout(30):
        await ended.wait()
    asyncio.get_running_loop().remove_reader(pidfd)
    os.close(pidfd)

    assert ended.is_set()
