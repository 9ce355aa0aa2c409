"""Which groups a node of many hosts, as far as that was changed while it ran.

The file `catalog` in the node's directory; there is none until the first change. A group that was
added is hosted again after a restart. One that was removed never comes back: with its log the node
has forgotten what it promised in it, its votes too, so it must not pass for the member it was
(trap 28). Who wants a new group takes a new name.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Self

import msgspec

from liferaft.errors import DataDirectoryError, DiskFailed
from liferaft.storage.disk import Disk
from liferaft.storage.line_file import read_line, write_line

_VERSION: Final = 1
_CATALOG: Final = "catalog"


class _Version(msgspec.Struct, frozen=True):
    """What the file says in every version of the format."""

    version: int


class _Content(msgspec.Struct, frozen=True):
    """What the file says. No group is in both lists."""

    version: int = _VERSION
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class GroupCatalog:
    """The changes to a node's groups. Use from one event loop, one change at a time."""

    def __init__(self, disk: Disk, directory: str, content: _Content) -> None:
        self._disk = disk
        self._directory = directory
        self._added: dict[str, None] = dict.fromkeys(content.added)
        self._removed: dict[str, None] = dict.fromkeys(content.removed)

    @classmethod
    async def open(cls, disk: Disk, directory: str) -> Self:
        """Return the catalog of a node's directory, an empty one if there is none.

        Raises `DataDirectoryError` for what this program cannot read, and `DiskFailed`.
        """
        return cls(disk, directory, await disk.run(lambda: _read(disk, directory)))

    def hosted(self, first: Iterable[str]) -> tuple[str, ...]:
        """Return the groups to host, where the program itself would host those of `first`."""
        known = {**dict.fromkeys(first), **self._added}
        return tuple(group for group in known if group not in self._removed)

    @property
    def removed(self) -> Iterable[str]:
        """The groups that were removed, and never come back."""
        return tuple(self._removed)

    async def add(self, group: str) -> None:
        """Host a group from now on; it must not have been removed. Raises `DiskFailed`."""
        assert group not in self._removed, "what was removed stays so"
        await self._write({**self._added, group: None}, self._removed)

    async def withdraw(self, group: str) -> None:
        """Take back that a group was added: nothing was promised in it. Raises `DiskFailed`."""
        await self._write(self._added_but(group), self._removed)

    async def remove(self, group: str) -> None:
        """Host a group never again. Raises `DiskFailed`."""
        await self._write(self._added_but(group), {**self._removed, group: None})

    def _added_but(self, group: str) -> dict[str, None]:
        return {each: None for each in self._added if each != group}

    async def _write(self, added: Mapping[str, None], removed: Mapping[str, None]) -> None:
        """Know the change once it is on the disk."""
        line = msgspec.json.encode(_Content(_VERSION, tuple(added), tuple(removed))) + b"\n"
        path = f"{self._directory}/{_CATALOG}"
        try:
            await self._disk.run(lambda: write_line(self._disk, self._directory, _CATALOG, line))
        except OSError as error:
            raise DiskFailed(f"{path} could not be written: {error}") from error
        self._added, self._removed = dict(added), dict(removed)


def _read(disk: Disk, directory: str) -> _Content:
    path = f"{directory}/{_CATALOG}"
    try:
        line = read_line(disk, path) if disk.exists(path) else msgspec.json.encode(_Content())
    except OSError as error:
        raise DiskFailed(f"{path} could not be read: {error}") from error
    if line is None:
        raise DataDirectoryError(
            f"{path} is damaged: nothing says which groups were removed from this node, and it must"
            f" not take part in those again. Move {directory} away, and let the node rejoin from"
            " its peers as a new member"
        )
    try:
        version = msgspec.json.decode(line, type=_Version).version
        if version == _VERSION:
            return msgspec.json.decode(line, type=_Content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataDirectoryError(
            f"{path} is not what this program writes ({error}): use the program that it is from"
        ) from error
    raise DataDirectoryError(
        f"{path} has format version {version}, and this program knows {_VERSION}: use the program"
        " that it is from"
    )
