"""What a start makes of a log after crashes and bit rot. DESIGN section 5, traps 35 to 39."""

import asyncio
import errno
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liferaft.errors import DamagedLog, DataDirectoryError, DiskFailed
from liferaft.raft.types import Entry, EntryId, EntryKind, HardState
from liferaft.storage.faulty import FaultyDisk, Operation
from liferaft.storage.records import (
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    checksum,
    encode_entries,
    encode_hard_state,
    encode_record,
    encode_segment_header,
)
from liferaft.storage.recovery import TornTail
from liferaft.storage.segment import segment_path
from liferaft.storage.wal import SEAL_AFTER, WriteAheadLog
from tests.storage.logs import (
    DIRECTORY,
    OpenLog,
    make_entries,
    open_log,
    read_log,
)

FIRST = HardState(1, "n1")


class Model:
    """The naive twin of a log: a list of entries, as appended and as reported."""

    def __init__(self, hard_state: HardState, entries: list[Entry]) -> None:
        self.states: list[tuple[HardState, list[Entry]]] = [(hard_state, entries)]
        self.stored = 0

    def append(self, hard_state: HardState | None, entries: list[Entry]) -> None:
        before_state, before = self.states[-1]
        kept = before[: entries[0].index - 1] if entries else before
        self.states.append((hard_state or before_state, [*kept, *entries]))

    def allows(self, hard_state: HardState, entries: list[Entry]) -> bool:
        """Whether a crash may leave this: a state at or after the last that was reported."""
        return (hard_state, entries) in self.states[self.stored :]


def write_at_random(random: Random, opened: OpenLog, model: Model) -> None:
    """Append a few entries, a new term, or a replacement of a suffix."""
    hard_state, log = model.states[-1]
    fresh: HardState | None = None
    first = len(log) + 1
    if random.random() < 0.3:
        hard_state = fresh = HardState(hard_state.current_term + 1, random.choice(("n1", None)))
        first = random.randint(max(1, first - 4), first)
    term = max(1, hard_state.current_term)
    if hard_state.current_term == 0:
        fresh = FIRST
    count = random.randint(0, 4)
    entries = make_entries(first, first + count - 1, term=term, data_bytes=random.randint(0, 60))
    model.append(fresh, entries)
    opened.append(entries, fresh)


async def live_and_crash(random: Random, disk: FaultyDisk, model: Model) -> None:
    """Write for a while, and let the power fail at any moment."""
    opened = await open_log(disk, segment_bytes=random.choice((200, 700, 4096)))
    already = len(model.states) - 1
    for _ in range(random.randint(0, 12)):
        write_at_random(random, opened, model)
        await asyncio.sleep(random.choice((0, 0, 0.0005, 0.003, SEAL_AFTER * 1.5)))
    model.stored = already + (opened.stored[-1] if opened.stored else 0)
    if random.random() < 0.2:
        disk.kill()
    disk.crash()
    await opened.log.close()


async def live_many_lives(seed: int) -> None:
    random = Random(seed)
    disk = FaultyDisk(random)
    model = Model(HardState(), [])
    for _ in range(6):
        await live_and_crash(random, disk, model)
        recovered, entries = await read_log(disk)

        assert model.allows(recovered.hard_state, entries)
        assert list(recovered.tail) == entries
        model = Model(recovered.hard_state, entries)


@pytest.mark.parametrize("block", range(8))
@pytest.mark.slow
@pytest.mark.looptime
async def test_what_was_reported_as_stored_survives_every_crash(block: int) -> None:
    """Any subset of what was not synced is lost, at any step, life after life."""
    for seed in range(block * 15, block * 15 + 15):
        await live_many_lives(seed)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(min_value=0))
@pytest.mark.slow
@pytest.mark.looptime
async def test_what_was_reported_as_stored_survives_any_crash(seed: int) -> None:
    await live_many_lives(seed)


async def make_closed_log(disk: FaultyDisk) -> list[Entry]:
    """Write a small log of several segments with a replaced suffix, and close it."""
    opened = await open_log(disk, segment_bytes=300)
    for index in range(1, 12, 2):
        await opened.store(make_entries(index, index + 1), FIRST)
    await opened.store(make_entries(9, 14, term=2), HardState(2, "n2"))
    await opened.log.close()
    return [*make_entries(1, 8), *make_entries(9, 14, term=2)]


def disk_of(contents: dict[str, bytes]) -> FaultyDisk:
    """Return a disk that holds these files, all durable."""
    disk = FaultyDisk(Random(1))
    disk.make_directory(DIRECTORY)
    for path, content in contents.items():
        put(disk, path, content)
    return disk


def put(disk: FaultyDisk, path: str, content: bytes) -> None:
    """Let a file hold exactly this, durably."""
    file = disk.open(path, create=True)
    file.truncate(0)
    file.write(0, content)
    file.sync()
    disk.sync_directory(DIRECTORY)


async def make_log_with_last_record(disk: FaultyDisk) -> tuple[str, int, int]:
    """Write two records, the last of them not sealed; return its path, start and end."""
    opened = await open_log(disk)
    await opened.store(make_entries(1, 2), FIRST)
    start = opened.log._stored.position.offset
    await opened.store(make_entries(3, 5))
    end = opened.log._stored.position.offset
    disk.crash()
    await opened.log.close()
    return segment_path(DIRECTORY, 1), start, end


async def tear_at_every_byte() -> None:
    disk = FaultyDisk(Random(1))
    path, start, end = await make_log_with_last_record(disk)
    original = disk.content(path)
    for cut in range(start, end):
        torn = original[:cut] + bytes(len(original) - cut)
        for content in (torn, torn[:cut]):
            recovered, entries = await read_log(disk_of({path: content}))
            left = len(content.rstrip(b"\0")) - start
            expected = TornTail(path, start, left, 2) if left > 0 else None

            assert make_entries(1, 2) == entries
            assert expected == recovered.torn


@pytest.mark.slow
@pytest.mark.looptime
async def test_a_last_write_torn_at_any_byte_is_cut_and_told() -> None:
    await tear_at_every_byte()


@pytest.mark.looptime
async def test_a_torn_tail_is_told_once() -> None:
    disk = FaultyDisk(Random(1))
    path, start, end = await make_log_with_last_record(disk)
    disk.flip(path, end - 1)
    first, _ = await read_log(disk)
    second, _ = await read_log(disk)

    assert TornTail(path, start, end - start, 2) == first.torn
    assert second.torn is None
    assert start == len(disk.content(path))


async def seal_by_idling(opened: OpenLog) -> None:
    await asyncio.sleep(SEAL_AFTER * 2)


async def seal_by_writing(opened: OpenLog) -> None:
    await opened.store(make_entries(6, 6))


async def seal_by_closing(opened: OpenLog) -> None:
    await opened.log.close()


@pytest.mark.looptime
@pytest.mark.parametrize("seal", [seal_by_idling, seal_by_writing, seal_by_closing])
async def test_the_last_acknowledged_entry_is_not_cut_as_torn(
    seal: Callable[[OpenLog], Awaitable[None]],
) -> None:
    """Trap 37 (protocol-aware recovery, FAST 2018)."""
    disk = FaultyDisk(Random(1))
    opened = await open_log(disk)
    await opened.store(make_entries(1, 4), FIRST)
    await opened.store(make_entries(5, 5))
    await seal(opened)
    disk.crash()
    await opened.log.close()
    path = segment_path(DIRECTORY, 1)
    disk.flip(path, disk.content(path).index(b"1/5"))

    with pytest.raises(DamagedLog, match="index 4"):
        await open_log(disk)


@pytest.mark.looptime
async def test_a_start_seals_what_it_found() -> None:
    """The new segment's header vouches for the end of the one before it."""
    disk = FaultyDisk(Random(1))
    path, _, end = await make_log_with_last_record(disk)
    opened = await open_log(disk)
    await asyncio.sleep(1)
    disk.crash()
    await opened.log.close()
    disk.flip(path, end - 1)

    with pytest.raises(DamagedLog, match="index 2"):
        await open_log(disk)


@pytest.mark.looptime
async def test_damage_before_the_tail_is_refused_with_place_and_remedy() -> None:
    disk = FaultyDisk(Random(1))
    await make_closed_log(disk)
    (path,) = [path for path in disk.paths() if b"1/7" in disk.content(path)]
    disk.flip(path, disk.content(path).index(b"1/7"))

    with pytest.raises(DamagedLog) as caught:
        await open_log(disk)

    sentence = str(caught.value)
    assert f"{path} is damaged at offset" in sentence
    assert "whole up to index 6" in sentence
    assert f"move {DIRECTORY} away" in sentence
    assert "rejoin from its peers" in sentence


@pytest.mark.looptime
@pytest.mark.parametrize("number", [1, 2, 3])
async def test_a_missing_segment_is_refused(number: int) -> None:
    disk = FaultyDisk(Random(1))
    await make_closed_log(disk)
    disk.remove(segment_path(DIRECTORY, number))

    with pytest.raises(DamagedLog, match=f"{number}.log is damaged at offset 0: .* missing"):
        await open_log(disk)


@pytest.mark.looptime
async def test_a_segment_from_another_copy_of_the_log_is_refused() -> None:
    """Each record's checksum goes on from the one before, across segments."""
    disk, other = FaultyDisk(Random(1)), FaultyDisk(Random(1))
    await make_closed_log(disk)
    opened = await open_log(other, segment_bytes=300)
    for index in range(1, 12, 2):
        await opened.store(make_entries(index, index + 1), HardState(1, "n9"))
    await opened.log.close()
    path = segment_path(DIRECTORY, 2)
    put(disk, path, other.content(path))

    with pytest.raises(DamagedLog):
        await open_log(disk)


@pytest.mark.looptime
async def test_records_of_another_place_are_not_taken_for_records() -> None:
    """Data that looks like a record, in a torn write: another segment's or another offset's."""
    disk = FaultyDisk(Random(1))
    path, start, end = await make_log_with_last_record(disk)
    content = bytearray(disk.content(path))
    stray, _ = encode_record(b"", segment=2, offset=start + 50, previous_crc=0)
    content[start:end] = bytes(end - start)
    content[start + 50 : start + 50 + len(stray)] = stray
    put(disk, path, bytes(content))
    recovered, entries = await read_log(disk)

    assert make_entries(1, 2) == entries
    assert recovered.torn is not None


@pytest.mark.looptime
async def test_a_segment_whose_making_was_torn_is_made_anew() -> None:
    disk = FaultyDisk(Random(1))
    opened = await open_log(disk)
    await opened.store(make_entries(1, 2), FIRST)
    await opened.log.close()
    header = encode_segment_header(SegmentHeader(2, 3, 1, 0, 0))
    put(disk, segment_path(DIRECTORY, 2), header[:20] + bytes(3000) + b"stale")
    recovered, _ = await read_log(disk)
    again, entries = await read_log(disk)

    assert TornTail(segment_path(DIRECTORY, 2), 0, 3025, 2) == recovered.torn
    assert again.torn is None
    assert make_entries(1, 2) == entries


@pytest.mark.looptime
class DiskThatLosesNames(FaultyDisk):
    """Its next sync of a directory fails where it `is_failing`; names may be in the cache alone."""

    is_failing = False

    def sync_directory(self, path: str) -> None:
        if self.is_failing:
            self.is_failing = False
            self.fail("sync", errno.EIO)
        super().sync_directory(path)


@pytest.mark.parametrize("seed", range(20))
async def test_a_segment_whose_name_only_the_cache_knows_is_made_anew(seed: int) -> None:
    """No later sync of the directory reaches the name, and the next segment vouches for it."""
    disk = DiskThatLosesNames(Random(seed))
    entries = await make_closed_log(disk)
    log, recovered = await WriteAheadLog.open(disk, DIRECTORY, segment_bytes=300)
    disk.is_failing = True
    await OpenLog(log, recovered).wait_failed()
    again = await open_log(disk, segment_bytes=300)
    await again.store(make_entries(15, 15, term=2))
    disk.crash()
    _, found = await read_log(disk)

    assert [*entries, *make_entries(15, 15, term=2)] == found


async def test_a_damaged_header_of_a_segment_with_records_is_refused() -> None:
    """A segment is durable before its first record, so its making was not torn."""
    disk = FaultyDisk(Random(1))
    path, _, _ = await make_log_with_last_record(disk)
    disk.flip(path, 20)

    with pytest.raises(DamagedLog, match="offset 0: the segment's header"):
        await open_log(disk)


@pytest.mark.looptime
async def test_what_only_the_cache_held_is_written_again_before_it_is_told() -> None:
    """A sync that failed leaves pages that read well and are not on the disk (ATC 2020)."""
    for seed in range(20):
        disk = FaultyDisk(Random(seed))
        opened = await open_log(disk)
        await opened.store(make_entries(1, 1), FIRST)
        disk.fail("sync", errno.EIO)
        opened.append(make_entries(2, 2))
        await opened.wait_failed()
        disk.kill()
        await opened.log.close()
        _, recovered = await WriteAheadLog.open(disk, DIRECTORY)
        disk.crash()
        _, entries = await read_log(disk)

        assert 2 == recovered.last
        assert make_entries(1, 2) == entries


@pytest.mark.looptime
@pytest.mark.parametrize("operation", ["read", "write", "sync"])
async def test_a_disk_that_fails_while_a_log_is_opened(operation: Operation) -> None:
    disk = FaultyDisk(Random(1))
    await make_closed_log(disk)
    disk.fail(operation, errno.EIO)

    with pytest.raises(DiskFailed):
        await WriteAheadLog.open(disk, DIRECTORY)


@pytest.mark.looptime
async def test_a_log_of_another_version_is_refused_by_name() -> None:
    disk = FaultyDisk(Random(1))
    await make_closed_log(disk)
    path = segment_path(DIRECTORY, 1)
    content = disk.content(path)
    packed = content[:8] + (9).to_bytes(4, "little") + content[12 : SEGMENT_HEADER_BYTES - 4]
    put(disk, path, packed + checksum(packed).to_bytes(4, "little"))

    with pytest.raises(DataDirectoryError, match="format version 9"):
        await WriteAheadLog.open(disk, DIRECTORY)


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("body", "what"),
    [
        (encode_entries(make_entries(3, 3)), "do not follow"),
        (encode_entries(make_entries(1, 1, term=2)), "later term"),
        (encode_hard_state(HardState(0)), "goes back"),
        (b"\x09\x00\x00\x00\x00", "kind 9"),
    ],
)
async def test_records_that_break_the_logs_promises_are_refused(body: bytes, what: str) -> None:
    """Terms and indexes are checked after the read as before the write."""
    disk = FaultyDisk(Random(1))
    header = encode_segment_header(SegmentHeader(1, 1, 0, 0, 0))
    offset = len(header)
    first, crc = encode_record(encode_hard_state(FIRST), segment=1, offset=offset, previous_crc=0)
    second, _ = encode_record(body, segment=1, offset=offset + len(first), previous_crc=crc)
    disk.make_directory(DIRECTORY)
    put(disk, segment_path(DIRECTORY, 1), header + first + second)

    with pytest.raises(DamagedLog, match=what):
        await WriteAheadLog.open(disk, DIRECTORY)


@pytest.mark.looptime
async def test_a_log_that_begins_above_the_snapshot_is_refused() -> None:
    disk = FaultyDisk(Random(1))
    await make_closed_log(disk)
    disk.remove(segment_path(DIRECTORY, 1))
    disk.remove(segment_path(DIRECTORY, 2))

    with pytest.raises(DamagedLog, match="before this one are missing"):
        await WriteAheadLog.open(disk, DIRECTORY, base=EntryId(1, 1))


@pytest.mark.looptime
async def test_the_tail_is_bounded_and_holds_one_entry_at_least() -> None:
    disk = FaultyDisk(Random(1))
    entries = await make_closed_log(disk)
    _, three = await WriteAheadLog.open(disk, DIRECTORY, tail_bytes=60)
    _, one = await WriteAheadLog.open(disk, DIRECTORY, tail_bytes=1)

    assert entries[-3:] == list(three.tail)
    assert entries[-1:] == list(one.tail)


@pytest.mark.looptime
async def test_a_record_whose_lengths_do_not_add_up_is_damage() -> None:
    """Found by the fuzzer: a right checksum over wrong columns left the log as a FormatError."""
    disk = FaultyDisk(Random(1))
    body = encode_hard_state(FIRST) + encode_entries(make_entries(1, 2))
    longer = body.replace((20).to_bytes(4, "little"), (21).to_bytes(4, "little"), 1)
    header = SegmentHeader(number=1, first=1, prior_term=0, previous_end=0, previous_crc=0)
    record, _ = encode_record(longer, segment=1, offset=SEGMENT_HEADER_BYTES, previous_crc=0)
    disk.make_directory(DIRECTORY)
    put(disk, segment_path(DIRECTORY, 1), encode_segment_header(header) + record)

    with pytest.raises(DamagedLog, match="entries that do not fill their run"):
        await open_log(disk)


async def test_the_configurations_of_the_log_are_found_but_for_those_that_were_replaced() -> None:
    """The core needs all of them at its start, however far back they lie."""
    disk = FaultyDisk(Random(1))
    opened = await open_log(disk)
    members = [
        Entry(term, index, EntryKind.CONFIGURATION, b"members %d" % index)
        for term, index in ((1, 2), (1, 4), (2, 5))
    ]
    first, *others = make_entries(1, 4)
    await opened.store([first, members[0], others[1]], FIRST)
    await opened.store([members[1]])
    await opened.store(make_entries(4, 4, term=2), HardState(2))
    await opened.store([members[2]])
    await opened.log.close()
    recovered, _ = await read_log(disk)

    assert (members[0], members[2]) == recovered.configurations
