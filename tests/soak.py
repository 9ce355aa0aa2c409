"""Everything that takes long, for as long as it is given: `python -m tests.soak --seconds 3600`.

The parts share the time and run one after the other: seeds that no run had before, on both
fidelities; hypothesis' machines for links, sessions and the log, and the checker against its twin,
with examples that are always others; the fuzzers; byte flips; strangers; and chaos on real
processes. Exit status 1 when any of them found something; what it said tells how to see it again.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from tests.fuzz.targets import TARGETS

SHARES = {
    "core": 0.2,
    "full": 0.25,
    "machines": 0.1,
    "fuzz": 0.1,
    "flips": 0.05,
    "hostile": 0.1,
    "chaos": 0.2,
}
"""How the time is shared."""

SECONDS_MIN = 60
CORE_BATCH, FULL_BATCH = 200, 40
"""Seeds between two looks at the clock."""
ATTACKS = 9
MACHINES = (
    "tests/link/test_link_machine.py",
    "tests/rpc/test_session_machine.py",
    "tests/storage/test_wal_machine.py",
    "tests/check/test_twin.py",
)


def main(arguments: Sequence[str]) -> int:
    """Run all parts and return 1 when one of them found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    seconds = max(SECONDS_MIN, parser.parse_args(arguments).seconds)
    found = [name for name, share in SHARES.items() if not _PARTS[name](seconds * share)]
    print(f"found something: {', '.join(found)}" if found else "nothing was found")  # noqa: T201
    return 1 if found else 0


def _seeds(fidelity: str, batch: int, seconds: float) -> bool:
    """Run seeds that are new each time, until the time is up or one fails."""
    first, end = time.time_ns() // 1_000_000 % 10**9, time.monotonic() + seconds
    while time.monotonic() < end:
        command = ["sim", "--fidelity", fidelity, "--first-seed", str(first), "--seeds", str(batch)]
        nodes = str((3, 5, 4, 7)[first // batch % 4])
        if not _run("liferaft", *command, "--nodes", nodes, "--jobs", "2"):
            return False
        first += batch
    return True


def _machines(seconds: float) -> bool:
    """Try what hypothesis makes up; a machine whose time is up has found nothing so far."""
    environment = os.environ | {"LIFERAFT_PROFILE": "soak"}
    has_held = True
    for path in MACHINES:
        print(f"-- LIFERAFT_PROFILE=soak pytest {path}", flush=True)  # noqa: T201
        command = [sys.executable, "-m", "pytest", "-q", "--timeout", "0", path]
        with subprocess.Popen(command, env=environment) as process:
            try:
                has_held &= process.wait(timeout=seconds / len(MACHINES)) == 0
            except subprocess.TimeoutExpired:
                process.kill()
                print(f"its time is up: {path} has found nothing so far", flush=True)  # noqa: T201
    return has_held


def _run(module: str, *arguments: str) -> bool:
    print(f"-- {module} {' '.join(arguments)}", flush=True)  # noqa: T201
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode == 0


_PARTS: Mapping[str, Callable[[float], bool]] = {
    "core": lambda seconds: _seeds("core", CORE_BATCH, seconds),
    "full": lambda seconds: _seeds("full", FULL_BATCH, seconds),
    "machines": _machines,
    "fuzz": lambda seconds: _run(
        "tests.fuzz.run", "--seconds", str(max(1, round(seconds / len(TARGETS))))
    ),
    "flips": lambda seconds: _run(
        "tests.storage.byte_flips", "--flips", str(max(1_000, round(seconds * 600)))
    ),
    "hostile": lambda seconds: _run(
        "liferaft.ops.hostile", "--seconds", str(max(1, round(seconds / ATTACKS / 2)))
    ),
    "chaos": lambda seconds: _run("liferaft", "chaos", "--soak", "--seconds", str(round(seconds))),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
