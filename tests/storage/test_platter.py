"""What outlives the power, and what does not."""

from collections import Counter
from random import Random

import pytest

from liferaft.storage.platter import Inode, Naming, Platter, Resize, Write


def with_file(platter: Platter, path: str = "a/file") -> Inode:
    """Return a file whose name is durable."""
    inode = Inode()
    platter.change(Naming("a", {path: inode}))
    platter.sync("a")
    return inode


def test_what_was_synced_outlives_the_power_and_nothing_else_is_sure_to() -> None:
    kept: set[bytes] = set()
    for seed in range(50):
        platter = Platter(Random(seed))
        inode = with_file(platter)
        platter.change(Write(inode, 0, b"synced"))
        platter.sync(inode)
        platter.change(Write(inode, 6, b"late"))
        platter.lose_power()
        kept.add(bytes(platter.named("a/file").content))

    assert all(content.startswith(b"synced") for content in kept)
    assert {b"synced", b"syncedlate"} < kept
    assert any(b"\0" in content or len(content) in (7, 8, 9) for content in kept), "none was torn"


def test_a_write_that_the_power_cut_off_ends_at_some_byte_or_has_holes() -> None:
    kept: Counter[bytes] = Counter()
    for seed in range(1_000):
        platter = Platter(Random(seed))
        inode = with_file(platter)
        platter.change(Write(inode, 0, b"abcdefgh"))
        platter.lose_power()
        kept[bytes(platter.named("a/file").content)] += 1
    beginnings = [b"abcdefgh"[:length] for length in range(1, 8)]
    with_holes = [content for content in kept if b"\0" in content]

    assert all(kept[beginning] > 10 for beginning in beginnings)
    assert sum(kept[content] for content in with_holes) > 50


def test_work_is_a_write_once_it_has_changed_something() -> None:
    platter = Platter(Random(1))
    inode = with_file(platter)
    platter.begin_work()
    before = platter.is_writing
    platter.change(Write(inode, 0, b"data"))

    assert not before
    assert platter.is_writing
    platter.sync(inode)
    assert platter.is_writing, "what is synced counts as done at the end of the work only"
    platter.end_work()
    assert not platter.is_writing


def test_a_sync_is_of_one_file_alone() -> None:
    platter = Platter(Random(2))
    one, other = with_file(platter, "a/one"), with_file(platter, "a/other")
    platter.change(Write(one, 0, b"1"))
    platter.change(Write(other, 0, b"2"))
    platter.sync(one)

    assert {"a/one": b"1", "a/other": b""} == platter.image()


def test_a_name_is_durable_with_its_directory_alone() -> None:
    platter = Platter(Random(1))
    inode = Inode()
    platter.change(Naming("a", {"a/file": inode}))
    platter.change(Write(inode, 0, b"data"))
    platter.sync(inode)
    before = platter.image()
    platter.sync("a")

    assert {} == before
    assert {"a/file": b"data"} == platter.image()


def test_what_a_sync_could_not_write_back_no_later_one_does() -> None:
    lost = 0
    for seed in range(30):
        platter = Platter(Random(seed))
        inode = with_file(platter)
        platter.change(Write(inode, 0, b"data"))
        platter.fail_sync(inode)
        platter.sync(inode)

        assert b"data" == inode.content
        lost += platter.image()["a/file"] == b""
    assert 0 < lost < 30


def test_work_under_way_is_durable_at_its_end_and_broken_off_behind_any_step() -> None:
    outcomes: set[bytes] = set()
    for seed in range(60):
        platter = Platter(Random(seed))
        inode = with_file(platter)
        platter.begin_work()
        platter.change(Resize(inode, 4))
        platter.change(Write(inode, 0, b"data"))
        platter.sync(inode)
        under_way = platter.image()["a/file"]
        if seed % 2:
            platter.end_work()
        else:
            platter.stop_work()
        platter.lose_power()
        outcomes.add(platter.image()["a/file"])

        assert b"" == under_way
        assert not seed % 2 or platter.image()["a/file"] == b"data"
        assert not platter.is_at_work
    assert {b"", b"\0\0\0\0", b"data"} <= outcomes


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="a/none"):
        Platter(Random(0)).named("a/none")
