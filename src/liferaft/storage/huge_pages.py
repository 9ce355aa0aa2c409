"""Gathers the memory of the process in huge pages, so that a copy of the process begins quickly.

To copy a process (fork) the system goes through its page tables: some 20 ms for each GiB in pages
of 4 KiB, in which the process stands still, and about one in pages of 2 MiB. Linux from 6.1 on
gathers small pages into huge ones when it is asked (madvise(2), MADV_COLLAPSE), while the process
goes on. Where the system does not, nothing is changed, and the copy begins later.
"""

import ctypes
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MADV_COLLAPSE: Final = 25
_HUGE_BYTES: Final = 2 * 1024 * 1024
_WORTHWHILE_BYTES: Final = 128 * 1024 * 1024
"""With less, a copy begins within a few milliseconds anyway."""

_FILLED: Final = 0.75
"""How much of a region must be in use: gathering fills its holes with memory, too."""

_REGION: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw.p 0+ 00:00 0 *(\[heap\])?$")
_RESIDENT: Final = re.compile(r"Rss: +([0-9]+) kB$")


def gather() -> int:
    """Gather what is worth it; returns how many bytes are in huge pages for it, 0 where none are.

    Takes up to seconds for each GiB, without the interpreter's lock: call it on a thread.
    """
    if sys.platform != "linux":
        return 0
    try:
        regions = list(_regions(Path("/proc/self/smaps").read_text()))
        madvise = ctypes.CDLL(None, use_errno=True).madvise
    except (OSError, AttributeError):
        return 0
    if sum(stop - start for start, stop in regions) < _WORTHWHILE_BYTES:
        return 0
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    gathered = 0
    for start, stop in regions:
        first = -(-start // _HUGE_BYTES) * _HUGE_BYTES
        # A huge page at a time: whoever needs new memory meanwhile waits for no more than one.
        for address in range(first, stop - _HUGE_BYTES + 1, _HUGE_BYTES):
            if madvise(address, _HUGE_BYTES, _MADV_COLLAPSE) == 0:
                gathered += _HUGE_BYTES
    return gathered


def _regions(smaps: str) -> Iterator[tuple[int, int]]:
    """Give the beginning and end of each region of memory that is large and well filled."""
    start = stop = 0
    for line in smaps.splitlines():
        region = _REGION.match(line)
        if region:
            start, stop = int(region[1], 16), int(region[2], 16)
            continue
        resident = _RESIDENT.match(line)
        if resident and stop - start >= _HUGE_BYTES:
            if int(resident[1]) * 1024 >= _FILLED * (stop - start):
                yield start, stop
            start = stop = 0
