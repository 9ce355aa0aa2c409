"""A damaged log is cut to what it was before the damage, and nothing is deleted."""

import errno
from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest
from typing_extensions import override

from liferaft.errors import DamagedLog, DiskFailed, InvariantViolated
from liferaft.raft.types import Entry, HardState
from liferaft.storage import repair as repair_module
from liferaft.storage.faulty import FaultyDisk, Operation
from liferaft.storage.inspection import SeenRecord, inspect
from liferaft.storage.records import SEGMENT_HEADER_BYTES
from liferaft.storage.repair import directory_aside, repair
from liferaft.storage.segment import segment_path
from tests.storage.logs import DIRECTORY, make_entries, open_log, read_log
from tests.storage.test_inspection import FIRST, make_directory, make_log

pytestmark = pytest.mark.looptime

ASIDE = f"{DIRECTORY}/damaged-1"


def repair_now(disk: FaultyDisk) -> str:
    return repair(disk, inspect(disk, DIRECTORY))


def places(disk: FaultyDisk) -> list[SeenRecord]:
    records: list[SeenRecord] = []
    inspect(disk, DIRECTORY, on_record=records.append)
    return records


def log_after(records: list[SeenRecord]) -> list[Entry]:
    """Return what these records of the log of `make_log` hold, one after the other."""
    log: list[Entry] = []
    for record in records:
        for run in record.runs:
            log[run.first - 1 :] = make_entries(run.first, run.last, term=run.term)
    return log


async def test_a_repair_leaves_exactly_what_was_before_each_damaged_record() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    records, image = places(disk), disk.image()
    for count, record in enumerate(records[:-1]):
        for offset in (record.offset, record.offset + record.length - 1):
            disk.restore(image)
            disk.flip(segment_path(DIRECTORY, record.segment), offset)
            damaged = disk.image()
            aside = repair_now(disk)
            disk.crash()
            kept = {path: data for path, data in damaged.items() if path not in disk.image()}
            recovered, entries = await read_log(disk)

            assert log_after(records[:count]) == entries
            assert recovered.torn is None
            for path, data in kept.items():
                assert data == disk.content(path.replace(DIRECTORY, aside))


async def test_the_segment_that_is_cut_is_kept_as_it_was() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    record = places(disk)[2]
    path = segment_path(DIRECTORY, record.segment)
    disk.flip(path, record.offset + record.length - 1)
    before = disk.content(path)
    repair_now(disk)

    assert record.offset == len(disk.content(path))
    assert before == disk.content(path.replace(DIRECTORY, ASIDE))


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("is_missing", [False, True])
async def test_a_damaged_or_missing_segment_is_cut_with_all_behind_it(
    number: int, *, is_missing: bool
) -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    records, image = places(disk), disk.image()
    if is_missing:
        disk.forget(segment_path(DIRECTORY, number))
    else:
        disk.flip(segment_path(DIRECTORY, number), 20)
    repair_now(disk)
    disk.crash()
    _, entries = await read_log(disk)

    assert log_after([record for record in records if record.segment < number]) == entries
    assert {path for path in image if path.endswith(".log")} == {
        path.replace(ASIDE, DIRECTORY)
        for path in disk.image()
        if path.startswith(ASIDE) or path < segment_path(DIRECTORY, number)
    } | ({segment_path(DIRECTORY, number)} if is_missing else set())


async def test_a_log_lives_on_after_a_repair_and_is_repaired_again() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    disk.flip(segment_path(DIRECTORY, 2), 20)
    first = repair_now(disk)
    opened = await open_log(disk)
    last = opened.recovered.last
    await opened.store(make_entries(last + 1, last + 4, term=3), HardState(3))
    await opened.log.close()
    disk.flip(segment_path(DIRECTORY, 1), SEGMENT_HEADER_BYTES)

    assert (ASIDE, f"{DIRECTORY}/damaged-2") == (first, directory_aside(disk, DIRECTORY))
    assert f"{DIRECTORY}/damaged-2" == repair_now(disk)
    _, entries = await read_log(disk)
    assert [] == entries


async def test_a_torn_tail_of_a_damaged_log_is_put_aside_too() -> None:
    """A later segment that was never begun properly tells nothing, and stays kept."""
    disk = FaultyDisk(Random(1))
    await make_directory(disk)
    opened = await open_log(disk)
    await opened.store(make_entries(1, 2), FIRST)
    await opened.log.close()
    file = disk.open(segment_path(DIRECTORY, 2), create=True)
    file.write(0, b"never finished")
    file.sync()
    disk.sync_directory(DIRECTORY)
    disk.flip(segment_path(DIRECTORY, 1), SEGMENT_HEADER_BYTES)
    repair_now(disk)

    assert b"never finished" == disk.content(segment_path(ASIDE, 2))
    assert [] == (await read_log(disk))[1]


@pytest.mark.slow
async def test_a_repair_that_is_cut_short_leaves_a_damaged_log_or_a_repaired_one() -> None:
    """And nothing is lost: each file is in its place or aside, whole."""
    outcomes = set()
    for seed in range(150):
        disk = DiskThatFailsLater(Random(seed))
        await make_log(disk)
        records = places(disk)
        record = records[Random(seed).randrange(len(records) - 1)]
        path = segment_path(DIRECTORY, record.segment)
        disk.flip(path, record.offset)
        original = disk.image()
        outcomes.add(cut_short(disk, seed))
        for each, data in original.items():
            contents = {disk.content(p) for p in disk.paths() if p.endswith(each[len(DIRECTORY) :])}
            assert data in contents

        try:
            _, entries = await read_log(disk)
        except DamagedLog:
            repair_now(disk)
            _, entries = await read_log(disk)
        assert log_after(records[: records.index(record)]) == entries

    assert {"damaged", "whole"} == outcomes


class DiskThatFailsLater(FaultyDisk):
    """Fails one operation after so many of its kind."""

    fails_after: tuple[Operation, int] | None = None

    @override
    def take_fault(self, operation: Operation) -> None:
        if self.fails_after is not None and self.fails_after[0] == operation:
            count = self.fails_after[1] - 1
            self.fails_after = (operation, count)
            if count == 0:
                raise OSError(errno.EIO, "the power failed")
        super().take_fault(operation)


def cut_short(disk: DiskThatFailsLater, seed: int) -> str:
    """Let an operation of a repair fail, then the power; return what is left."""
    inspection = inspect(disk, DIRECTORY)
    operation: Operation = "sync" if seed % 2 else "write"
    disk.fails_after = (operation, 1 + seed // 2 % 5)
    with suppress(DiskFailed):
        repair(disk, inspection)
    disk.fails_after = None
    disk.crash()
    return "whole" if inspect(disk, DIRECTORY).damage is None else "damaged"


async def test_a_full_disk_leaves_everything_as_it_was() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    record = places(disk)[2]
    disk.flip(segment_path(DIRECTORY, record.segment), record.offset)
    before = disk.image()
    disk.fail("write", errno.ENOSPC)

    with pytest.raises(DiskFailed, match="Nothing is lost"):
        repair_now(disk)
    assert before.items() <= disk.image().items()


async def test_a_segment_with_nothing_to_cut_is_left_alone() -> None:
    """Zeros behind its end are space that was reserved."""
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    path = segment_path(DIRECTORY, 1)
    disk.open(path).truncate(9999)
    disk.flip(segment_path(DIRECTORY, 2), 20)
    repair_now(disk)

    assert 9999 == len(disk.content(path))
    assert segment_path(ASIDE, 1) not in disk.paths()
    assert segment_path(ASIDE, 2) in disk.paths()


class DiskThatTellsSyncs(FaultyDisk):
    """Remembers which directories were synced since the last rename."""

    synced: tuple[str, ...] = ()

    @override
    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self.synced = ()

    @override
    def sync_directory(self, path: str) -> None:
        super().sync_directory(path)
        self.synced += (path,)


async def test_both_directories_of_a_rename_are_synced() -> None:
    disk = DiskThatTellsSyncs(Random(1))
    await make_log(disk)
    disk.flip(segment_path(DIRECTORY, 2), 20)
    repair_now(disk)

    assert (ASIDE, DIRECTORY) == disk.synced


def do_nothing(disk: FaultyDisk, *_: object) -> None:
    pass


def cut_too_much(disk: FaultyDisk, *_: object) -> None:
    for path in disk.paths():
        if path.endswith(".log"):
            disk.remove(path)


@pytest.mark.parametrize("cut", [do_nothing, cut_too_much])
async def test_a_repair_that_is_none_is_told(
    cut: Callable[[FaultyDisk], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    disk.flip(segment_path(DIRECTORY, 3), 20)
    monkeypatch.setattr(repair_module, "_cut", cut)

    with pytest.raises(InvariantViolated, match="should hold the entries up to"):
        repair_now(disk)
