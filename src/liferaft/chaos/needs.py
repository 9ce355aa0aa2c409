"""What a fault needs of the machine, and whether this one has it. Nothing is installed here.

Each need is tried out once, for what it is needed for: a container may have the tool and not the
leave to use it.
"""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final

from liferaft.chaos.loop_disk import SIZE_BYTES_MIN, LoopDisk, ToolFailed


class Need(StrEnum):
    """What a fault may need beyond processes of its own."""

    LOOP = "loop"
    """Root, loop devices and ext4, for file systems of our own."""
    STRACE = "strace"
    """strace, and leave to attach it to a process that is not its child."""


def lacking(needs: Iterable[Need]) -> str:
    """Return, in a sentence, what this machine lacks of `needs`; empty when it has them all."""
    return "; ".join(filter(None, map(_lack_of, sorted(needs))))


@functools.cache
def _lack_of(need: Need) -> str:
    return _CHECKS[need]()


def _lack_of_loop() -> str:
    if os.geteuid() != 0:
        return "file systems of its own need root"
    with tempfile.TemporaryDirectory(prefix="liferaft-") as name:
        disk = LoopDisk(Path(name) / "mounted", size_bytes=SIZE_BYTES_MIN)
        try:
            disk.make()
        except ToolFailed as error:
            return str(error)
        finally:
            disk.close()
    return ""


def _lack_of_strace() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed: apt install strace"
    program = (sys.executable, "-c", "import sys; sys.stdin.read()")
    with (
        subprocess.Popen(program, stdin=subprocess.PIPE) as victim,  # noqa: S603 - our own
        _trace(victim) as tracer,
    ):
        assert tracer.stderr is not None
        answer = tracer.stderr.readline().strip()
        assert victim.stdin is not None
        victim.stdin.close()  # which ends both
    if answer.endswith("attached"):
        return ""
    return f"strace may not attach to other processes, which root may: {answer}"


def _trace(victim: subprocess.Popen[bytes]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - a number is all that is added
        ("strace", "-p", str(victim.pid), "-e", "trace=none"),  # noqa: S607 - it was looked for
        stderr=subprocess.PIPE,
        text=True,
    )


_CHECKS: Final[dict[Need, Callable[[], str]]] = {
    Need.LOOP: _lack_of_loop,
    Need.STRACE: _lack_of_strace,
}
