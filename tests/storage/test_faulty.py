"""The faulty disk must be as bad as it says: a kind one proves nothing."""

import asyncio
import errno
from random import Random

import pytest

from liferaft.storage.disk import File
from liferaft.storage.faulty import FaultyDisk, Operation

pytestmark = pytest.mark.looptime


def outcomes_of_a_crash(*, is_synced: bool) -> set[bytes | None]:
    """Write b"old", then b"new!" over it, crash, and collect what is left, over many seeds."""
    found: set[bytes | None] = set()
    for seed in range(200):
        disk = FaultyDisk(Random(seed))
        file = disk.open("/a", create=True)
        file.write(0, b"old")
        file.sync()
        disk.sync_directory("")
        file.write(0, b"new!")
        if is_synced:
            file.sync()
        disk.crash()
        found.add(disk.content("/a"))
    return found


def test_a_crash_keeps_loses_or_tears_what_was_not_synced() -> None:
    found = outcomes_of_a_crash(is_synced=False)

    assert {b"old", b"new!", b"ned", b"nld", b"old!"} <= found


def test_a_crash_keeps_what_was_synced() -> None:
    assert {b"new!"} == outcomes_of_a_crash(is_synced=True)


def test_a_crash_may_lose_a_name_whose_directory_was_not_synced() -> None:
    """Trap 36."""
    found: set[tuple[str, ...]] = set()
    for seed in range(50):
        disk = FaultyDisk(Random(seed))
        file = disk.open("/a", create=True)
        file.sync()
        disk.sync_directory("")
        disk.rename("/a", "/b")
        disk.crash()
        found.add(tuple(disk.paths()))

    assert {("/a",), ("/b",)} == found


async def test_a_crash_strikes_between_any_two_steps_of_work_under_way() -> None:
    found: set[bytes] = set()
    for seed in range(200):
        disk = FaultyDisk(Random(seed))
        file = disk.open("/a", create=True)
        disk.sync_directory("")

        def work(file: File = file) -> None:
            for letter in range(3):
                file.write(letter, b"abc"[letter : letter + 1])
                file.sync()

        task = asyncio.create_task(disk.run(work))
        await asyncio.sleep(0)
        disk.crash()
        found.add(disk.content("/a"))
        with pytest.raises(OSError, match="crashed"):
            await task

    assert {b"", b"a", b"ab", b"abc"} == found


async def test_work_takes_time_and_waits_its_turn() -> None:
    disk = FaultyDisk(Random(1), latency=lambda: 2.0)
    loop = asyncio.get_running_loop()
    started = loop.time()
    begun = await asyncio.gather(*(disk.run(loop.time) for _ in range(3)))

    assert [0, 2, 4] == [round(at - started) for at in begun]
    assert 6 == round(loop.time() - started)


async def test_a_stuck_disk_ends_no_work_until_it_is_unstuck() -> None:
    disk = FaultyDisk(Random(1))
    disk.stick()
    task = asyncio.create_task(disk.run(lambda: 1))
    await asyncio.sleep(60)
    was_done = task.done()
    disk.heal()

    assert not was_done
    assert 1 == await task


def test_a_handle_opened_before_a_crash_is_dead() -> None:
    for end in (FaultyDisk.crash, FaultyDisk.kill):
        disk = FaultyDisk(Random(1))
        file = disk.open("/a", create=True)
        end(disk)
        with pytest.raises(OSError, match="Bad file descriptor"):
            file.write(0, b"x")
        with pytest.raises(OSError, match="Bad file descriptor"):
            file.sync()


def test_a_killed_process_leaves_the_cache_and_loses_its_locks() -> None:
    disk = FaultyDisk(Random(1))
    unlock = disk.lock("/lock")
    disk.open("/a", create=True).write(0, b"x")
    disk.kill()
    held_again = disk.lock("/lock")
    unlock()

    assert b"x" == disk.content("/a")
    with pytest.raises(OSError, match="in use"):
        disk.lock("/lock")
    held_again()


def test_data_whose_sync_failed_reads_well_and_may_never_reach_the_disk() -> None:
    """The trap of "fsyncgate": a later sync succeeds and covers nothing."""
    found: set[bytes] = set()
    for seed in range(50):
        disk = FaultyDisk(Random(seed))
        file = disk.open("/a", create=True)
        disk.sync_directory("")
        file.write(0, b"x")
        disk.fail("sync", errno.EIO)
        with pytest.raises(OSError, match="Input/output"):
            file.sync()
        file.sync()
        assert b"x" == file.read(0, 1)
        disk.crash()
        found.add(disk.content("/a"))

    assert {b"", b"x"} == found


@pytest.mark.parametrize("operation", ["read", "write", "sync"])
def test_the_next_operations_fail_as_ordered(operation: Operation) -> None:
    disk = FaultyDisk(Random(1))
    file = disk.open("/a", create=True)
    use = {
        "read": lambda: file.read(0, 1),
        "write": lambda: file.write(0, b"x"),
        "sync": file.sync,
    }[operation]
    disk.fail(operation, errno.EIO, count=2)
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output"):
            use()
    use()
    disk.fail(operation, errno.EIO, count=2)
    disk.heal()
    use()


def test_a_full_disk_takes_what_fits_and_refuses_the_rest() -> None:
    disk = FaultyDisk(Random(1), capacity_bytes=10)
    file = disk.open("/a", create=True)
    file.allocate(8)
    with pytest.raises(OSError, match="No space"):
        file.allocate(11)
    with pytest.raises(OSError, match="No space"):
        file.write(5, b"1234567")

    assert b"\0\0\0\0\x0012345" == disk.content("/a")


def test_a_flipped_byte_is_flipped_on_the_platter_too() -> None:
    disk = FaultyDisk(Random(1))
    file = disk.open("/a", create=True)
    file.write(0, b"a")
    file.sync()
    disk.sync_directory("")
    disk.flip("/a", 0, mask=2)
    before = disk.content("/a")
    disk.crash()

    assert b"c" == before == disk.content("/a")


def test_absent_files_are_told() -> None:
    disk = FaultyDisk(Random(1))
    with pytest.raises(FileNotFoundError):
        disk.remove("/a")
    with pytest.raises(FileNotFoundError):
        disk.content("/a")


async def test_a_rename_into_another_directory_is_whole_or_has_not_happened() -> None:
    outcomes = set()
    for seed in range(60):
        disk = FaultyDisk(Random(seed))
        disk.make_directory("/b")
        disk.open("/a", create=True)
        disk.sync_directory("")
        disk.rename("/a", "/b/a")
        if seed % 3 == 0:
            disk.sync_directory("/b")
        disk.crash()
        outcomes.add((seed % 3 == 0, *disk.paths()))

    assert {(True, "/b/a"), (False, "/b/a"), (False, "/a")} == outcomes


async def test_whoever_waits_for_a_write_is_told_while_it_is_under_way() -> None:
    disk = FaultyDisk(Random(1))
    file = await disk.run(lambda: disk.open("/a", create=True))
    waiting = asyncio.create_task(disk.wait_for_write())
    await asyncio.sleep(0)
    await disk.run(lambda: file.read(0, 0))
    was_told_of_a_read = waiting.done()
    writing = asyncio.create_task(disk.run(lambda: file.write(0, b"data")))
    await waiting

    assert not was_told_of_a_read
    assert not writing.done()
    await disk.wait_for_write()  # at once: it is still under way
    assert not writing.done()
    await writing
