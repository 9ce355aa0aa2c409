"""The fuzzer itself: it runs, says what it did, and repeats one input."""

import importlib.util
from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.target import Broken, Target, join, pieces

pytestmark = pytest.mark.slow


@pytest.mark.processes
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_a_target_is_fuzzed_in_a_process_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "FINDINGS", tmp_path)
    status = run.main(["--target", "peers", "--seconds", "1"])
    printed = capsys.readouterr().out

    assert (0, "peers") == (status, printed.split()[0]), printed
    assert int(printed.split()[1].replace(",", "")) > 100


def test_one_input_is_run_again(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"n1=a:1")

    assert 0 == run.main(["--target", "peers", "--input", str(tmp_path / "input")])


def test_only_what_is_declared_is_fine() -> None:
    def fail(data: bytes) -> None:
        raise KeyError(data) if data else Broken("nothing")

    target = Target("fails", fail, (KeyError,), list)
    target.try_on(b"declared")
    with pytest.raises(Broken):
        target.try_on(b"")


def test_pieces_are_what_was_joined_and_of_other_bytes_something() -> None:
    parts = [b"one", b"two" * 1000, b"3"]

    assert parts == pieces(join(parts))
    assert [b"\xff"] == pieces(b"\xff\xff\xff")
    assert [] == pieces(b"\x00")
