"""How a command that is cut short ends."""

import subprocess
import sys

import pytest

from liferaft.cli import main
from liferaft.cli.exits import ExitStatus
from liferaft.errors import NoLeader
from tests.running import output_of, running


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), ExitStatus.INTERRUPTED, ""),
        (NoLeader("no node leads"), ExitStatus.UNREACHABLE, "liferaft: no node leads\n"),
        (PermissionError(13, "Permission denied", "/x"), ExitStatus.USAGE, "denied: /x\n"),
    ],
)
def test_what_a_verb_raises_becomes_a_status_and_a_line(
    error: BaseException,
    status: ExitStatus,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def raise_it(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(main, "_run", raise_it)

    assert status == main.run([])
    assert capsys.readouterr().err.endswith(said)


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_it(arguments: list[str]) -> int:
        raise AssertionError

    monkeypatch.setattr(main, "_run", raise_it)

    with pytest.raises(AssertionError):
        main.run([])


@pytest.mark.processes
def test_a_reader_that_leaves_ends_the_command_without_a_word() -> None:
    command = (sys.executable, "-m", "liferaft", "demo", "--duration", "600")
    with running(*command, stderr=subprocess.PIPE) as process:
        output_of(process).readline()
        output_of(process).close()
        status = process.wait(timeout=60)
        assert process.stderr is not None
        errors = process.stderr.read()

    assert (ExitStatus.NEGATIVE, "") == (status, errors)
