"""Memory that is gathered is what it was, and what is not worth it is left alone."""

import subprocess
import sys

HUGE_BYTES = 2 * 1024 * 1024

SCRIPT = """
import asyncio, mmap, resource
from liferaft.storage.huge_pages import gather
before = [bytes([number % 251]) * 1024 for number in range({count})]
unused = mmap.mmap(-1, {unused}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for half in range(0, {unused}, 2 * 1024 * 1024):
    unused[half : half + 1024 * 1024] = b"." * 1024 * 1024
most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gathered = asyncio.run(gather())
assert all(each == bytes([number % 251]) * 1024 for number, each in enumerate(before))
print(gathered, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most)
"""


def gathered(count: int, *, unused_bytes: int = HUGE_BYTES) -> tuple[int, int]:
    """Return how many bytes a process of its own gathers that holds so many KiB, and its growth.

    Of `unused_bytes` it uses half, in pieces too small for huge pages. Growth is in KiB.
    """
    script = SCRIPT.format(count=count, unused=unused_bytes)
    printed = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout
    found, growth = map(int, printed.split())
    return found, growth


def test_the_memory_of_a_large_process_is_what_it_was() -> None:
    assert 0 <= gathered(300_000)[0] < 2**30


def test_a_small_process_is_left_alone() -> None:
    assert gathered(1000)[0] == 0


def test_holes_are_not_filled() -> None:
    _, growth = gathered(100_000, unused_bytes=2**28)

    assert growth < 50_000
