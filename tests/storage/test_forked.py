"""A copy of the process that writes down a state while the process goes on."""

import asyncio
import errno
import gc
import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest

from liferaft.errors import DiskFailed
from liferaft.storage.disk import SystemDisk
from liferaft.storage.forked import CAN_FORK, INTERPRETERS_OWN_MAX, run_forked


async def test_the_copy_sees_the_state_of_the_moment_at_which_it_began() -> None:
    state = [b"then"]

    def work() -> bytes:
        return state[0]

    running = run_forked(work)
    state[0] = b"now"

    assert await running == b"then"


async def test_a_failed_call_of_the_copy_is_raised_as_it_was() -> None:
    def work() -> bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="space") as caught:
        await run_forked(work)

    assert caught.value.errno == errno.ENOSPC


async def test_a_fault_of_the_copy_is_told() -> None:
    def work() -> bytes:
        raise ValueError("an integer too large")

    with pytest.raises(DiskFailed, match="ValueError: an integer too large"):
        await run_forked(work)


async def test_a_copy_that_ends_without_a_word_is_told() -> None:
    with pytest.raises(DiskFailed, match="without a word"):
        await run_forked(lambda: os._exit(3))


async def test_the_copy_holds_none_of_the_files_of_the_process(tmp_path: Path) -> None:
    """A lock or a socket that it kept would outlive the process."""
    descriptor = os.open(tmp_path / "held", os.O_RDWR | os.O_CREAT)

    def work() -> bytes:
        os.fstat(descriptor)
        return b""

    try:
        with pytest.raises(OSError, match="descriptor"):
            await run_forked(work)
    finally:
        os.close(descriptor)


async def test_the_copy_holds_nothing_that_the_process_prints_to() -> None:
    """Who waits for the end of the output waits for the process alone."""

    def work() -> bytes:
        nothing = Path(os.devnull).stat().st_rdev
        return bytes(os.fstat(number).st_rdev == nothing for number in range(3))

    assert bytes([True] * 3) == await run_forked(work)


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list into which the number of each copy of the process will come."""
    numbers: list[int] = []
    fork = os.fork

    def noting_fork() -> int:
        numbers.append(fork())
        return numbers[-1]

    monkeypatch.setattr(os, "fork", noting_fork)
    return numbers


async def test_who_stops_to_wait_ends_the_copy(copies: list[int]) -> None:
    reader, writer = os.pipe()

    def work() -> bytes:
        os.read(reader, 1)
        return b""

    task = asyncio.ensure_future(run_forked(work))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    os.close(reader)
    os.close(writer)
    await asyncio.get_running_loop().shutdown_default_executor()

    [copy] = copies
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, copy, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 - it does not wait


async def test_a_copy_that_is_given_up_when_the_loop_has_no_threads_any_more_is_ended(
    copies: list[int],
) -> None:
    def stay() -> bytes:
        signal.pause()
        return b""

    running = asyncio.ensure_future(run_forked(stay))
    await asyncio.get_running_loop().shutdown_default_executor()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(0)

    [copy] = copies
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, copy, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 - it does not wait


async def test_the_process_goes_on_while_the_system_still_takes_a_copy_down(
    copies: list[int],
) -> None:
    """That takes long where the copy is large, and longer as the processor is others' first."""

    def say_nothing_and_stay() -> bytes:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        signal.alarm(10)
        signal.pause()
        return b""

    with pytest.raises(DiskFailed, match="without a word"):
        await run_forked(say_nothing_and_stay)

    [copy] = copies
    os.kill(copy, signal.SIGKILL)
    await asyncio.get_running_loop().shutdown_default_executor()


class Copies:
    """Copies of the process that wait until nobody waits for them any more."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[bytes]] = []

    def begin(self) -> None:
        def wait() -> bytes:
            signal.pause()
            return b""

        self._waiting.append(asyncio.ensure_future(run_forked(wait)))

    async def end_first(self) -> None:
        waiting = self._waiting.pop(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0)


async def test_the_garbage_collector_leaves_alone_what_copies_share() -> None:
    """It would write to every object, and so have the system copy all of them meanwhile."""
    copies = Copies()
    frozen = [gc.get_freeze_count()]
    copies.begin()
    copies.begin()
    frozen.append(gc.get_freeze_count())
    await copies.end_first()
    frozen.append(gc.get_freeze_count())
    await copies.end_first()
    frozen.append(gc.get_freeze_count())

    assert [False, True, True, False] == [count > INTERPRETERS_OWN_MAX for count in frozen]


async def test_what_is_made_beside_a_copy_is_shared_with_the_next_one() -> None:
    copies = Copies()
    copies.begin()
    before = gc.get_freeze_count()
    made = [[number] for number in range(1000)]
    copies.begin()
    after = gc.get_freeze_count()
    await copies.end_first()
    await copies.end_first()

    assert after >= before + len(made)


async def test_what_the_program_has_frozen_itself_stays_so() -> None:
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        made = [[number] for number in range(1000)]
        await run_forked(bytes)

        # Some of what was frozen has ceased to be; nothing was added, and nothing set free.
        assert count - len(made) < gc.get_freeze_count() <= count
    finally:
        gc.unfreeze()


async def test_a_process_that_cannot_be_copied_goes_on_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", failing)
    with pytest.raises(BlockingIOError):
        run_forked(bytes)

    assert gc.get_freeze_count() < INTERPRETERS_OWN_MAX


async def test_a_disk_writes_chunks_as_they_are_when_it_is_asked(tmp_path: Path) -> None:
    state = [b"then"]

    def write(chunks: Iterable[bytes]) -> bytes:
        (tmp_path / "written").write_bytes(b"".join(chunks))
        return b"done"

    disk = SystemDisk()
    writing = disk.write_aside((each for each in state), write)
    state[0] = b"now"
    result = await writing
    await disk.close()

    assert (b"done", b"then") == (result, (tmp_path / "written").read_bytes())


@pytest.mark.skipif(not CAN_FORK, reason="the system has no fork")
async def test_trap_34_a_snapshot_is_written_by_a_process_of_its_own() -> None:
    """So neither the loop nor the interpreter's lock is held, and heartbeats go on meanwhile."""
    disk = SystemDisk()
    writer = await disk.write_aside((), lambda _: b"%d" % os.getpid())
    await disk.close()

    assert os.getpid() != int(writer)
