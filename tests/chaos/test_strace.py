"""Meddling with the system calls of a process that runs."""

import signal
import sys
from pathlib import Path

import pytest

from liferaft.chaos.loop_disk import ToolFailed
from liferaft.chaos.strace import Meddling, Trace, count_calls
from liferaft.ops.child import ChildProcess

SYNC_ON_REQUEST = """
import os, sys
with open(sys.argv[1], "wb") as file:
    for line in sys.stdin:
        try:
            os.fdatasync(file.fileno())
        except OSError as error:
            print(error.strerror, flush=True)
        else:
            print("synced", flush=True)
"""


async def syncing_child(directory: Path) -> ChildProcess:
    return await ChildProcess.start(
        (sys.executable, "-c", SYNC_ON_REQUEST, str(directory / "file"))
    )


async def answers(child: ChildProcess, count: int) -> list[str]:
    found: list[str] = []
    for _ in range(count):
        await child.write_line("sync")
        found.append(await child.read_line())
    return found


def test_a_meddling_is_written_as_strace_reads_it() -> None:
    meddling = Meddling(("fdatasync", "fsync"), "error=EIO", 3)

    assert (
        "-e",
        "trace=?fdatasync,?fsync",
        "-e",
        "inject=?fdatasync,?fsync:error=EIO:when=3",
    ) == meddling.arguments()
    assert ("-e", "trace=?rename") == Meddling(("rename",)).arguments()


def test_calls_are_counted_by_name() -> None:
    lines = ["fsync(3)  = 0", "fsync(3) = ?", 'rename("a", "b") = 0', "+++ exited with 0 +++"]

    assert {"fsync": 2, "rename": 1} == count_calls(lines)


@pytest.mark.processes
@pytest.mark.usefixtures("strace")
async def test_one_sync_fails_and_those_before_and_after_do_not(tmp_path: Path) -> None:
    child = await syncing_child(tmp_path)
    meddling = Meddling(("fdatasync",), "error=EIO", 2)
    trace = await Trace.attach(child.pid, meddling, tmp_path / "trace")
    found = await answers(child, 3)
    await trace.detach()
    await child.stop()

    assert ["synced", "Input/output error", "synced"] == found
    assert trace.has_injected()
    assert 3 == sum("fdatasync(" in line for line in (tmp_path / "trace").read_text().splitlines())


@pytest.mark.processes
@pytest.mark.usefixtures("strace")
async def test_after_it_is_detached_a_process_goes_on_unharmed(tmp_path: Path) -> None:
    child = await syncing_child(tmp_path)
    trace = await Trace.attach(child.pid, Meddling(("fdatasync",), "error=EIO"), tmp_path / "trace")
    before = await answers(child, 1)
    await trace.detach()
    after = await answers(child, 1)
    await child.stop()

    assert (["Input/output error"], ["synced"]) == (before, after)


@pytest.mark.processes
@pytest.mark.usefixtures("strace")
async def test_a_process_is_killed_before_the_call_named(tmp_path: Path) -> None:
    child = await syncing_child(tmp_path)
    meddling = Meddling(("fdatasync",), "signal=SIGKILL", 2)
    trace = await Trace.attach(child.pid, meddling, tmp_path / "trace", has_threads=False)
    found = await answers(child, 2)
    await trace.wait_ended()

    assert (["synced", ""], -signal.SIGKILL) == (found, await child.wait())
    assert {"fdatasync": 2} == trace.counts()


@pytest.mark.processes
@pytest.mark.usefixtures("strace")
async def test_a_process_that_is_gone_cannot_be_traced(tmp_path: Path) -> None:
    child = await syncing_child(tmp_path)
    await child.kill()

    with pytest.raises(ToolFailed, match=r"strace could not attach: .*No such process"):
        await Trace.attach(child.pid, Meddling(("fsync",)), tmp_path / "trace")
