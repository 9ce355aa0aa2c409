"""What the log needs of a disk: the real one, and the contract that the faulty one keeps too.

File operations are plain blocking functions. They are called only from inside a function given to
`Disk.run`, which carries it out away from the event loop; functions run one after the other, in
the order in which they were given. The simulator's disk runs them at once and lets virtual time
pass.
"""

import asyncio
import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Protocol, TypeVar

from typing_extensions import override

from liferaft.errors import DataDirectoryError
from liferaft.storage.forked import CAN_FORK, run_forked, while_parent_lives
from liferaft.storage.huge_pages import gather

ResultT = TypeVar("ResultT")

LEFT_WITHIN: Final = 5.0
"""Seconds that a copy of a process which has ended may take to let go of what that had."""

_LOOK_AGAIN_AFTER: Final = 0.01


class File(Protocol):
    """An open file. Offsets and sizes are in bytes. All raise `OSError` as the system does."""

    def size(self) -> int:
        """Return the file's length."""

    def read(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`; fewer only at the end of the file."""

    def write(self, offset: int, data: bytes) -> None:
        """Write all of `data` at `offset`."""

    def truncate(self, size: int) -> None:
        """Cut or extend with zeros to `size`."""

    def allocate(self, size: int) -> None:
        """Reserve space so that the file is at least `size` long, zeros where nothing is."""

    def sync(self) -> None:
        """Return when all that was written is on stable storage (fdatasync)."""

    def close(self) -> None:
        """Close; without a sync, what was written may be lost in a crash."""


class Disk(Protocol):
    """A file system as far as the log needs one. Paths are plain strings, `/` between parts."""

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Carry out `work` away from the event loop and return what it returns or raises."""

    async def run_beside(self, work: Callable[[], ResultT]) -> ResultT:
        """Carry out `work` as `run` does, but beside what is given to `run`: neither waits."""

    async def get_ready_aside(self) -> None:
        """Do what lets the next `write_aside` begin quickly, for as long as it takes."""

    def write_aside(
        self, chunks: Iterable[bytes], write: Callable[[Iterable[bytes]], bytes]
    ) -> Awaitable[bytes]:
        """Give `chunks`, as they are at this very moment, to `write`, away from the event loop.

        The chunks may be made of a state that changes as soon as this returns. Awaiting raises the
        `OSError` that `write` raises; for anything else perhaps a `DiskFailed` that tells of it.
        """

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing. With `create`, an absent file is made, empty."""

    def exists(self, path: str) -> bool:
        """Return whether there is a file or directory."""

    def names(self, directory: str) -> list[str]:
        """Return the sorted names in a directory."""

    def make_directory(self, path: str) -> None:
        """Make it, and its parents, where absent; for the owner alone."""

    def rename(self, source: str, target: str) -> None:
        """Replace `target` by `source` in one step.

        Durable after `sync_directory` of the directory of `target`, and of that of `source`.
        """

    def remove(self, path: str) -> None:
        """Remove a file."""

    def sync_directory(self, path: str) -> None:
        """Make creations, renames and removals in the directory durable."""

    def lock(self, path: str) -> Callable[[], None]:
        """Lock the file against other processes and return what unlocks it.

        Raises `DataDirectoryError` when another process holds it.
        """


class SystemFile(File):
    """A file of the operating system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @override
    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    @override
    def read(self, offset: int, length: int) -> bytes:
        return read_fully(partial(os.pread, self._descriptor), offset, length)

    @override
    def write(self, offset: int, data: bytes) -> None:
        written = os.pwrite(self._descriptor, data, offset)
        while written < len(data):
            # A disk that fills up takes a part first and raises ENOSPC on the rest.
            written += os.pwrite(self._descriptor, memoryview(data)[written:], offset + written)

    @override
    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    @override
    def allocate(self, size: int) -> None:
        os.posix_fallocate(self._descriptor, 0, size)

    @override
    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    @override
    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class SystemDisk(Disk):
    """The operating system's files; `run` works on one thread of its own, until `close`.

    With `is_read_only`, files are opened for reading alone, so that the system refuses every write.
    """

    def __init__(self, *, is_read_only: bool = False) -> None:
        self._access = os.O_RDONLY if is_read_only else os.O_RDWR
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @override
    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Carry out `work` on the thread; raises `RuntimeError` after `close`.

        A caller that is cancelled stops waiting; the work is done all the same.
        """
        if self._is_closed:
            raise RuntimeError("the disk was closed")
        if self._thread is None:
            # A daemon, so that a process that ends without `close` is not kept alive by it: to the
            # log, that is a crash like any other.
            self._thread = threading.Thread(target=self._work, name="liferaft-disk", daemon=True)
            self._thread.start()
        # A bare queue and call_soon_threadsafe cost half of what run_in_executor does.
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()

        def carry_out() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001  the caller raises it, whatever it is
                report = partial(reject, future, error)
            else:
                report = partial(resolve, future, result)
            # The loop may be closed when its owner did not wait; then nobody wants the answer.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(report)

        self._queue.put(carry_out)
        return await future

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            work()

    @override
    async def run_beside(self, work: Callable[[], ResultT]) -> ResultT:
        return await asyncio.to_thread(work)

    @override
    async def get_ready_aside(self) -> None:
        if CAN_FORK:
            await gather()

    @override
    def write_aside(
        self, chunks: Iterable[bytes], write: Callable[[Iterable[bytes]], bytes]
    ) -> Awaitable[bytes]:
        if CAN_FORK:
            return run_forked(partial(write, while_parent_lives(chunks, os.getpid())))
        return self.run_beside(partial(write, list(chunks)))

    async def close(self) -> None:
        """Finish what was given to `run`, then end the thread. May be called again."""
        if self._thread is not None:
            await self.run(_nothing)
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        self._is_closed = True

    @override
    def open(self, path: str, *, create: bool = False) -> File:
        flags = self._access | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return SystemFile(os.open(path, flags, 0o600))

    @override
    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    @override
    def names(self, directory: str) -> list[str]:
        return sorted(path.name for path in Path(directory).iterdir())

    @override
    def make_directory(self, path: str) -> None:
        missing = Path(path).absolute()
        if missing.is_dir():
            return
        self.make_directory(str(missing.parent))
        missing.mkdir(mode=0o700)
        self.sync_directory(str(missing.parent))

    @override
    def rename(self, source: str, target: str) -> None:
        Path(source).replace(target)

    @override
    def remove(self, path: str) -> None:
        Path(path).unlink()

    @override
    def sync_directory(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @override
    def lock(self, path: str) -> Callable[[], None]:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock_once_left(descriptor)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            by = f"by process {holder}" if holder else "by another process"
            directory = Path(path).parent
            raise DataDirectoryError(
                f"{directory} is in use {by}: stop it first, or choose another data directory"
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        return partial(_unlock, descriptor)


def _unlock(descriptor: int) -> None:
    """Give a lock back: also for a copy of this process, which may have it still."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _lock_once_left(descriptor: int) -> None:
    """Lock a file, also when a process that has ended holds it still; raises `BlockingIOError`.

    A copy of a process (forked.py) has all that this had, until it has let go of it. Where the
    process was killed meanwhile, whoever starts it again would be refused for that.
    """
    until = time.monotonic() + LEFT_WITHIN
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not _has_ended(_holder(descriptor)) or time.monotonic() >= until:
                raise
            time.sleep(_LOOK_AGAIN_AFTER)
        else:
            return


def _holder(descriptor: int) -> str:
    """Return which process says that it holds a lock, an empty text where none does."""
    return os.pread(descriptor, 20, 0).decode(errors="replace").strip()


def _has_ended(process: str) -> bool:
    """Return whether there is no such process; False where it cannot be told."""
    if not process.isdecimal():
        return False
    try:
        os.kill(int(process), 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, ProcessLookupError)
    return False


def is_locked(path: str) -> bool:
    """Return whether a process holds the file locked; False where there is none.

    Leaves the file as it is. The question takes a lock that is shared for a moment, and who wants
    to lock the file in just that moment is refused.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_fully(read: Callable[[int, int], bytes], offset: int, length: int) -> bytes:
    """Return `length` bytes from `offset`, fewer only at the end of the file.

    `read(length, offset)` is the system's pread, which may return less than it was asked for
    before the end, so only an empty answer is the end.
    """
    data = read(length, offset)
    if len(data) == length or not data:
        return data
    parts = [data]
    while data and (length := length - len(data)) > 0:
        offset += len(data)
        data = read(length, offset)
        parts.append(data)
    return b"".join(parts)


def resolve(future: asyncio.Future[ResultT], result: ResultT) -> None:
    """Give whoever waits the result, unless it was cancelled; for implementations of `run`."""
    if not future.done():
        future.set_result(result)


def reject(future: asyncio.Future[ResultT], error: BaseException) -> None:
    """Raise the error at whoever waits, unless it was cancelled; for implementations of `run`."""
    if not future.done():
        future.set_exception(error)


def _nothing() -> None:
    """Do nothing, after everything that was queued before."""
