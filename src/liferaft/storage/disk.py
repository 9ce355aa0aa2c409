"""What the log needs of a disk: the real one, and the contract that the faulty one keeps too.

File operations are plain blocking functions. They are called only from inside a function given to
`Disk.run`, which carries it out away from the event loop; functions run one after the other, in
the order in which they were given. The simulator's disk runs them at once and lets virtual time
pass.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

ResultT = TypeVar("ResultT")


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

    def open(self, path: str, *, create: bool = False) -> File:
        """Open for reading and writing. With `create`, an absent file is made, empty."""

    def exists(self, path: str) -> bool:
        """Return whether there is a file or directory."""

    def names(self, directory: str) -> list[str]:
        """Return the sorted names in a directory."""

    def make_directory(self, path: str) -> None:
        """Make it, and its parents, where absent; for the owner alone."""

    def rename(self, source: str, target: str) -> None:
        """Replace `target` by `source` in one step; durable after `sync_directory`."""

    def remove(self, path: str) -> None:
        """Remove a file."""

    def sync_directory(self, path: str) -> None:
        """Make creations, renames and removals in the directory durable."""

    def lock(self, path: str) -> Callable[[], None]:
        """Lock the file against other processes and return what unlocks it.

        Raises `DataDirectoryError` when another process holds it.
        """
