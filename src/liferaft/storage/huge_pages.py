"""Gathers the memory of the process in huge pages, so that a copy of the process begins quickly.

To copy a process (fork) the system goes through its page tables: some 20 ms for each GiB in pages
of 4 KiB, in which the process stands still, and about one in pages of 2 MiB. Linux from 6.1 on
gathers small pages into huge ones when it is asked (madvise(2), MADV_COLLAPSE), while the process
goes on, but for who needs new memory at that moment. Where the system does not, nothing is changed,
and the copy begins later.
"""

import asyncio
import contextlib
import ctypes
import mmap
import os
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
"""How much of a huge page must be in use: gathering fills its holes with memory, too."""

_REST: Final = 2.0
"""How long a pause follows each huge page, in parts of the time that it took."""

_REGION: Final = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw.p 0+ 00:00 0 *(\[heap\])?$", re.MULTILINE)

_PAGEMAP_ENTRY_BYTES: Final = 8
_IS_PRESENT: Final = 0x80
"""In the last byte of an entry of /proc/self/pagemap: whether there is memory behind the page."""


async def gather() -> int:
    """Gather what is worth it; returns how many bytes are in huge pages for it, 0 where none are.

    Takes up to ten seconds for each GiB, a third of that on a thread, without the interpreter's
    lock. A huge page at a time, with pauses: who needs new memory meanwhile, be it again and again,
    waits for about one.
    """
    gathered = 0
    # Whatever of this the system does not have, or not let us have, is no harm.
    with contextlib.suppress(OSError, AttributeError):
        for address in await asyncio.to_thread(_addresses):
            began = time.monotonic()
            gathered += await asyncio.to_thread(_collapse, address)
            await asyncio.sleep(_REST * (time.monotonic() - began))
    return gathered


def _addresses() -> list[int]:
    """Return where the process may have memory that is worth gathering, a huge page each."""
    if sys.platform != "linux":
        return []
    addresses = [each for region in _regions() for each in region]
    return addresses if len(addresses) * _HUGE_BYTES >= _WORTHWHILE_BYTES else []


def _regions() -> Iterator[range]:
    """Give the huge pages that fit into each region of memory of the process's own."""
    # Not smaps: to count what is in use the system would keep the process from growing for long.
    for region in _REGION.finditer(Path("/proc/self/maps").read_text()):
        start, stop = int(region[1], 16), int(region[2], 16)
        first = -(-start // _HUGE_BYTES) * _HUGE_BYTES
        yield range(first, stop - _HUGE_BYTES + 1, _HUGE_BYTES)


def _collapse(address: int) -> int:
    """Gather one huge page if enough of it is in use; returns its bytes, else 0."""
    pages = _HUGE_BYTES // mmap.PAGESIZE
    pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        first = address // mmap.PAGESIZE * _PAGEMAP_ENTRY_BYTES
        entries = os.pread(pagemap, pages * _PAGEMAP_ENTRY_BYTES, first)
    finally:
        os.close(pagemap)
    ends = entries[_PAGEMAP_ENTRY_BYTES - 1 :: _PAGEMAP_ENTRY_BYTES]
    if sum(each >= _IS_PRESENT for each in ends) < _FILLED * pages:
        return 0
    return _HUGE_BYTES if _madvise()(address, _HUGE_BYTES, _MADV_COLLAPSE) == 0 else 0


@cache
def _madvise() -> Callable[[int, int, int], int]:
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return prototype(("madvise", ctypes.CDLL(None)))
