"""Gathers the memory of the process in huge pages, so that a copy of the process begins quickly.

To copy a process (fork) the system goes through its page tables: some 20 ms for each GiB in pages
of 4 KiB, in which the process stands still, and about one in pages of 2 MiB. Linux from 6.1 on
gathers small pages into huge ones when it is asked (madvise(2), MADV_COLLAPSE), while the process
goes on, but for who needs new memory at that moment. Where the system does not, nothing is changed,
and the copy begins later.
"""

import asyncio
import ctypes
import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
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


_REST: Final = 2.0
"""How long a pause follows each huge page, in parts of the time that it took."""


async def gather() -> int:
    """Gather what is worth it; returns how many bytes are in huge pages for it, 0 where none are.

    Takes up to ten seconds for each GiB, a third of that on a thread, without the interpreter's
    lock. A huge page at a time, with pauses: who needs new memory meanwhile, be it again and again,
    waits for about one.
    """
    gathered = 0
    for address in await asyncio.to_thread(_addresses):
        began = time.monotonic()
        gathered += await asyncio.to_thread(_collapse, address)
        await asyncio.sleep(_REST * (time.monotonic() - began))
    return gathered


def _addresses() -> list[int]:
    """Return where the process has memory that is worth gathering, a huge page each."""
    if sys.platform != "linux":
        return []
    try:
        regions = list(_regions(Path("/proc/self/smaps").read_text()))
        _madvise()
    except (OSError, AttributeError):
        return []
    addresses: list[int] = []
    for start, stop in regions:
        first = -(-start // _HUGE_BYTES) * _HUGE_BYTES
        addresses += range(first, stop - _HUGE_BYTES + 1, _HUGE_BYTES)
    return addresses if len(addresses) * _HUGE_BYTES >= _WORTHWHILE_BYTES else []


def _collapse(address: int) -> int:
    """Gather one huge page; returns its bytes, 0 if that cannot be."""
    return _HUGE_BYTES if _madvise()(address, _HUGE_BYTES, _MADV_COLLAPSE) == 0 else 0


@cache
def _madvise() -> Callable[[int, int, int], int]:
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return prototype(("madvise", ctypes.CDLL(None)))


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
