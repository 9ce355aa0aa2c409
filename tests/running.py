"""Real processes that a test starts, and that never outlive it."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def running(
    *command: str | Path,
    stdin: int | None = None,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Run a command whose output the test reads; it is killed when the block ends before it.

    `Popen` alone would wait for it, without end, when the test has already failed.
    """
    with subprocess.Popen(
        command, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, text=True, env=env, cwd=cwd
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def output_of(process: subprocess.Popen[str]) -> IO[str]:
    """Return what `process` writes to its standard output."""
    assert process.stdout is not None
    return process.stdout


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
