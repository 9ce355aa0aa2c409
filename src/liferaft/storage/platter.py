"""What a faulty disk holds: as it reads now, and as it would read after the power had failed.

Each change is kept in a journal, in the order in which it was made, until a sync makes it durable;
what no sync covers is kept, lost or torn when the power fails, as the seed decides. Of time, of
handles and of operations that fail it knows nothing: those are in `liferaft.storage.faulty`.

Invariant: what is in the journal is not durable yet; from `begin_work` on, what is added belongs
to work whose time has not passed yet, and counts as done at `end_work` only.
"""

import errno
import os
import random
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Final


class Inode:
    """A file's content: as it reads now, and as it would read after the power failed."""

    def __init__(self) -> None:
        self.content: Final = bytearray()
        self.durable: Final = bytearray()

    def replace(self, offset: int, data: bytes) -> None:
        """Change bytes where they are, in both, without making the file longer."""
        for content in (self.content, self.durable):
            stop = min(offset + len(data), len(content))
            content[offset:stop] = data[: max(0, stop - offset)]


class Write:
    """A change of a file that is not synced yet: `data` at `offset`.

    As with all changes, a sync of its `owner`, the file or directory, makes it durable.
    """

    def __init__(self, inode: Inode, offset: int, data: bytes) -> None:
        self.inode = self.owner = inode
        self.offset = offset
        self.data = data


class Resize:
    """A change of a file's length that is not synced yet."""

    def __init__(self, inode: Inode, size: int) -> None:
        self.inode = self.owner = inode
        self.size = size


class Naming:
    """A change of names in a directory that is not synced yet; None removes a name."""

    def __init__(self, directory: str, names: dict[str, Inode | None]) -> None:
        self.owner = directory
        self.names = names


Change = Write | Resize | Naming


class _Sync:
    """A sync that succeeded: what was changed before it, in that file or directory, is durable."""

    def __init__(self, target: Inode | str) -> None:
        self.target = target


class Platter:
    """Files by their paths, and what of them would outlive the power.

    `lost_changes` and `torn_writes` count what did not.
    """

    def __init__(self, random: random.Random) -> None:
        self.lost_changes = 0
        self.torn_writes = 0
        self.names: Final[dict[str, Inode]] = {}
        self._durable_names: dict[str, Inode] = {}
        self._random = random
        self._journal: list[Change | _Sync] = []
        self._under_way: int | None = None

    @property
    def is_at_work(self) -> bool:
        """Whether there is work whose time has not passed yet."""
        return self._under_way is not None

    @property
    def is_writing(self) -> bool:
        """Whether the work under way has changed something: the power would find it half done."""
        return self._under_way is not None and self._under_way < len(self._journal)

    def named(self, path: str) -> Inode:
        """Return the file of that name; raises `FileNotFoundError`."""
        inode = self.names.get(path)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return inode

    def used_bytes(self) -> int:
        """Return the sum of all files' sizes."""
        return sum(len(inode.content) for inode in self.names.values())

    # What its user does.

    def begin_work(self) -> None:
        """Know that what follows is under way: a crash may strike between any two of its steps."""
        self._under_way = len(self._journal)

    def end_work(self) -> None:
        """Know that the work under way has come to its end, or never will."""
        self._under_way = None
        self._settle()

    def change(self, change: Change) -> None:
        """Do it in the cache; for good when it is synced, or as luck has it."""
        self._journal.append(change)
        if isinstance(change, Naming):
            _name(self.names, change)
        else:
            _apply(change.inode.content, change)

    def sync(self, target: Inode | str) -> None:
        """Make a file or directory durable once the work under way has come to its end."""
        self._journal.append(_Sync(target))
        if self._under_way is None:
            self._settle()

    def fail_sync(self, target: Inode | str) -> None:
        """Fail to write it back: what the cache has reads as before, and no later sync writes it.

        The system reports that once, and drops the pages from its list.
        """
        for change in self._unsynced():
            if change.owner == target:
                self._journal.remove(change)
                self._lose(change)

    def stop_work(self) -> None:
        """Let work that is under way be broken off behind any of its steps: the power fails."""
        if self._under_way is not None:
            issued = self._random.randint(self._under_way, len(self._journal))
            del self._journal[issued:]
            self._under_way = None

    def lose_power(self) -> None:
        """Lose what was not synced, in any part."""
        self._settle()
        for change in self._unsynced():
            self._lose(change)
        self._journal.clear()
        self.names.clear()
        self.names.update(self._durable_names)
        for inode in self.names.values():
            inode.content[:] = inode.durable

    # What others do to it, from outside.

    def image(self) -> dict[str, bytes]:
        """Return the durable content of every durable name."""
        return {path: bytes(inode.durable) for path, inode in self._durable_names.items()}

    def restore(self, image: dict[str, bytes]) -> None:
        """Hold what an image has, and nothing else, durably."""
        self.names.clear()
        for path, content in image.items():
            inode = self.names[path] = Inode()
            inode.content[:] = inode.durable[:] = content
        self._durable_names = dict(self.names)

    def forget(self, path: str) -> Callable[[], None]:
        """Lose a name that was durable; what is returned finds it again."""
        inode = self.named(path)
        del self.names[path]
        self._durable_names.pop(path, None)
        return partial(self._find, path, inode)

    def move(self, source: str, target: str) -> None:
        """Give a file another name, at once and durably."""
        inode = self.named(source)
        for names in (self.names, self._durable_names):
            names.pop(source, None)
            names[target] = inode

    # How it works inside.

    def _find(self, path: str, inode: Inode) -> None:
        self.names[path] = self._durable_names[path] = inode

    def _settle(self) -> None:
        """Carry out the syncs in the journal; what no sync covers stays in it."""
        pending: list[Change] = []
        for each in self._journal:
            if not isinstance(each, _Sync):
                pending.append(each)
                continue
            changes, pending = pending, []
            for change in changes:
                if change.owner == each.target:
                    self._make_durable(change)
                else:
                    pending.append(change)
        self._journal = [*pending]

    def _unsynced(self) -> list[Change]:
        return [each for each in self._journal if not isinstance(each, _Sync)]

    def _make_durable(self, change: Change) -> None:
        if isinstance(change, Naming):
            _name(self._durable_names, change)
        else:
            _apply(change.inode.durable, change)

    def _lose(self, change: Change) -> None:
        """Let a change that was never synced be durable wholly, not at all, or in part."""
        fate = self._random.choice(("kept", "lost", "torn"))
        self.lost_changes += fate == "lost"
        self.torn_writes += fate == "torn" and isinstance(change, Write)
        if fate == "kept" or (fate == "torn" and not isinstance(change, Write)):
            self._make_durable(change)
        elif fate == "torn" and isinstance(change, Write):
            for part in self._tear(change):
                self._make_durable(part)

    def _tear(self, write: Write) -> list[Write]:
        """Return what of a write is kept, cut at any byte: its beginning, or any parts of it.

        A file that grows is mostly cut off; pages reach the platter in any order now and then.
        """
        length = len(write.data)
        if self._random.random() < 0.5:
            return [Write(write.inode, write.offset, write.data[: self._random.randint(0, length)])]
        cuts = sorted(self._random.randint(0, length) for _ in range(self._random.randint(1, 3)))
        return [
            Write(write.inode, write.offset + start, write.data[start:stop])
            for start, stop in pairwise([0, *cuts, length])
            if self._random.random() < 0.5
        ]


def _name(names: dict[str, Inode], change: Naming) -> None:
    for path, inode in change.names.items():
        if inode is None:
            names.pop(path, None)
        else:
            names[path] = inode


def _apply(content: bytearray, change: Write | Resize) -> None:
    if isinstance(change, Resize):
        del content[change.size :]
        content.extend(bytes(change.size - len(content)))
        return
    if not change.data:
        return
    # A write beyond the end leaves zeros between.
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data
