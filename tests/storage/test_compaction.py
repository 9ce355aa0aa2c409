"""A log whose beginning a snapshot covers: what may be dropped, and what a start makes of it."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liferaft.errors import DamagedLog, InvariantViolated
from liferaft.raft.types import Entry, EntryId, HardState
from liferaft.storage.compaction import LiveSegments
from liferaft.storage.contents import EMPTY, Place, Places
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.records import SegmentHeader
from liferaft.storage.recovery import Recovered
from liferaft.storage.segment import segment_numbers, segment_path
from liferaft.storage.wal import SEAL_AFTER, WriteAheadLog
from tests.storage.logs import DIRECTORY, OpenLog, make_entries

FIRST = HardState(1, "n1")


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk(Random(1))


async def open_behind(disk: FaultyDisk, base: EntryId, *, segment_bytes: int = 300) -> OpenLog:
    """Open the log of a node whose newest snapshot ends with `base`."""
    log, recovered = await WriteAheadLog.open(
        disk, DIRECTORY, base=base, segment_bytes=segment_bytes
    )
    return OpenLog(log, recovered)


async def filled(disk: FaultyDisk, last: int = 20) -> OpenLog:
    """Return a log of many segments."""
    opened = await open_behind(disk, EMPTY)
    await opened.store([], FIRST)
    for index in range(1, last + 1):
        await opened.store(make_entries(index, index))
    return opened


async def idle(opened: OpenLog) -> None:
    """Let the log do whatever it has to do beside its writes."""
    await asyncio.sleep(2 * SEAL_AFTER)
    assert opened.failures == []


def segments(disk: FaultyDisk) -> list[int]:
    return segment_numbers(disk.names(DIRECTORY))


pytestmark = pytest.mark.looptime


async def test_segments_that_a_snapshot_covers_are_dropped_and_the_rest_stays(
    disk: FaultyDisk,
) -> None:
    opened = await filled(disk)
    before = len(segments(disk))
    opened.log.compact(10)
    await idle(opened)
    after = segments(disk)
    await opened.log.close()
    again = await open_behind(disk, EntryId(1, 10))
    entries = await again.read_all()
    await again.log.close()

    assert len(after) < before
    assert after[0] > 1
    assert again.recovered.first <= 11
    assert make_entries(again.recovered.first, 20) == entries
    assert FIRST == again.recovered.hard_state
    assert again.recovered.prior_term == 1


async def test_what_lies_below_the_beginning_is_not_read(disk: FaultyDisk) -> None:
    opened = await filled(disk)
    opened.log.compact(20)
    await idle(opened)

    assert await opened.log.read(1, 20, 1000) == ()
    assert await opened.log.read(20, 20, 1000) in ((), tuple(make_entries(20, 20)))
    await opened.log.close()


async def test_nothing_is_dropped_while_no_snapshot_covers_it(disk: FaultyDisk) -> None:
    opened = await filled(disk)
    before = segments(disk)
    opened.log.compact(0)
    await idle(opened)
    await opened.log.close()

    assert set(before) <= set(segments(disk))


async def test_a_compacted_log_is_refused_without_the_snapshot(disk: FaultyDisk) -> None:
    opened = await filled(disk)
    opened.log.compact(15)
    await idle(opened)
    await opened.log.close()

    with pytest.raises(DamagedLog, match="missing"):
        await open_behind(disk, EMPTY)
    with pytest.raises(DamagedLog, match="before this one are missing"):
        await open_behind(disk, EntryId(1, 3))


async def test_a_log_begins_anew_behind_a_snapshot_from_elsewhere(disk: FaultyDisk) -> None:
    opened = await filled(disk)
    opened.log.begin_anew(EntryId(1, 100))
    await opened.store(make_entries(101, 103))
    await idle(opened)
    left = segments(disk)
    await opened.log.close()
    again = await open_behind(disk, EntryId(1, 100))
    entries = await again.log.read(101, 200, 1000)
    await again.log.close()

    assert tuple(make_entries(101, 103)) == entries
    assert (101, 103) == (again.recovered.first, again.recovered.last)
    assert FIRST == again.recovered.hard_state
    assert len(left) < 3, "what is void is dropped"


async def test_a_read_waits_for_a_log_that_is_to_begin_anew(disk: FaultyDisk) -> None:
    """The void entries may lie where the new ones will: they must not be given out for them."""
    opened = await filled(disk)
    opened.log.append(1000, HardState(2), [])
    opened.log.begin_anew(EntryId(2, 5))
    opened.log.append(1001, None, make_entries(6, 7, term=2))
    entries = await opened.log.read(6, 20, 1000)
    await opened.log.close()

    assert tuple(make_entries(6, 7, term=2)) == entries


async def test_a_crash_before_the_log_began_anew_finds_it_void(disk: FaultyDisk) -> None:
    """Trap 31: the snapshot is stored, and the log still holds what conflicts with it."""
    opened = await filled(disk)
    await opened.log.close()
    again = await open_behind(disk, EntryId(1, 100))
    await again.store(make_entries(101, 101))
    await again.log.close()
    third = await open_behind(disk, EntryId(1, 100))
    entries = await third.log.read(101, 200, 1000)
    await third.log.close()

    assert (101, 100) == (again.recovered.first, again.recovered.last)
    assert FIRST == again.recovered.hard_state, "the vote stays"
    assert tuple(make_entries(101, 101)) == entries


async def test_a_log_that_diverged_where_the_snapshot_ends_is_void(disk: FaultyDisk) -> None:
    opened = await filled(disk)
    await opened.log.close()
    again = await open_behind(disk, EntryId(4, 10))
    await again.log.close()

    assert (11, 10) == (again.recovered.first, again.recovered.last)
    assert again.recovered.hard_state == HardState(4), "the snapshot was committed in that term"


async def test_a_log_cannot_begin_behind_a_term_that_it_never_heard_of(disk: FaultyDisk) -> None:
    opened = await filled(disk)
    with pytest.raises(InvariantViolated, match="behind"):
        opened.log.begin_anew(EntryId(2, 100))
    await opened.log.close()


async def test_a_segment_that_begins_anew_has_a_version_of_its_own(disk: FaultyDisk) -> None:
    """So that a program which knows only version 1 says so, instead of finding damage."""
    opened = await filled(disk, last=2)
    number = opened.log.statistics().segments
    opened.log.begin_anew(EntryId(1, 50))
    await opened.store(make_entries(51, 51))
    await opened.log.close()
    versions = {each: disk.content(segment_path(DIRECTORY, each))[8] for each in segments(disk)}
    await (await open_behind(disk, EntryId(1, 50))).log.close()

    assert versions == {number + 1: 2}


async def test_a_log_whose_first_segment_tells_no_term_is_refused(disk: FaultyDisk) -> None:
    """Its predecessors are gone, and with them the vote."""
    opened = await filled(disk)
    opened.log.compact(15)
    await idle(opened)
    await opened.log.close()
    left = segments(disk)
    for number in left[1:]:
        disk.remove(segment_path(DIRECTORY, number))
    file = disk.open(segment_path(DIRECTORY, left[0]))
    file.truncate(52)
    file.truncate(300)

    with pytest.raises(DamagedLog, match="tells the term and the vote"):
        await open_behind(disk, EntryId(1, 15))


def test_a_segment_in_which_older_entries_were_replaced_cannot_be_the_first() -> None:
    """The terms of what it replaced lie in the segments before."""
    headers = [
        SegmentHeader(number=1, first=1, prior_term=0, previous_end=0, previous_crc=0),
        SegmentHeader(number=2, first=11, prior_term=1, previous_end=0, previous_crc=0),
        SegmentHeader(number=3, first=13, prior_term=2, previous_end=0, previous_crc=0),
    ]
    places = Places(first=1)
    for first, last, segment in ((1, 10, 1), (8, 12, 2), (13, 14, 3)):
        places.append(Place(first, last, segment, 100, 10))

    assert LiveSegments(headers[:2]).beginning(10, places) is None
    assert LiveSegments(headers).beginning(11, places) is None
    assert LiveSegments(headers).beginning(12, places) == headers[2]


class Model:
    """The naive twin: what each append left behind the newest snapshot, and what was reported."""

    def __init__(self) -> None:
        self.base = EMPTY
        self.committed = 0
        self.states: list[tuple[HardState, list[Entry]]] = [(HardState(), [])]
        self.stored = 0

    @property
    def last(self) -> EntryId:
        entries = self.states[-1][1]
        return EntryId(entries[-1].term, entries[-1].index) if entries else self.base

    def forget(self, base: EntryId) -> None:
        """Let a snapshot cover all up to `base`."""
        self.base = base
        self.committed = max(self.committed, base.index)
        self.states = [
            (hard_state, [each for each in entries if each.index > base.index])
            for hard_state, entries in self.states
        ]

    def begin_anew(self, base: EntryId) -> None:
        self.base, self.committed = base, base.index
        self.states = [(hard_state, []) for hard_state, _ in self.states]

    def check(self, recovered: Recovered) -> None:
        """Hold what a start found against what may be left."""
        base = self.base
        above = [entry for entry in recovered.tail if entry.index > base.index]
        allowed = [
            (HardState(max(state.current_term, base.term), state.voted_for), entries)
            for state, entries in self.states[self.stored :]
        ]
        assert recovered.first <= base.index + 1
        assert any(
            entries == above and state.current_term == recovered.hard_state.current_term
            for state, entries in allowed
        ), (recovered, allowed)
        self.states, self.stored = [(recovered.hard_state, above)], 0


def append_at_random(random: Random, opened: OpenLog, model: Model) -> None:
    hard_state, log = model.states[-1]
    fresh: HardState | None = None
    first = model.last.index + 1
    if random.random() < 0.3 or hard_state.current_term == 0:
        hard_state = fresh = HardState(hard_state.current_term + 1, random.choice(("n1", None)))
        first = max(model.committed + 1, first - random.randint(0, 4))
    entries = make_entries(
        first,
        first + random.randint(0, 4) - 1,
        term=hard_state.current_term,
        data_bytes=random.randint(0, 60),
    )
    kept = [each for each in log if each.index < first] if entries else log
    model.states.append((hard_state, [*kept, *entries]))
    opened.append(entries, fresh)


def snapshot_at_random(random: Random, opened: OpenLog, model: Model) -> None:
    """Take a snapshot of what is stored, or let one come from elsewhere."""
    term = model.states[-1][0].current_term
    if random.random() < 0.3 and term:
        model.begin_anew(EntryId(term, model.last.index + random.randint(1, 20)))
        opened.log.begin_anew(model.base)
        return
    stored = model.states[model.stored][1]
    common = [each for each in stored if each in model.states[-1][1]]
    if common:
        entry = random.choice(common)
        model.forget(EntryId(entry.term, entry.index))
        opened.log.compact(entry.index)


async def live_and_crash(random: Random, disk: FaultyDisk, model: Model) -> None:
    opened = await open_behind(disk, model.base, segment_bytes=random.choice((200, 700, 4096)))
    model.check(opened.recovered)
    for _ in range(random.randint(0, 15)):
        append_at_random(random, opened, model)
        await asyncio.sleep(random.choice((0, 0, 0.0005, 0.003, SEAL_AFTER * 1.5)))
        model.stored = opened.stored[-1] if opened.stored else 0
        if random.random() < 0.3:
            snapshot_at_random(random, opened, model)
    if random.random() < 0.3:
        await opened.log.close()
        model.stored = len(model.states) - 1
    else:
        end_at_once = disk.crash if random.random() < 0.7 else disk.kill
        end_at_once()
        model.stored = opened.stored[-1] if opened.stored else 0
        writer = opened.log._writer
        assert writer is not None
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
@pytest.mark.slow
async def test_what_was_stored_behind_the_snapshot_survives_any_crash(seed: int) -> None:
    random = Random(seed)
    disk, model = FaultyDisk(Random(seed)), Model()
    for _ in range(5):
        await live_and_crash(random, disk, model)


@pytest.mark.parametrize("kept", [1, 2, 3])
async def test_a_drop_that_was_interrupted_is_finished_by_the_next_start(
    disk: FaultyDisk, kept: int
) -> None:
    """The last of the segments goes first, and what lies before the gap does not count."""
    opened = await filled(disk)
    await opened.log.close()
    before = segments(disk)
    for number in before[kept : before[-1] - 4]:
        disk.remove(segment_path(DIRECTORY, number))
    again = await open_behind(disk, EntryId(1, 18))
    entries = await again.read_all()
    await idle(again)
    after = segments(disk)
    await again.log.close()

    assert make_entries(again.recovered.first, 20) == entries
    assert after[0] == before[-1] - 3


async def test_a_log_that_may_begin_anywhere_begins_where_its_first_segment_does(
    disk: FaultyDisk,
) -> None:
    """Whoever opens it without a base knows by other means what may be missing."""
    opened = await filled(disk)
    await opened.log.close()
    before = segments(disk)
    disk.remove(segment_path(DIRECTORY, before[3]))
    log, recovered = await WriteAheadLog.open(disk, DIRECTORY, base=None, segment_bytes=300)
    again = OpenLog(log, recovered)
    entries = await again.read_all()
    await idle(again)
    after = segments(disk)
    await log.close()

    assert 1 < recovered.first
    assert make_entries(recovered.first, 20) == entries
    assert (1, FIRST) == (recovered.prior_term, recovered.hard_state)
    assert before[4] == after[0], "what lies before the gap goes"
