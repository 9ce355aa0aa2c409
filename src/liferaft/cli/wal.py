"""`liferaft wal`: what a data directory holds, whether it is whole, and a cut if it is not."""

import re
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Final

from cyclopts import App

from liferaft.cli.exits import ExitStatus
from liferaft.errors import ConfigurationError, DataDirectoryError
from liferaft.raft.types import Configuration, Entry, EntryKind, HardState
from liferaft.storage.directory import lock_directory, lock_path, read_identity
from liferaft.storage.disk import SystemDisk, is_locked
from liferaft.storage.group_records import OF_A_GROUP
from liferaft.storage.inspection import (
    Beyond,
    Inspection,
    SeenSegment,
    inspect_running,
    look_beyond,
    read_entries,
)
from liferaft.storage.inspection import inspect as inspect_directory
from liferaft.storage.repair import directory_aside
from liferaft.storage.repair import repair as repair_directory
from liferaft.storage.segment import segment_path

DATA_SHOWN_MAX: Final = 80
"""How many bytes of an entry's data are printed: a command's session and name, and some more."""

SAFE_WAY: Final = (
    "The safe way is another one: move {directory} away, and let the node rejoin from its peers as"
    " a new member."
)

wal = App(
    name="wal", help="Look into a node's data directory, prove its log, or cut a damaged one."
)


@wal.command
def inspect(directory: Path, /, *, entries: str = "") -> int:
    """Print what a data directory holds, up to the first damage; nothing is changed.

    Ends with status 0 when all of it is whole, 6 when it is damaged, and 2 when it is no data
    directory.

    Parameters
    ----------
    directory
        What was given to `liferaft node --data`.
    entries
        Print these entries, too: FIRST:LAST, or one index.
    """
    wanted = _range(entries) if entries else None
    disk = SystemDisk(is_read_only=True)
    inspection = _inspect(disk, directory)
    print("\n".join(_told(inspection)))
    if wanted is not None:
        _print_entries(read_entries(disk, inspection, *wanted), inspection, *wanted)
    if inspection.error is not None:
        raise inspection.error
    print(_whole(inspection))
    return ExitStatus.OK


@wal.command
def verify(directory: Path, /) -> int:
    """Find out whether everything in a data directory is as it was written; nothing is changed.

    Ends with status 0 when it is, 6 when it is damaged, and 2 when it is no data directory. A last
    write that was cut short by a crash is no damage: nobody was told that it was stored.

    Parameters
    ----------
    directory
        What was given to `liferaft node --data`.
    """
    inspection = _inspect(SystemDisk(is_read_only=True), directory)
    if inspection.error is not None:
        raise inspection.error
    print(_whole(inspection))
    return ExitStatus.OK


@wal.command
def repair(directory: Path, /, *, yes: bool = False) -> int:
    """Cut a damaged log behind its last whole record; the node must not run.

    What is cut off may have been acknowledged, so a node that goes on from there can break promises
    that it made: let it rejoin as a new member wherever there is a way. Ends with status 0 when the
    log is whole, 6 when it is damaged and --yes was not given, and 2 when the directory is in use.

    Parameters
    ----------
    directory
        What was given to `liferaft node --data`.
    yes
        Do it; without, only what would be lost is told.
    """
    disk, path = SystemDisk(), str(directory)
    read_identity(disk, path)
    unlock = lock_directory(disk, path)
    try:
        inspection = inspect_directory(disk, path)
        if inspection.damage is None:
            print(f"There is nothing to repair. {_whole(inspection)}")
            return ExitStatus.OK
        beyond = look_beyond(disk, inspection)
        if not yes:
            print("\n".join(_warned(inspection, beyond, directory_aside(disk, path))))
            return ExitStatus.DAMAGED
        print("\n".join(_repaired(inspection, beyond, repair_directory(disk, inspection))))
        return ExitStatus.OK
    finally:
        unlock()


def _inspect(disk: SystemDisk, directory: Path) -> Inspection:
    path = str(directory)
    if not is_locked(lock_path(path)):
        return inspect_directory(disk, path)
    print(
        f"A node is running on {path} and may be writing: what is told here may have changed"
        " already. Should it be called damaged, look again when the node has stopped."
    )
    return inspect_running(disk, path)


def _range(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,18})(?::([0-9]{1,18}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last:
        raise ConfigurationError(f"--entries is {text}: give FIRST:LAST, such as 10:20")
    return first, last


# What is printed.


def _told(inspection: Inspection) -> list[str]:
    lines = [*_owner(inspection), *(_groups(inspection) or _log(inspection))]
    lines.append(f"segments: {len(inspection.segments)}")
    return lines + [f"  {_segment(segment, inspection)}" for segment in inspection.segments]


def _owner(inspection: Inspection) -> list[str]:
    owner = inspection.owner
    if not isinstance(owner, DataDirectoryError):
        identity = owner.identity
        return [
            f"owner: node {identity.node_id} of cluster {identity.cluster_id}",
            f"first configuration: {_members(owner.configuration)}",
        ]
    return [f"owner: unknown, for {owner}"] if inspection.groups is None else []


def _log(inspection: Inspection) -> list[str]:
    lines = [f"hard state: {_hard_state(inspection.hard_state)}"]
    if inspection.snapshot is not None:
        snapshot = inspection.snapshot
        size = f"{snapshot.size_bytes} bytes"
        lines.append(f"snapshot: up to entry {snapshot.index} of term {snapshot.term}, {size}")
    lines.append(f"log: {_entries(inspection.first, inspection.last)}")
    for run, following in zip_longest(inspection.runs, inspection.runs[1:]):
        last = inspection.last if following is None else following.first - 1
        lines.append(f"  term {run.term}: {_entries(run.first, last)}")
    return lines


def _groups(inspection: Inspection) -> list[str]:
    """Tell of the groups that share the log, of none when it is of one node."""
    groups = inspection.groups
    if groups is None:
        return []
    held = _entries(inspection.first, inspection.last)
    return [
        f"a log that {len(groups)} groups share; what they wrote is {held}",
        *(
            f"  {each.name}: {_entries(each.first, each.last)}; {_hard_state(each.hard_state)}"
            for each in groups
        ),
    ]


def _members(configuration: Configuration) -> str:
    groups = (
        ("voters", configuration.voters),
        ("outgoing voters", configuration.voters_outgoing),
        ("learners", configuration.learners),
    )
    return "; ".join(f"{name} {', '.join(members)}" for name, members in groups if members)


def _hard_state(hard_state: HardState) -> str:
    vote = "no vote" if hard_state.voted_for is None else f"vote for {hard_state.voted_for}"
    return f"term {hard_state.current_term}, {vote}"


def _entries(first: int, last: int) -> str:
    if last < first:
        return "no entries"
    return f"entry {first}" if first == last else f"entries {first} to {last}"


def _segment(segment: SeenSegment, inspection: Inspection) -> str:
    damage, position = inspection.damage, inspection.examined.position
    parts = [
        Path(segment_path(inspection.directory, segment.number)).name,
        f"{segment.size_bytes} bytes, {segment.end} of them used",
        f"{segment.records} records, {segment.seals} of them seals",
        _entries(segment.first, segment.last) if segment.first else "no entries",
    ]
    if damage is not None and segment.number == damage.segment:
        parts.append(f"damaged at offset {damage.offset}: {damage.what}")
    elif damage is not None and segment.number > position.segment:
        parts.append("behind the damage, not read")
    return "; ".join(parts)


def _print_entries(entries: Iterable[Entry], inspection: Inspection, first: int, last: int) -> None:
    count = 0
    for entry in entries:
        data = f" {_shortened(entry.data)}" if entry.data else ""
        size = f"{len(entry.data)} bytes"
        print(f"{entry.index}: term {entry.term}, {_kind(entry.kind)}, {size}{data}")
        count += 1
    if count < last - first + 1:
        held = _entries(inspection.first, inspection.last)
        print(f"The log holds {held}; {count} of the {last - first + 1} asked for are among them.")


def _kind(kind: int) -> str:
    known = {each.value: each.name.lower() for each in EntryKind}
    known[OF_A_GROUP] = "of a group"
    return known.get(kind, f"kind {kind}")


def _shortened(data: bytes) -> str:
    """Return the beginning of the data in characters that any terminal can show."""
    return repr(data[:DATA_SHOWN_MAX]) + ("..." if len(data) > DATA_SHOWN_MAX else "")


def _whole(inspection: Inspection) -> str:
    """Say that the log is whole, and what of a torn tail is no part of it."""
    held = _entries(inspection.first, inspection.last)
    state = _hard_state(inspection.hard_state)
    sentence = f"The log in {inspection.directory} is whole: {held}, {state}."
    if inspection.groups is not None:
        count = len(inspection.groups)
        sentence = f"The log in {inspection.directory} is whole: {held}, of {count} groups."
    torn = inspection.torn
    if torn is None:
        return sentence
    return (
        f"{sentence} Its last write is torn: the {torn.length} bytes from offset {torn.offset} of"
        f" {torn.path} were never reported as stored, and the next start of the node cuts them."
    )


def _warned(inspection: Inspection, beyond: Beyond, aside: str) -> list[str]:
    return [
        _damage(inspection),
        f"A repair would cut the log there. {_lost(inspection, beyond)}",
        f"What is cut off would be kept in {aside}. Nothing was changed.",
        SAFE_WAY.format(directory=inspection.directory)
        + " Give --yes only if the node's peers cannot bring back what it held.",
    ]


def _repaired(inspection: Inspection, beyond: Beyond, aside: str) -> list[str]:
    held = _entries(inspection.first, inspection.last)
    return [
        _damage(inspection),
        f"The log was cut there and is whole again: it holds {held}.",
        f"The files as they were are kept in {aside}.",
        _lost(inspection, beyond),
        SAFE_WAY.format(directory=inspection.directory),
    ]


def _damage(inspection: Inspection) -> str:
    damage = inspection.damage
    assert damage is not None
    path = segment_path(inspection.directory, damage.segment)
    return (
        f"{path} is damaged at offset {damage.offset}: {damage.what}. The log is whole up to index"
        f" {inspection.last}."
    )


def _lost(inspection: Inspection, beyond: Beyond) -> str:
    """Say what a node that goes on from the prefix may have forgotten."""
    first = inspection.last + 1
    if beyond.last >= first:
        seen = _entries(first, beyond.last).capitalize()
        entries = f"{seen} (as far as can be seen) may have been acknowledged"
    else:
        entries = f"Entries from {first} on, of which none can be seen, may have been acknowledged"
    forgotten = "the node may have voted in terms that it does not remember"
    if beyond.hard_state is not None:
        forgotten += f" (the last that can be seen: {_hard_state(beyond.hard_state)})"
    return (
        f"{entries}, and {forgotten}: a node that goes on without them can vote twice in a term,"
        " and help to elect a leader that lacks acknowledged entries."
    )
