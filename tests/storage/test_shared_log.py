"""Many groups on one log: what each appended is its own, and all of them share the syncs."""

import asyncio
import errno
from collections.abc import Callable
from random import Random

import pytest

from liferaft.errors import DamagedLog, DiskFailed, DiskFull, InvariantViolated
from liferaft.raft.types import Entry, EntryId, EntryKind, HardState, TermRun
from liferaft.storage.contents import EMPTY
from liferaft.storage.faulty import FaultyDisk
from liferaft.storage.segment import segment_numbers, segment_path
from liferaft.storage.shared_log import SharedLog
from tests.storage.logs import DIRECTORY, make_entries, open_log
from tests.storage.shared_logs import NOTHING, OpenGroup, open_shared, read_shared

pytestmark = pytest.mark.looptime

FIRST = HardState(1, "n1")


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk(Random(1))


async def test_a_new_directory_knows_only_the_groups_that_it_is_told_of(disk: FaultyDisk) -> None:
    opened = await open_shared(disk, {"old": EntryId(3, 7), "new": EntryId(0, 0)})
    await opened.log.close()

    assert {
        "old": NOTHING.__class__(HardState(3), 8, 7, (), (), None, (), 3),
        "new": NOTHING,
    } == opened.recovered


async def test_each_group_finds_after_a_restart_what_it_stored(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    a, b = opened.group("a"), opened.group("b")
    a.append(make_entries(1, 3), FIRST)
    b.append(make_entries(1, 2, term=4), HardState(4, "n2"))
    a.append(make_entries(4, 5, term=2), HardState(2))
    await a.wait_stored()
    await b.wait_stored()
    await opened.log.close()
    disk.crash()
    again = await open_shared(disk)
    entries_a, entries_b = await again.group("a").read_all(), await again.group("b").read_all()
    await again.log.close()

    expected = [*make_entries(1, 3), *make_entries(4, 5, term=2)]
    assert {"a", "b"} == set(again.recovered)
    assert expected == entries_a == list(again.recovered["a"].tail)
    assert (TermRun(1, 1), TermRun(2, 4)) == again.recovered["a"].runs
    assert HardState(2) == again.recovered["a"].hard_state
    assert make_entries(1, 2, term=4) == entries_b == list(again.recovered["b"].tail)
    assert HardState(4, "n2") == again.recovered["b"].hard_state


async def test_what_all_groups_append_in_one_turn_shares_one_sync(disk: FaultyDisk) -> None:
    opened = await open_shared(disk, segment_bytes=2**20)
    groups = [opened.group(f"g{number}") for number in range(100)]
    for group in groups:
        await group.store([], FIRST)
    before = opened.log.statistics()
    for group in groups:
        group.append(make_entries(1, 2))
        group.append(make_entries(3, 3))
    for group in groups:
        await group.wait_stored()
    after = opened.log.statistics()
    await opened.log.close()

    assert 1 == after.syncs - before.syncs
    assert (1, 200) == (after.appends - before.appends, after.entries - before.entries)
    assert all([1, 3] == group.stored for group in groups), "one report for one sync"


async def test_nothing_is_reported_as_stored_before_its_sync(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    group = opened.group("a")
    await group.store([], FIRST)
    disk.stick()
    group.append(make_entries(1, 1))
    await asyncio.sleep(60)
    while_stuck, last_while_stuck = list(group.stored), group.log.last_written
    disk.unstick()
    await group.wait_stored()
    await opened.log.close()

    assert ([1], 0) == (while_stuck, last_while_stuck)
    assert ([1, 2], 1) == (group.stored, group.log.last_written)


async def test_a_report_never_comes_from_inside_a_method(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    group = opened.group("a")
    group.append([], None)
    group.append([], FIRST)
    inside = list(group.stored)
    await group.wait_stored()
    await opened.log.close()

    assert [] == inside
    assert [2] == group.stored


async def test_an_append_replaces_the_groups_log_from_its_first_index_on(
    disk: FaultyDisk,
) -> None:
    opened = await open_shared(disk)
    group, other = opened.group("a"), opened.group("b")
    await other.store(make_entries(1, 10), FIRST)
    await group.store(make_entries(1, 10), FIRST)
    group.append(make_entries(8, 12, term=2), HardState(2))
    group.append(make_entries(11, 11, term=3), HardState(3))
    group.append(make_entries(5, 6, term=4), HardState(4))
    await group.wait_stored()
    before = await group.read_all()
    await opened.log.close()
    found = await read_shared(disk)

    expected = [*make_entries(1, 4), *make_entries(5, 6, term=4)]
    assert expected == before
    assert {"a": (HardState(4), expected), "b": (FIRST, make_entries(1, 10))} == found


async def test_the_tail_is_whole_after_a_suffix_was_replaced(disk: FaultyDisk) -> None:
    """Of what is read last, the replaced entries leave room that earlier ones have to fill."""
    opened = await open_shared(disk)
    group = opened.group("a")
    await group.store(make_entries(1, 10), FIRST)
    await group.store(make_entries(11, 20))
    await group.store(make_entries(12, 12, term=2), HardState(2))
    await opened.log.close()
    again = await open_shared(disk, tail_bytes=100)
    await again.log.close()

    assert [*make_entries(8, 11), *make_entries(12, 12, term=2)] == list(again.recovered["a"].tail)


async def test_the_tail_of_each_group_is_bounded_and_holds_one_entry(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    await opened.group("a").store(make_entries(1, 10), FIRST)
    await opened.group("b").store(make_entries(1, 1, data_bytes=500), FIRST)
    await opened.log.close()
    again = await open_shared(disk, tail_bytes=60)
    await again.log.close()

    assert make_entries(8, 10) == list(again.recovered["a"].tail)
    assert make_entries(1, 1, data_bytes=500) == list(again.recovered["b"].tail)


async def test_configurations_are_found_but_for_those_that_were_replaced(
    disk: FaultyDisk,
) -> None:
    opened = await open_shared(disk)
    group = opened.group("a")
    members = [
        Entry(term, index, EntryKind.CONFIGURATION, b"members %d" % index)
        for term, index in ((1, 2), (1, 4), (2, 5))
    ]
    first, *others = make_entries(1, 4)
    await group.store([first, members[0], others[1]], FIRST)
    await group.store([members[1]])
    await group.store(make_entries(4, 4, term=2), HardState(2))
    await group.store([members[2]])
    await opened.log.close()
    again = await open_shared(disk)
    await again.log.close()

    assert (members[0], members[2]) == again.recovered["a"].configurations


async def test_read_returns_what_fits_and_at_least_one_entry(disk: FaultyDisk) -> None:
    opened = await open_shared(disk, segment_bytes=300)
    group, other = opened.group("a"), opened.group("b")
    for index in range(1, 21):
        other.append(make_entries(index, index), FIRST)
        await group.store(make_entries(index, index), FIRST)
    one = await group.log.read(7, 20, 1)
    some = await group.log.read(7, 20, 100)
    up_to_last = await group.log.read(7, 9, 10_000)
    beyond = await group.log.read(21, 22, 10_000)
    await opened.log.close()

    assert make_entries(7, 7) == list(one)
    assert make_entries(7, 6 + len(some)) == list(some)
    assert len(some) <= 5
    assert make_entries(7, 9) == list(up_to_last)
    assert () == beyond


async def test_read_waits_for_what_is_not_written_yet(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    group = opened.group("a")
    group.append(make_entries(1, 2), FIRST)
    entries = await group.log.read(2, 2, 100)
    await opened.log.close()

    assert make_entries(2, 2) == list(entries)


async def test_a_read_that_meets_bit_rot_is_refused(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    group = opened.group("a")
    await group.store(make_entries(1, 2), FIRST)
    path = segment_path(DIRECTORY, 1)
    disk.flip(path, disk.content(path).index(b"1/2"))
    with pytest.raises(DamagedLog):
        await group.log.read(1, 2, 100)
    await opened.log.close()


async def test_a_group_begins_anew_behind_a_snapshot_from_elsewhere(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    group, other = opened.group("a"), opened.group("b")
    await other.store(make_entries(1, 3), FIRST)
    await group.store(make_entries(1, 10), FIRST)
    group.log.begin_anew(EntryId(1, 100))
    void = await group.log.read(5, 5, 100)
    await group.store(make_entries(101, 103))
    await opened.log.close()
    again = await open_shared(disk, {"a": EntryId(1, 100)})
    entries = await again.group("a").read_all()
    untouched = await again.group("b").read_all()
    await again.log.close()

    assert () == void
    assert make_entries(101, 103) == entries
    assert (101, 103, 1) == (
        again.recovered["a"].first,
        again.recovered["a"].last,
        again.recovered["a"].prior_term,
    )
    assert FIRST == again.recovered["a"].hard_state, "the vote stays"
    assert make_entries(1, 3) == untouched


@pytest.mark.parametrize("base", [EntryId(1, 100), EntryId(4, 5)])
async def test_a_log_that_does_not_hold_its_snapshots_end_is_void_for_good(
    disk: FaultyDisk, base: EntryId
) -> None:
    """Trap 31, for one group: what is appended behind the snapshot is found, and nothing else."""
    opened = await open_shared(disk)
    await opened.group("a").store(make_entries(1, 10), FIRST)
    await opened.log.close()
    again = await open_shared(disk, {"a": base})
    first = base.index + 1
    later = make_entries(first, first + 1, term=max(1, base.term))
    await again.group("a").store(later)
    await again.log.close()
    third = await open_shared(disk, {"a": base})
    entries = await third.group("a").read_all()
    await third.log.close()

    assert (first, base.index) == (again.recovered["a"].first, again.recovered["a"].last)
    assert HardState(base.term) == again.recovered["a"].hard_state or base.term == 1
    assert later == entries


async def test_a_log_that_begins_behind_its_snapshot_is_refused(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    group = opened.group("a")
    await group.store([], FIRST)
    group.log.begin_anew(EntryId(1, 50))
    await group.store(make_entries(51, 52))
    await opened.log.close()

    with pytest.raises(DamagedLog, match="not hold all of group a: entries 41 to 50 are missing"):
        await open_shared(disk, {"a": EntryId(1, 40)})
    with pytest.raises(DamagedLog, match=r"entries 1 to 50 are missing.* rejoin from its peers"):
        await open_shared(disk, {"a": EMPTY})


async def test_a_group_that_nobody_named_is_told_as_it_is(disk: FaultyDisk) -> None:
    """Its snapshots may be gone, and its removal not written: that must not stop the others."""
    opened = await open_shared(disk)
    group = opened.group("a")
    await group.store([], FIRST)
    group.log.begin_anew(EntryId(1, 50))
    await group.store(make_entries(51, 52))
    await opened.log.close()
    again = await open_shared(disk)
    await again.log.close()

    assert (51, 52, 1) == (
        again.recovered["a"].first,
        again.recovered["a"].last,
        again.recovered["a"].prior_term,
    )


async def test_a_removed_group_does_not_come_back_under_its_name(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    await opened.group("a").store(make_entries(1, 10), HardState(5, "n1"))
    old = opened.group("a")
    opened.remove("a")
    after = await old.log.read(1, 10, 1000)
    await opened.group("a").store(make_entries(1, 2), FIRST)
    await opened.log.close()
    found = await read_shared(disk)

    assert () == after
    assert {"a": (FIRST, make_entries(1, 2))} == found


async def test_a_removed_group_is_forgotten(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    await opened.group("a").store(make_entries(1, 10), FIRST)
    await opened.group("b").store([], FIRST)
    opened.remove("a")
    opened.remove("never heard of")
    await opened.log.wait_stored()
    disk.crash()
    opened.bury()
    found = await read_shared(disk)

    assert {"b": (FIRST, [])} == found


async def test_a_removed_group_reports_nothing_more(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    group = opened.group("a")
    group.append(make_entries(1, 1), FIRST)
    opened.remove("a")
    await asyncio.sleep(60)
    await opened.log.close()

    assert [] == group.stored


async def test_the_same_object_stands_for_a_group_each_time(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    a = opened.log.group("a")
    same = opened.log.group("a")
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        opened.log.group("")
    with pytest.raises(ValueError, match="1 to 255 bytes"):
        opened.log.group("ä" * 128)
    await opened.log.close()

    assert a is same


async def test_a_group_that_starts_late_is_told_what_was_stored_before(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    log = opened.log.group("a")
    log.append(3, FIRST, make_entries(1, 2))
    await opened.log.wait_stored()
    group = OpenGroup(log, NOTHING)
    inside = list(group.stored)
    await asyncio.sleep(0)
    await opened.log.close()

    assert ([], [3]) == (inside, group.stored)


async def test_a_closed_log_takes_no_groups_and_removes_none(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    await opened.group("a").store(make_entries(1, 2), FIRST)
    await opened.log.close()
    late = opened.group("late")
    late.append(make_entries(1, 1), FIRST)
    late.log.compact(1)
    late.log.begin_anew(EntryId(1, 9))
    opened.remove("a")
    await asyncio.sleep(60)
    found = await read_shared(disk)

    assert {"a": (FIRST, make_entries(1, 2))} == found
    assert [] == late.stored


async def test_a_failed_sync_ends_all_groups_and_nothing_is_written_after(
    disk: FaultyDisk,
) -> None:
    """Trap 35."""
    opened = await open_shared(disk)
    a, b = opened.group("a"), opened.group("b")
    await a.store(make_entries(1, 1), FIRST)
    disk.fail("sync", errno.EIO)
    a.append(make_entries(2, 2))
    await a.wait_failed()
    writes, syncs = disk.writes, disk.syncs
    a.append(make_entries(3, 3))
    b.append([], FIRST)
    late = OpenGroup(opened.log.group("c"), NOTHING)
    await late.wait_failed()
    await asyncio.sleep(60)
    with pytest.raises(DiskFailed, match="never written"):
        await a.log.read(2, 2, 100)
    await opened.log.close()

    assert [1] == a.stored
    assert [] == b.stored
    for failures in (a.failures, b.failures, late.failures, opened.failures):
        assert [DiskFailed] == [type(error) for error in failures]
    assert (writes, syncs) == (disk.writes, disk.syncs)


async def test_a_full_disk_stops_all_groups_and_loses_nothing(disk: FaultyDisk) -> None:
    told: list[DiskFull | None] = []
    log, _ = await SharedLog.open(
        disk, DIRECTORY, bases={}, segment_bytes=500, on_blocked=told.append
    )
    log.start(on_failure=lambda _: None)
    a, b = OpenGroup(log.group("a"), NOTHING), OpenGroup(log.group("b"), NOTHING)
    await a.store(make_entries(1, 1), FIRST)
    disk.capacity_bytes = 600
    for index in range(2, 20):
        a.append(make_entries(index, index))
        b.append(make_entries(index - 1, index - 1), FIRST)
    await asyncio.sleep(60)
    blocked = (log.is_blocked, a.log.is_blocked, b.log.is_blocked, log.blocked, b.log.blocked)
    while_full = (list(a.stored), list(b.stored))
    disk.capacity_bytes = None
    await a.wait_stored()
    await b.wait_stored()
    entries = await b.read_all()
    await log.close()

    assert (True, True, True, told[0], told[0]) == blocked
    assert [DiskFull, type(None)] == [type(reason) for reason in told]
    assert ([1], []) == while_full
    assert make_entries(1, 18) == entries
    assert not log.is_blocked


async def test_close_writes_what_is_queued_and_can_be_repeated(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    group = opened.group("a")
    group.append(make_entries(1, 5), FIRST)
    await opened.log.close()
    await opened.log.close()
    group.append(make_entries(6, 6))
    disk.crash()
    found = await read_shared(disk)

    assert [1] == group.stored
    assert {"a": (FIRST, make_entries(1, 5))} == found


async def test_how_much_was_written_is_told_for_each_group(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    a, b = opened.group("a"), opened.group("b")
    await a.store(make_entries(1, 1, data_bytes=1000), FIRST)
    await b.store([], FIRST)
    written = (a.log.written_bytes, b.log.written_bytes, opened.log.written_bytes)
    await opened.log.close()

    assert 1000 < written[0] < 1100
    assert 0 < written[1] < 100
    assert sum(written[:2]) < written[2]


def _hole(group: OpenGroup) -> None:
    group.append(make_entries(3, 3))


def _hole_inside(group: OpenGroup) -> None:
    group.append([*make_entries(2, 2), *make_entries(4, 4)])


def _falling_term(group: OpenGroup) -> None:
    group.append([Entry(2, 2, 0, b""), Entry(1, 3, 0, b"")], HardState(2))


def _entry_of_a_later_term(group: OpenGroup) -> None:
    group.append(make_entries(2, 2, term=2))


def _hard_state_back(group: OpenGroup) -> None:
    group.append([], HardState(0))


def _vote_changed(group: OpenGroup) -> None:
    group.append([], HardState(1, "n2"))


def _mark_repeated(group: OpenGroup) -> None:
    group.log.append(1, None, [])


def _behind_a_later_term(group: OpenGroup) -> None:
    group.log.begin_anew(EntryId(2, 100))


@pytest.mark.parametrize(
    "mistake",
    [
        _hole,
        _hole_inside,
        _falling_term,
        _entry_of_a_later_term,
        _hard_state_back,
        _vote_changed,
        _mark_repeated,
        _behind_a_later_term,
    ],
)
async def test_a_broken_promise_of_one_group_never_reaches_the_disk(
    disk: FaultyDisk, mistake: Callable[[OpenGroup], None]
) -> None:
    """Traps 1 and 39: each group is held against what it promised itself, and named."""
    opened = await open_shared(disk)
    await opened.group("other").store(make_entries(1, 9, term=7), HardState(7))
    group = opened.group("mine")
    await group.store(make_entries(1, 1), FIRST)
    with pytest.raises(InvariantViolated, match="group mine"):
        mistake(group)
    await opened.log.close()
    found = await read_shared(disk)

    assert (FIRST, make_entries(1, 1)) == found["mine"]


async def test_a_log_of_one_node_is_not_taken_for_a_shared_one(disk: FaultyDisk) -> None:
    opened = await open_log(disk)
    await opened.store(make_entries(1, 1), FIRST)
    await opened.log.close()

    with pytest.raises(DamagedLog, match="this is no shared log"):
        await open_shared(disk)


async def test_damage_in_the_midst_is_refused(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    await opened.group("a").store(make_entries(1, 1), FIRST)
    await opened.group("b").store(make_entries(1, 1, term=3), HardState(3))
    await opened.group("a").store(make_entries(2, 2))
    await opened.log.close()
    path = segment_path(DIRECTORY, 1)
    disk.flip(path, disk.content(path).index(b"3/1"))

    with pytest.raises(DamagedLog, match="rejoin from its peers"):
        await open_shared(disk)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_missing_segment_that_nobody_dropped_is_refused(
    disk: FaultyDisk, number: int
) -> None:
    opened = await open_shared(disk, segment_bytes=300)
    for index in range(1, 20):
        await opened.group("a").store(make_entries(index, index), FIRST)
    await opened.log.close()
    assert segment_numbers(disk.names(DIRECTORY))[0] == 1
    disk.remove(segment_path(DIRECTORY, number))

    with pytest.raises(DamagedLog, match="nothing says that they could be dropped"):
        await open_shared(disk, segment_bytes=300)


async def test_a_torn_last_write_is_cut_for_all_groups(disk: FaultyDisk) -> None:
    opened = await open_shared(disk)
    a, b = opened.group("a"), opened.group("b")
    await a.store(make_entries(1, 2), FIRST)
    await b.store([], FIRST)
    a.append(make_entries(3, 3))
    b.append(make_entries(1, 1))
    await b.wait_stored()
    disk.crash()
    opened.bury()
    path = segment_path(DIRECTORY, 1)
    disk.flip(path, disk.content(path).index(b"1/3"))
    again = await open_shared(disk)
    entries = (await again.group("a").read_all(), await again.group("b").read_all())
    await again.log.close()

    assert (make_entries(1, 2), []) == entries
    assert again.recovered["a"].torn is not None


async def test_a_read_proves_whose_entries_it_returns(disk: FaultyDisk) -> None:
    """In pairs: what a write says is checked when it is written, and when it is read."""
    opened = await open_shared(disk)
    a, b = opened.group("a"), opened.group("b")
    await a.store(make_entries(1, 1), FIRST)
    await b.store(make_entries(1, 2), FIRST)
    a.log._places.put(1, 1, b.log._places.at(1))
    with pytest.raises(DamagedLog, match="of group a any more: it is of another group"):
        await a.log.read(1, 1, 100)
    b.log._places.append(1, 3, b.log._places.at(1))
    with pytest.raises(DamagedLog, match="of group b any more: it holds other entries"):
        await b.log.read(1, 3, 100)
    b.log._places.append(1, 1, opened.log._writes.write(b"", lambda: None))
    with pytest.raises(DamagedLog, match="of group b any more: half a head"):
        await b.log.read(1, 1, 100)
    await opened.log.close()


@pytest.mark.slow
async def test_a_thousand_groups_are_opened_with_a_tail_each(disk: FaultyDisk) -> None:
    opened = await open_shared(disk, segment_bytes=2**22)
    for number in range(1000):
        opened.group(f"g{number}").append(make_entries(1, 20, data_bytes=50), FIRST)
    await opened.log.wait_stored()
    disk.crash()
    opened.bury()
    again = await open_shared(disk, tail_bytes=300)
    await again.log.close()

    assert 1000 == len(again.recovered)
    assert all(len(found.tail) == 6 for found in again.recovered.values())
    assert opened.log.statistics().syncs < 20
