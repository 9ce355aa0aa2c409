"""The process that fuzzes one target, under limits of its own; started by tests.fuzz.run.

It never returns: libFuzzer ends the process, with 0 when the time is up and with another status at
the first input that raised what is not declared, took too long, or needed too much memory.
"""

import importlib
import logging
import resource
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fuzz.target import Target

MEMORY_BYTES_MAX = 256 * 1024 * 1024
"""What one input may make of the whole process: the issue's bound."""

ADDRESS_BYTES_MAX = 8 * MEMORY_BYTES_MAX
"""Address space holds mapped libraries and reserved stacks too, several times what is in use; this
stops what asks for a huge piece at once, before it is touched and counted as memory in use."""

INPUT_SECONDS_MAX = 1.0
"""What one input may take of a processor: a busy machine may hold a process up for longer."""

HANG_SECONDS = 10
"""When libFuzzer ends an input that does not end by itself."""


def main(target_name: str, options: list[str]) -> None:
    """Fuzz until libFuzzer ends the process. `options` are libFuzzer's."""
    atheris: Any = importlib.import_module("atheris")  # it is not made for every Python
    with atheris.instrument_imports(include=["liferaft"]):
        from tests.fuzz.targets import TARGETS

    logging.disable(logging.CRITICAL)
    target = TARGETS[target_name]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES_MAX, ADDRESS_BYTES_MAX))
    limits = [
        f"-timeout={HANG_SECONDS}",
        f"-rss_limit_mb={(MEMORY_BYTES_MAX + inherited_bytes()) // 2**20}",
        f"-max_len={target.input_bytes_max}",
    ]
    # libFuzzer gives its own first argument to a shell when it starts itself again, to merge.
    command = f"{sys.executable} -m tests.fuzz.child {target_name}"
    atheris.Setup([command, *limits, *options], partial(try_in_time, target))
    atheris.Fuzz()


def inherited_bytes() -> int:
    """Return what the process that started this one adds to this one's peak of memory.

    Linux counts what it had in use when it started this one, and libFuzzer goes by that peak.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return max(0, peak - pages * resource.getpagesize())


def try_in_time(target: "Target", data: bytes) -> None:
    """Try one input, and hold it to its time."""
    began = time.process_time()
    target.try_on(data)
    seconds = time.process_time() - began
    if seconds > INPUT_SECONDS_MAX:
        raise TimeoutError(f"{len(data)} bytes took {seconds:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
