"""`liferaft wal`: what is printed, with which status, and that looking changes nothing."""

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from liferaft.cli import main
from liferaft.cli.exits import ExitStatus
from liferaft.cli.wal import DATA_SHOWN_MAX
from liferaft.raft.types import Configuration, HardState
from liferaft.storage.directory import Identity, lock_directory, open_directory
from liferaft.storage.disk import SystemDisk
from liferaft.storage.inspection import inspect
from liferaft.storage.shared_log import SharedLog
from tests.storage.logs import make_entries, open_log

GOLDEN = Path(__file__).parents[1] / "storage" / "golden" / "version-1"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `liferaft wal`; gives its status and what it wrote to stdout and stderr."""

    def run_it(*arguments: object) -> tuple[int, str, str]:
        status = main.run(["wal", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_it


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory whose log holds entries 1 to 6 in several files, the last of them only a seal."""
    asyncio.run(make_data(str(tmp_path / "n1")))
    return tmp_path / "n1"


async def make_data(path: str) -> None:
    disk = SystemDisk()
    configuration = Configuration(("n1", "n2", "n3"))
    (await open_directory(disk, path, Identity("blue", "n1"), configuration, disk_id="d1")).close()
    opened = await open_log(disk, path, segment_bytes=300)
    await opened.store(make_entries(1, 2), HardState(1, "n2"))
    await opened.store(make_entries(3, 4))
    await opened.store(make_entries(5, 6, term=3), HardState(3, "n3"))
    await opened.log.close()
    opened = await open_log(disk, path, segment_bytes=300)
    await opened.log.close()
    await disk.close()


async def make_empty(path: str) -> None:
    disk = SystemDisk()
    configuration = Configuration(("n1", "n2", "n3"))
    (await open_directory(disk, path, Identity("blue", "n1"), configuration, disk_id="d1")).close()
    opened = await open_log(disk, path)
    await opened.log.close()
    await disk.close()


def contents(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Return all files in a directory, with the times of their last change."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in files
    }


def without_lock(files: dict[str, tuple[bytes, int]]) -> dict[str, tuple[bytes, int]]:
    """Return the files that a holder of the lock leaves alone."""
    return {name: file for name, file in files.items() if name != "lock"}


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def damage_entry(data: Path, text: bytes) -> Path:
    """Flip a byte of an entry's data, and return the file that holds it."""
    (path,) = [path for path in data.glob("*.log") if text in path.read_bytes()]
    flip(path, path.read_bytes().index(text))
    return path


def tear(data: Path) -> tuple[Path, int]:
    """Leave half a record behind the newest one, as a crash does; tell where."""
    path = max(data.glob("*.log"))
    offset = inspect(SystemDisk(), str(data)).segments[-1].end
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xb1REChalf a record")
    return path, offset


def test_the_whole_of_a_sound_directory_is_printed(data: Path, run: Run) -> None:
    before = contents(data)
    status, out, err = run("inspect", data)
    lines = out.splitlines()

    assert (0, "") == (status, err)
    assert [
        "owner: node n1 of cluster blue",
        "first configuration: voters n1, n2, n3",
        "hard state: term 3, vote for n3",
        "log: entries 1 to 6",
        "  term 1: entries 1 to 4",
        "  term 3: entries 5 to 6",
        f"segments: {len(list(data.glob('*.log')))}",
    ] == lines[:7]
    assert f"The log in {data} is whole: entries 1 to 6, term 3, vote for n3." == lines[-1]
    for line, path in zip(lines[7:-1], sorted(data.glob("*.log")), strict=True):
        assert line.startswith(f"  {path.name}; {path.stat().st_size} bytes, ")
    assert before == contents(data)


def test_a_log_without_entries_is_printed_too(tmp_path: Path, run: Run) -> None:
    """So is one whose entries a snapshot that came has taken the place of."""
    asyncio.run(make_empty(str(tmp_path / "n1")))
    status, out, err = run("inspect", tmp_path / "n1")

    assert (0, "") == (status, err)
    assert "log: no entries\nsegments: 1" in out
    assert "is whole: no entries, term 0, no vote." in out


def test_looking_opens_files_for_reading_alone(
    data: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it works on a copy that nobody may write to."""
    opened: list[int] = []
    real_open = os.open

    def open_and_remember(path: str, flags: int, mode: int = 0o777) -> int:
        opened.append(flags & os.O_ACCMODE)
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", open_and_remember)
    run("inspect", data, "--entries", "1:6")
    run("verify", data)

    assert len(opened) > 10
    assert {os.O_RDONLY} == set(opened)


def test_entries_are_printed_when_asked_for(data: Path, run: Run) -> None:
    _, range_, _ = run("inspect", data, "--entries", "4:5")
    _, one, _ = run("inspect", data, "--entries", "6")
    _, more, _ = run("inspect", data, "--entries", "6:9")
    line_4 = f"4: term 1, command, 20 bytes {b'1/4'.ljust(20)!r}"
    line_5 = f"5: term 3, command, 20 bytes {b'3/5'.ljust(20)!r}"
    line_6 = f"6: term 3, command, 20 bytes {b'3/6'.ljust(20)!r}"

    assert [line_4, line_5] == range_.splitlines()[-3:-1]
    assert [line_6] == one.splitlines()[-2:-1]
    assert "asked for" not in one
    assert line_6 == more.splitlines()[-3]
    assert "The log holds entries 1 to 6; 1 of the 4 asked for" in more


@pytest.mark.parametrize("entries", ["5:2", "0:3", "0", "first", "1:2:3", "-1", ":"])
def test_a_range_that_is_none_is_usage(entries: str, data: Path, run: Run) -> None:
    status, out, err = run("inspect", data, f"--entries={entries}")

    assert (ExitStatus.USAGE, "") == (status, out)
    assert f"liferaft: --entries is {entries}: give FIRST:LAST, such as 10:20\n" == err


def test_the_golden_files_are_printed(tmp_path: Path, run: Run) -> None:
    data = tmp_path / "data"
    shutil.copytree(GOLDEN, data)
    status, out, err = run("inspect", data, "--entries", "1:4")

    assert (0, "") == (status, err)
    assert "first configuration: voters n1, n2, n3; learners n4\n" in out
    assert "hard state: term 4, vote for n2\n" in out
    assert "1: term 1, noop, 0 bytes\n2: term 1, command, 12 bytes b'add buy milk'\n" in out
    assert "3: term 3, configuration, 2 bytes b'\\x00\\xff'\n" in out
    assert "4: term 3, command, 8 bytes b'gr\\xc3\\xb6\\xc3\\x9fer'\n" in out
    assert (0, "") == (run("verify", data)[0], err)
    assert {path.name for path in GOLDEN.iterdir()} == {path.name for path in data.iterdir()}


def test_long_data_is_shortened(tmp_path: Path, run: Run) -> None:
    async def make() -> None:
        disk = SystemDisk()
        path = str(tmp_path)
        directory = await open_directory(
            disk, path, Identity("blue", "n1"), Configuration(("n1",)), disk_id="d1"
        )
        directory.close()
        opened = await open_log(disk, path)
        await opened.store(make_entries(1, 1, data_bytes=DATA_SHOWN_MAX + 1), HardState(1))
        await opened.store(make_entries(2, 2, data_bytes=DATA_SHOWN_MAX))
        await opened.log.close()
        await disk.close()

    asyncio.run(make())
    _, out, _ = run("inspect", tmp_path, "--entries", "1:2")

    assert f"{DATA_SHOWN_MAX + 1} bytes {b'1/1'.ljust(DATA_SHOWN_MAX)!r}...\n" in out
    assert f"{DATA_SHOWN_MAX} bytes {b'1/2'.ljust(DATA_SHOWN_MAX)!r}\n" in out


def test_a_whole_log_is_verified_with_one_sentence(data: Path, run: Run) -> None:
    before = contents(data)
    told = run("verify", data)

    assert (0, f"The log in {data} is whole: entries 1 to 6, term 3, vote for n3.\n", "") == told
    assert before == contents(data)


def test_a_torn_tail_is_told_and_is_no_damage(data: Path, run: Run) -> None:
    path, offset = tear(data)
    before = contents(data)
    for status, out, err in (run("verify", data), run("inspect", data), run("repair", data)):
        assert (0, "") == (status, err)
        assert f"the 17 bytes from offset {offset} of {path} were never reported as stored" in out
        assert "the next start of the node cuts them" in out

    assert without_lock(before) == without_lock(contents(data))


def test_damage_is_named_with_its_place_and_status(data: Path, run: Run) -> None:
    path = damage_entry(data, b"1/3")
    before = contents(data)
    status, out, err = run("verify", data)
    inspected = run("inspect", data, "--entries", "1:9")

    assert (ExitStatus.DAMAGED, "", 1) == (status, out, len(err.splitlines()))
    assert f"liferaft: {path} is damaged at offset " in err
    assert "whole up to index 2, and entries from 3 on" in err
    assert (ExitStatus.DAMAGED, err) == (inspected[0], inspected[2])
    assert "log: entries 1 to 2\n" in inspected[1]
    assert f"2: term 1, command, 20 bytes {b'1/2'.ljust(20)!r}\n" in inspected[1]
    assert "\n3: " not in inspected[1]
    assert "damaged at offset" in next(x for x in inspected[1].splitlines() if path.name in x)
    behind = [other.name for other in data.glob("*.log") if other.name > path.name]
    assert len(behind) == inspected[1].count("; behind the damage, not read\n") > 0
    assert "is whole" not in inspected[1]
    assert before == contents(data)


def test_a_damaged_header_leaves_the_segment_before_it_unblamed(data: Path, run: Run) -> None:
    flip(data / "000000000002.log", 20)
    status, out, _ = run("inspect", data)
    first, second, third = [line for line in out.splitlines() if ".log; " in line][:3]

    assert ExitStatus.DAMAGED == status
    assert first.endswith("; entries 1 to 2")
    assert second.endswith("damaged at offset 0: the segment's header does not fit its checksum")
    assert third.endswith("; behind the damage, not read")


def test_a_damaged_identity_is_damage(data: Path, run: Run) -> None:
    flip(data / "identity", 5)
    status, _, err = run("verify", data)
    inspected = run("inspect", data)
    repaired = run("repair", data, "--yes")

    assert ExitStatus.DAMAGED == status == inspected[0]
    assert f"liferaft: {data}/identity is damaged: nothing says whose log this is" in err
    assert inspected[1].startswith("owner: unknown, for ")
    assert "log: entries 1 to 6\n" in inspected[1]
    assert (ExitStatus.USAGE, "", err) == repaired


@pytest.mark.parametrize("verb", ["inspect", "verify", "repair"])
def test_what_is_no_data_directory_is_usage(verb: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "empty", tmp_path / "absent", tmp_path / "file"):
        status, out, err = run(verb, path)

        assert (ExitStatus.USAGE, "", 1) == (status, out, len(err.splitlines()))
        assert str(path) in err
        assert "the directory that was given to `liferaft node --data`" in err
    assert [] == list((tmp_path / "empty").iterdir())


def test_looking_into_a_directory_in_use_is_allowed_and_said(data: Path, run: Run) -> None:
    unlock = lock_directory(SystemDisk(), str(data))
    before = contents(data)
    told = [run(verb, data) for verb in ("inspect", "verify")]
    refused = run("repair", data, "--yes")
    after = contents(data)
    unlock()

    for status, out, _ in told:
        assert 0 == status
        assert out.startswith(f"A node is running on {data} and may be writing: ")
    assert ExitStatus.USAGE == refused[0]
    assert f"liferaft: {data} is in use by process " in refused[2]
    assert before == after
    assert "A node is running" not in run("verify", data)[1]


def test_a_repair_without_yes_only_says_what_would_be_lost(data: Path, run: Run) -> None:
    path = damage_entry(data, b"1/3")
    before = contents(data)
    status, out, err = run("repair", data)

    assert (ExitStatus.DAMAGED, "") == (status, err)
    assert f"{path} is damaged at offset " in out
    assert "The log is whole up to index 2.\n" in out
    assert "Entries 3 to 6 (as far as can be seen) may have been acknowledged" in out
    assert "may have voted in terms that it does not remember" in out
    assert "(the last that can be seen: term 3, vote for n3)" in out
    assert f"would be kept in {data}/damaged-1. Nothing was changed.\n" in out
    assert f"move {data} away, and let the node rejoin from its peers as a new member" in out
    assert "Give --yes only if" in out
    assert without_lock(before) == without_lock(contents(data))


def test_a_repair_with_yes_cuts_the_log_and_keeps_what_it_cut(data: Path, run: Run) -> None:
    damage_entry(data, b"1/3")
    before = contents(data)
    status, out, err = run("repair", data, "--yes")
    after = contents(data)

    assert (0, "") == (status, err)
    assert "The log was cut there and is whole again: it holds entries 1 to 2.\n" in out
    assert f"The files as they were are kept in {data}/damaged-1.\n" in out
    assert "Entries 3 to 6 (as far as can be seen) may have been acknowledged" in out
    assert "can vote twice in a term" in out
    assert "rejoin from its peers as a new member" in out
    assert (0, f"The log in {data} is whole: entries 1 to 2, term 1, vote for n2.\n", "") == run(
        "verify", data
    )
    for name in (name for name in before if name.endswith(".log")):
        kept = after.get(f"damaged-1/{name}", after.get(name))
        assert kept is not None
        assert before[name][0] == kept[0]
    assert run("repair", data, "--yes")[1].startswith("There is nothing to repair. The log in ")


def test_of_entries_that_cannot_be_seen_the_repair_speaks_too(data: Path, run: Run) -> None:
    first, *others = sorted(data.glob("*.log"))
    first.unlink()
    for path in others:
        flip(path, 20)
        path.write_bytes(path.read_bytes()[:60])
    status, out, _ = run("repair", data)

    assert ExitStatus.DAMAGED == status
    assert "Entries from 1 on, of which none can be seen, may have been acknowledged" in out
    assert "The log is whole up to index 0." in out


async def make_shared(path: str) -> None:
    disk = SystemDisk()
    log, _ = await SharedLog.open(disk, path, bases={})
    log.start(on_failure=lambda _: None)
    log.group("users").append(1, HardState(1, "n2"), make_entries(1, 2))
    log.group("orders").append(1, HardState(4), [])
    await log.close()
    await disk.close()


def test_the_groups_of_a_shared_log_are_printed(tmp_path: Path, run: Run) -> None:
    directory = tmp_path / "shared"
    asyncio.run(make_shared(str(directory)))
    status, printed, _ = run("inspect", directory, "--entries", "1")
    verified = run("verify", directory)

    assert ExitStatus.OK == status
    assert [
        "a log that 2 groups share; what they wrote is entries 1 to 2",
        "  orders: no entries; term 4, no vote",
        "  users: entries 1 to 2; term 1, vote for n2",
        "segments: 1",
    ] == printed.splitlines()[:4]
    assert "1: term 1, of a group, " in printed
    assert (
        ExitStatus.OK,
        f"The log in {directory} is whole: entries 1 to 2, of 2 groups.\n",
        "",
    ) == verified
