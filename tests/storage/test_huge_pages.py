"""Memory that is gathered is what it was, and a small process is left alone."""

import subprocess
import sys

SCRIPT = """
import asyncio
from liferaft.storage.huge_pages import gather
before = [bytes([number % 251]) * 1024 for number in range({count})]
gathered = asyncio.run(gather())
assert all(each == bytes([number % 251]) * 1024 for number, each in enumerate(before))
print(gathered)
"""


def gathered_bytes(count: int) -> int:
    """Return what a process of its own gathers that holds so many KiB."""
    command = [sys.executable, "-c", SCRIPT.format(count=count)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_the_memory_of_a_large_process_is_what_it_was() -> None:
    assert 0 <= gathered_bytes(300_000) < 2**30


def test_a_small_process_is_left_alone() -> None:
    assert gathered_bytes(1000) == 0
