"""Work done by a copy of the process as it is now, while the process itself goes on.

What the copy sees does not change any more, so that a state of any size can be written down without
a lock and without stopping who uses it: the system copies a page only when one of the two changes
it. The copy shares nothing with the process but the page cache: it holds no socket, no lock and no
terminal, and ends when the process does.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, NoReturn

import msgspec

from liferaft.errors import DiskFailed

CAN_FORK: Final = hasattr(os, "fork")

_log = logging.getLogger("liferaft.storage")

INTERPRETERS_OWN_MAX: Final = 2_000
"""Python 3.12 has some hundred frozen objects of its own; who freezes a program has many more."""

_READ_BYTES = 65_536
_NICENESS = 10
"""The copy shall not take the processor from who answers calls."""


class _Outcome(msgspec.Struct, frozen=True):
    """What the copy says when it is done. `errno` is 0 where no system call failed."""

    result: bytes = b""
    problem: str = ""
    errno: int = 0


def run_forked(work: Callable[[], bytes]) -> Awaitable[bytes]:
    """Begin `work` in a copy of the process, at once, and return what will be its result.

    Awaiting it raises `OSError` where a system call failed in the copy, and `DiskFailed` for any
    other reason; cancelling it ends the copy. `work` must touch no lock that another thread may
    hold, and no event loop.
    """
    parent = os.getpid()
    reader, writer = os.pipe()
    began = time.monotonic()
    _shared_objects.share()
    try:
        child = os.fork()
    except OSError:
        _shared_objects.release()
        os.close(reader)
        os.close(writer)
        raise
    if child == 0:
        _be_the_copy(work, writer, parent)
    os.close(writer)
    _log.debug("the process stood still for %.1f ms", (time.monotonic() - began) * 1e3)
    return _Copy(child, reader).result


def while_parent_lives(chunks: Iterable[bytes], parent: int) -> Iterator[bytes]:
    """Give the chunks, but end the process where `parent` is not its parent any more."""
    for chunk in chunks:
        if os.getppid() != parent:
            os._exit(1)
        yield chunk


def _be_the_copy(work: Callable[[], bytes], writer: int, parent: int) -> NoReturn:
    """Do the work, tell the outcome, and end without a trace of what the process would do."""
    try:
        try:
            _let_go_of_all_but(writer)
            outcome = _Outcome(work())
        except OSError as error:
            outcome = _Outcome(problem=error.strerror or str(error), errno=error.errno or 0)
        except BaseException as error:  # noqa: BLE001 - the process that waits raises it
            outcome = _Outcome(problem=f"{type(error).__name__}: {error}")
        if os.getppid() == parent:
            # Not closed: so the end of the pipe is seen when the system has taken the memory back,
            # which takes long, and nobody waits for that.
            _write_all(writer, msgspec.msgpack.encode(outcome))
    finally:
        os._exit(0)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _let_go_of_all_but(descriptor: int) -> None:
    gc.disable()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    # Who reads what the process prints, up to its end, must not wait for the copy.
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.closerange(3, descriptor)
    os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)


class _SharedObjects:
    """Keeps Python's garbage collector off the objects that copies share, as long as there are any.

    It writes to each object that it looks at, so the system would have to copy nearly all pages
    while the process waits. Who has frozen objects himself has seen to that.
    """

    def __init__(self) -> None:
        self._copies = 0
        self._is_ours = False

    def share(self) -> None:
        """Let a copy share all objects that there are."""
        if self._copies == 0:
            self._is_ours = gc.get_freeze_count() < INTERPRETERS_OWN_MAX
        self._copies += 1
        if self._is_ours:
            gc.freeze()

    def release(self) -> None:
        """Know that a copy has ended."""
        self._copies -= 1
        if self._copies == 0 and self._is_ours:
            gc.unfreeze()


_shared_objects: Final = _SharedObjects()


class _Copy:
    """A copy at work, as seen from the process: `result` is done when the copy is."""

    def __init__(self, child: int, reader: int) -> None:
        self._child = child
        self._reader = reader
        self._parts: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[bytes] = self._loop.create_future()
        os.set_blocking(reader, False)
        self._loop.add_reader(reader, self._read)
        self.result.add_done_callback(self._let_go)

    def _read(self) -> None:
        """Take what the copy says; the end of the pipe is when it has ended."""
        try:
            data = os.read(self._reader, _READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._parts.append(data)
        elif not self.result.done():
            self._conclude()

    def _conclude(self) -> None:
        if not self._parts:
            self.result.set_exception(DiskFailed("the copy of the process ended without a word"))
            return
        outcome = msgspec.msgpack.decode(b"".join(self._parts), type=_Outcome)
        if outcome.errno:
            self.result.set_exception(OSError(outcome.errno, outcome.problem))
        elif outcome.problem:
            problem = f"the copy of the process failed: {outcome.problem}"
            self.result.set_exception(DiskFailed(problem))
        else:
            self.result.set_result(outcome.result)

    def _let_go(self, result: asyncio.Future[bytes]) -> None:
        """Leave nothing of the copy behind; it has ended by itself unless nobody wants it now."""
        self._loop.remove_reader(self._reader)
        os.close(self._reader)
        if result.cancelled():
            os.kill(self._child, signal.SIGKILL)
        _shared_objects.release()
        try:
            # On a thread: the system first takes back the copy's memory, with the copy's niceness.
            self._loop.run_in_executor(None, os.waitpid, self._child, 0)
        except RuntimeError:
            os.waitpid(self._child, 0)  # the loop has no threads any more: nobody is kept waiting
