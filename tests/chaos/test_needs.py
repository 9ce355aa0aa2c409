"""What a machine lacks is said in a sentence."""

import os
import shutil
from collections.abc import Iterator

import pytest

from liferaft.chaos import needs
from liferaft.chaos.needs import Need, lacking


@pytest.fixture(autouse=True)
def _looked_anew() -> Iterator[None]:
    """Let each test look at its own machine, and no test after it at that one."""
    needs._lack_of.cache_clear()
    yield
    needs._lack_of.cache_clear()


def test_nothing_is_lacking_where_nothing_is_needed() -> None:
    assert "" == lacking([])


def test_file_systems_need_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    assert "file systems of its own need root" == lacking([Need.LOOP])


@pytest.mark.skipif(os.geteuid() != 0, reason="looks further only for root")
def test_a_tool_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)

    assert "mkfs.ext4 is not installed" == lacking([Need.LOOP])


def test_strace_that_is_missing_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)

    assert "strace is not installed: apt install strace" == lacking([Need.STRACE])


def test_all_that_is_lacking_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)

    assert 2 == len(lacking([Need.STRACE, Need.LOOP]).split("; "))
