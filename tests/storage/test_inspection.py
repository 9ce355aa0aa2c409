"""What `liferaft wal` sees in a data directory: all of it, and all that is before a damage."""

import asyncio
import errno
from pathlib import Path
from random import Random

import pytest

from liferaft.errors import DamagedLog, DataDirectoryError, DiskFailed
from liferaft.raft.types import Configuration, Entry, EntryKind, HardState, TermRun
from liferaft.storage.directory import Identity, open_directory
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.inspection import (
    Inspection,
    Owner,
    SeenRecord,
    SeenRun,
    SeenSegment,
    inspect,
    look_beyond,
    read_entries,
    records_beyond,
)
from liferaft.storage.records import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    checksum,
    decode_segment_header,
    encode_entries,
    encode_hard_state,
    encode_record,
    encode_segment_header,
)
from liferaft.storage.recovery import Damage, TornTail
from liferaft.storage.segment import segment_path
from liferaft.storage.wal import SEAL_AFTER
from tests.storage.logs import DIRECTORY, make_entries, open_log, read_log

pytestmark = pytest.mark.looptime

NODE = Identity("blue", "n1")
THREE = Configuration(("n1", "n2", "n3"))
FIRST = HardState(1, "n1")
GOLDEN = Path(__file__).parent / "golden" / "version-1"


async def make_directory(disk: FaultyDisk) -> None:
    (await open_directory(disk, DIRECTORY, NODE, THREE, disk_id="d1")).close()


async def make_log(disk: FaultyDisk) -> list[Entry]:
    """Write a directory with a log of several segments and a replaced suffix, all durable."""
    await make_directory(disk)
    opened = await open_log(disk, segment_bytes=300)
    for index in range(1, 12, 2):
        await opened.store(make_entries(index, index + 1), FIRST)
        if index == 1:
            await asyncio.sleep(SEAL_AFTER * 2)
    await opened.store(make_entries(9, 14, term=2), HardState(2, "n2"))
    await opened.log.close()
    for path in disk.paths():
        disk.open(path).sync()
    return [*make_entries(1, 8), *make_entries(9, 14, term=2)]


def look(disk: FaultyDisk) -> tuple[Inspection, list[SeenRecord]]:
    """Inspect, and prove that nothing has changed."""
    before, records = {path: disk.content(path) for path in disk.paths()}, list[SeenRecord]()
    inspection = inspect(disk, DIRECTORY, on_record=records.append)
    assert before == {path: disk.content(path) for path in disk.paths()}
    return inspection, records


def entries_of(disk: FaultyDisk, inspection: Inspection) -> list[Entry]:
    return list(read_entries(disk, inspection, 1, 2**40))


def entries_after(records: list[SeenRecord], entries: dict[SeenRecord, list[Entry]]) -> list[Entry]:
    """Return what a log holds after these records: the naive twin of what recovery does."""
    log: list[Entry] = []
    for record in records:
        for run in record.runs:
            log[run.first - 1 :] = [e for e in entries[record] if run.first <= e.index <= run.last]
    return log


async def entries_by_record(disk: FaultyDisk) -> dict[SeenRecord, list[Entry]]:
    """Return the entries that each record of the log of `make_log` was written with."""
    _, records = look(disk)
    return {
        record: [
            entry
            for run in record.runs
            for entry in make_entries(run.first, run.last, term=run.term)
        ]
        for record in records
    }


async def test_a_whole_log_is_told_completely() -> None:
    disk = FaultyDisk(Random(1))
    entries = await make_log(disk)
    inspection, records = look(disk)

    assert Owner(NODE, THREE) == inspection.owner
    assert HardState(2, "n2") == inspection.hard_state
    assert (1, 14) == (inspection.first, inspection.last)
    assert (TermRun(1, 1), TermRun(2, 9)) == inspection.runs
    assert (None, None, None) == (inspection.torn, inspection.damage, inspection.error)
    assert entries == entries_of(disk, inspection)
    assert [(SeenRun(1, 1, 2),), (SeenRun(1, 3, 4),)] == [r.runs for r in records if r.runs][:2]
    assert [] == list(records_beyond(disk, inspection))


async def test_segments_are_summed_up() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    inspection, records = look(disk)
    paths = [path for path in disk.paths() if path.endswith(".log")]

    assert len(paths) == len(inspection.segments) > 3
    for path, segment in zip(paths, inspection.segments, strict=True):
        inside = [record for record in records if record.segment == segment.number]
        expected = SeenSegment(
            number=segment.number,
            size_bytes=len(disk.content(path)),
            end=inside[-1].offset + inside[-1].length,
            records=len(inside),
            seals=sum(record.is_seal for record in inside),
            first=min((run.first for record in inside for run in record.runs), default=0),
            last=max((run.last for record in inside for run in record.runs), default=0),
        )
        assert expected == segment
    assert 1 <= sum(segment.seals for segment in inspection.segments) < len(records)


async def test_records_lie_where_they_are_told_to() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    _, records = look(disk)
    entries = await entries_by_record(disk)

    assert all(record.is_whole for record in records)
    for record in records:
        content = disk.content(segment_path(DIRECTORY, record.segment))
        body = content[record.offset + RECORD_HEADER_BYTES : record.offset + record.length]
        assert all(entry.data in body for entry in entries[record])
        assert record.is_seal == (body == b"")


async def test_a_range_of_entries_is_cut_to_what_there_is() -> None:
    disk = FaultyDisk(Random(1))
    entries = await make_log(disk)
    inspection, _ = look(disk)

    assert entries[3:10] == list(read_entries(disk, inspection, 4, 10))
    assert entries[-2:] == list(read_entries(disk, inspection, 13, 99))
    assert [] == list(read_entries(disk, inspection, 15, 99))


async def test_many_large_entries_are_read_in_pieces() -> None:
    disk = FaultyDisk(Random(1))
    await make_directory(disk)
    opened = await open_log(disk, segment_bytes=2**22)
    entries = make_entries(1, 12, data_bytes=300_000)
    for entry in entries:
        await opened.store([entry], FIRST if entry.index == 1 else None)
    await opened.log.close()

    assert entries == entries_of(disk, look(disk)[0])


async def test_a_torn_tail_is_told_and_is_no_damage() -> None:
    disk = FaultyDisk(Random(1))
    await make_directory(disk)
    opened = await open_log(disk)
    await opened.store(make_entries(1, 2), FIRST)
    start = opened.log._stored.position.offset
    await opened.store(make_entries(3, 5))
    end = opened.log._stored.position.offset
    disk.crash()
    await opened.log.close()
    disk.flip(segment_path(DIRECTORY, 1), end - 1)
    inspection, _ = look(disk)

    assert TornTail(segment_path(DIRECTORY, 1), start, end - start, 2) == inspection.torn
    assert inspection.error is None
    assert make_entries(1, 2) == entries_of(disk, inspection)


async def test_each_damaged_record_is_found_and_all_before_it_is_told() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    entries = await entries_by_record(disk)
    records = list(entries)
    assert len(records) > 8
    # The newest record is the seal of the close, which nothing vouches for.
    for count, record in enumerate(records[:-1]):
        path = segment_path(DIRECTORY, record.segment)
        for offset in (record.offset, record.offset + record.length - 1):
            disk.flip(path, offset)
            inspection, seen = look(disk)
            disk.flip(path, offset)
            damage = inspection.damage

            assert records[:count] == seen
            assert damage is not None
            assert (record.segment, record.offset) == (damage.segment, damage.offset)
            held = entries_after(seen, entries)
            assert held == entries_of(disk, inspection)
            assert len(held) == inspection.last
            assert f"{path} is damaged at offset {record.offset}" in str(inspection.error)
            assert f"whole up to index {inspection.last}," in str(inspection.error)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_damaged_header_leaves_the_segments_before_it(number: int) -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    entries = await entries_by_record(disk)
    disk.flip(segment_path(DIRECTORY, number), 20)
    inspection, seen = look(disk)

    what = "the segment's header does not fit its checksum"
    assert Damage(number, 0, what) == inspection.damage
    assert [record for record in entries if record.segment < number] == seen
    assert entries_after(seen, entries) == entries_of(disk, inspection)
    with pytest.raises(DamagedLog, match=f"whole up to index {inspection.last},"):
        await open_log(disk)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_missing_segment_leaves_those_before_it(number: int) -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    entries = await entries_by_record(disk)
    disk.forget(segment_path(DIRECTORY, number))
    inspection, seen = look(disk)

    assert Damage(number, 0, "the file is missing") == inspection.damage
    assert [record for record in entries if record.segment < number] == seen


async def test_damage_before_a_damaged_header_comes_first() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    _, records = look(disk)
    disk.flip(segment_path(DIRECTORY, 3), 20)
    disk.flip(segment_path(DIRECTORY, 1), records[0].offset)
    inspection, _ = look(disk)

    assert inspection.damage is not None
    assert (1, records[0].offset) == (inspection.damage.segment, inspection.damage.offset)


def put_records(disk: FaultyDisk, *bodies: bytes) -> list[int]:
    """Write a segment with these bodies and return where its records begin."""
    content = encode_segment_header(SegmentHeader(1, 1, 0, 0, 0))
    crc, offsets = 0, []
    for body in bodies:
        offsets.append(len(content))
        record, crc = encode_record(body, segment=1, offset=len(content), previous_crc=crc)
        content += record
    file = disk.open(segment_path(DIRECTORY, 1), create=True)
    file.write(0, content)
    file.sync()
    disk.sync_directory(DIRECTORY)
    return offsets


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (
            encode_hard_state(HardState(7, "n3")) + encode_entries(make_entries(5, 5)),
            "its entries do not follow those before it",
        ),
        (
            encode_hard_state(HardState(2, "n3")) + encode_entries(make_entries(2, 2, term=3)),
            "its entries are of a later term than the node",
        ),
        (
            encode_entries(make_entries(2, 3)).replace(b"\x14\0\0\0", b"\x15\0\0\0", 1),
            "entries that do not fill their run",
        ),
    ],
)
async def test_of_a_record_that_is_refused_nothing_is_taken(body: bytes, what: str) -> None:
    """Its checksum is right, so it was written so: neither its vote nor its entries are told."""
    disk = FaultyDisk(Random(1))
    await make_directory(disk)
    first = encode_hard_state(FIRST) + encode_entries(make_entries(1, 1))
    offsets = put_records(disk, first, body, b"")
    inspection, records = look(disk)

    assert Damage(1, offsets[1], what) == inspection.damage
    assert FIRST == inspection.hard_state
    assert 1 == len(records) == inspection.segments[0].records
    assert make_entries(1, 1) == entries_of(disk, inspection)


async def test_what_lies_behind_a_damage_is_told_as_far_as_it_can_be_seen() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    _, records = look(disk)
    disk.flip(
        segment_path(DIRECTORY, records[0].segment), records[0].offset + records[0].length - 1
    )
    inspection, _ = look(disk)
    beyond = look_beyond(disk, inspection)
    seen = list(records_beyond(disk, inspection))

    assert (14, HardState(2, "n2")) == (beyond.last, beyond.hard_state)
    assert records[1:] == seen[1:]
    assert (False, records[0].offset) == (seen[0].is_whole, seen[0].offset)
    assert not seen[0].is_seal


async def test_a_header_behind_the_damage_tells_what_was_synced_before_it() -> None:
    """All records are gone; what is left of the log are the headers of its segments."""
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    for segment in look(disk)[0].segments:
        path = segment_path(DIRECTORY, segment.number)
        rest = len(disk.content(path)) - SEGMENT_HEADER_BYTES
        disk.overwrite(path, SEGMENT_HEADER_BYTES, bytes(rest))
    inspection, _ = look(disk)
    beyond = look_beyond(disk, inspection)
    newest = disk.content(segment_path(DIRECTORY, inspection.segments[-1].number))
    header = decode_segment_header(newest)

    assert header is not None
    assert header.first > 1
    assert Damage(1, SEGMENT_HEADER_BYTES, "a record is not what it was") == inspection.damage
    assert (header.first - 1, None) == (beyond.last, beyond.hard_state)


async def test_a_later_vote_of_the_same_term_behind_a_damage_is_told() -> None:
    disk = FaultyDisk(Random(1))
    await make_directory(disk)
    vote = encode_hard_state(HardState(1, "n2"))
    offsets = put_records(disk, encode_hard_state(HardState(1)), b"", vote)
    disk.flip(segment_path(DIRECTORY, 1), offsets[1])
    inspection, _ = look(disk)
    beyond = look_beyond(disk, inspection)

    assert HardState(1) == inspection.hard_state
    assert (0, HardState(1, "n2")) == (beyond.last, beyond.hard_state)


async def test_what_no_program_wrote_behind_a_damage_tells_nothing() -> None:
    """A record that breaks the format, a header of another version, and one of another segment."""
    disk = FaultyDisk(Random(1))
    await make_directory(disk)
    entries = encode_hard_state(FIRST) + encode_entries(make_entries(1, 1))
    offsets = put_records(disk, entries, b"", b"\x09\0\0\0\0")
    disk.flip(segment_path(DIRECTORY, 1), offsets[1])
    packed = encode_segment_header(SegmentHeader(2, 50, 1, 0, 0))[:-4]
    packed = packed[:8] + (9).to_bytes(4, "little") + packed[12:]
    other_version = packed + checksum(packed).to_bytes(4, "little")
    other_segment = encode_segment_header(SegmentHeader(9, 60, 1, 0, 0))
    # The newest, without a record, could be one whose making was torn.
    for number, header in ((3, other_segment), (4, other_version)):
        disk.open(segment_path(DIRECTORY, number), create=True).write(0, header)
    inspection, _ = look(disk)
    beyond = look_beyond(disk, inspection)
    (broken,) = records_beyond(disk, inspection)

    assert (0, None) == (beyond.last, beyond.hard_state)
    assert (False, offsets[2]) == (broken.is_whole, broken.offset)


async def test_replaced_entries_count_among_those_of_a_segment() -> None:
    disk = FaultyDisk(Random(1))
    await make_directory(disk)
    opened = await open_log(disk)
    await opened.store(make_entries(1, 6), FIRST)
    await opened.log.close()
    opened = await open_log(disk)
    await opened.store(make_entries(7, 9))
    await opened.store(make_entries(5, 5, term=2), HardState(2))
    await opened.log.close()
    inspection, _ = look(disk)

    assert [(1, 6), (5, 9)] == [(each.first, each.last) for each in inspection.segments]
    assert 5 == inspection.last


async def test_nothing_behind_a_damage_is_told_as_nothing() -> None:
    disk = FaultyDisk(Random(1))
    await make_directory(disk)
    first = encode_hard_state(FIRST) + encode_entries(make_entries(1, 1))
    offsets = put_records(disk, first, b"", b"")
    disk.flip(segment_path(DIRECTORY, 1), offsets[1])
    inspection, _ = look(disk)
    beyond = look_beyond(disk, inspection)

    assert inspection.damage is not None
    assert (0, None) == (beyond.last, beyond.hard_state)


@pytest.mark.parametrize("damage", ["flipped", "missing"])
async def test_a_log_whose_owner_is_unknown_is_told_and_is_damage(damage: str) -> None:
    disk = FaultyDisk(Random(1))
    entries = await make_log(disk)
    path = f"{DIRECTORY}/identity"
    if damage == "flipped":
        disk.flip(path, 5)
    else:
        disk.forget(path)
    inspection, _ = look(disk)

    assert isinstance(inspection.owner, DataDirectoryError)
    assert "nothing says whose" in str(inspection.error)
    assert inspection.damage is None
    assert entries == entries_of(disk, inspection)


async def test_what_is_no_data_directory_is_refused() -> None:
    disk = FaultyDisk(Random(1))
    disk.make_directory(DIRECTORY)

    with pytest.raises(DataDirectoryError, match="no node's data directory"):
        inspect(disk, DIRECTORY)


async def test_a_directory_whose_node_never_wrote_is_whole() -> None:
    disk = FaultyDisk(Random(1))
    await make_directory(disk)
    inspection, records = look(disk)

    assert ([], (), None, 0) == (records, inspection.segments, inspection.error, inspection.last)


async def test_a_log_of_another_version_is_refused_by_name() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    path = segment_path(DIRECTORY, 2)
    content = disk.content(path)
    packed = content[:8] + (9).to_bytes(4, "little") + content[12 : SEGMENT_HEADER_BYTES - 4]
    disk.overwrite(path, 0, packed + checksum(packed).to_bytes(4, "little"))

    with pytest.raises(DataDirectoryError, match="format version 9"):
        inspect(disk, DIRECTORY)


async def test_a_disk_that_cannot_be_read_is_told() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    disk.fail("read", errno.EIO)

    with pytest.raises(DiskFailed, match="Copy the directory to a sound disk"):
        inspect(disk, DIRECTORY)


async def test_a_disk_that_cannot_be_read_behind_the_damage_is_told() -> None:
    disk = FaultyDisk(Random(1))
    await make_log(disk)
    disk.flip(segment_path(DIRECTORY, 2), 20)
    inspection, _ = look(disk)
    disk.fail("read", errno.EIO)

    with pytest.raises(DiskFailed, match="Copy the directory to a sound disk"):
        look_beyond(disk, inspection)


async def test_the_golden_files_are_told() -> None:
    disk = FaultyDisk(Random(1))
    disk.make_directory(DIRECTORY)
    for path in GOLDEN.iterdir():
        file = disk.open(f"{DIRECTORY}/{path.name}", create=True)
        file.write(0, path.read_bytes())
        file.sync()
    disk.sync_directory(DIRECTORY)
    inspection, _ = look(disk)
    recovered, entries = await read_log(disk)

    assert inspection.owner == Owner(NODE, Configuration(("n1", "n2", "n3"), (), ("n4",)))
    assert (HardState(4, "n2"), None) == (inspection.hard_state, inspection.error)
    assert recovered.runs == inspection.runs
    assert entries == entries_of(disk, inspection)
    assert [EntryKind.NOOP, EntryKind.COMMAND] == [entry.kind for entry in entries[:2]]
