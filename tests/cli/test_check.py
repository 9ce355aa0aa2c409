"""`liferaft check`: what it says, and with which status it ends."""

import json
import random
import shlex
from pathlib import Path

import pytest

from liferaft.check.recorder import HistoryRecorder
from liferaft.cli.main import run
from tests.check.test_linearizability import simulate_register

HISTORIES = Path(__file__).parents[1] / "check" / "histories"


def check(words: str) -> int:
    return run(["check", *shlex.split(words)])


def test_a_linearizable_history_ends_with_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    status = check(f"--model cas-register {HISTORIES / 'register.log'}")

    assert 0 == status
    assert capsys.readouterr().out.startswith("linearizable: ")


def test_a_violation_ends_with_status_1_and_names_the_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status = check(f"--model kv {HISTORIES / 'kv-lost.edn'} --json")
    report = json.loads(capsys.readouterr().out)

    assert (1, "violation", "0") == (status, report["outcome"], report["key"])
    assert [6] == [each["line"] for each in report["unplaceable"]]
    assert [1, 3] == report["prefix"]


def test_the_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    check(f"--model kv {HISTORIES / 'kv-lost.edn'} --html {page}")

    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_what_is_not_decided_ends_with_status_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "history.ndjson"
    operations = simulate_register(random.Random(3), clients=20, count=2_000, keys=1)
    asked = [(o.invoked_at, "invoke", number) for number, o in enumerate(operations)]
    answered = [(o.returned_at or 0, "ok", number) for number, o in enumerate(operations)]
    with HistoryRecorder(history) as recorder:
        for _, kind, number in sorted((*asked, *answered)):
            if kind == "invoke":
                recorder.invoke(number, operations[number].function, operations[number].argument)
            else:
                recorder.ok(number, operations[number].result)
    status = check(f"--model register {history} --memory 1KB")

    assert 3 == status
    assert capsys.readouterr().out.startswith("undecided: ")


def test_the_first_value_may_be_given() -> None:
    history = HISTORIES / "kv.edn"

    assert (0, 1) == (check(f"--model kv {history}"), check(f"--model kv {history} --initial x"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--model kv no/such/file", "No such file or directory: no/such/file"),
        (f"--model nothing {HISTORIES / 'kv.edn'}", "there is no model 'nothing'"),
        (f"--model lock {HISTORIES / 'kv.edn'}", "line 1"),
        (f"--model kv {HISTORIES / 'kv.edn'} --memory much", "--memory is 'much'"),
        (f"--model kv {HISTORIES / 'kv.edn'} --wrong", "--wrong"),
    ],
)
def test_a_wrong_word_is_one_line(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = check(words)
    printed = capsys.readouterr()

    assert (2, "", 1) == (status, printed.out, len(printed.err.splitlines()))
    assert said in printed.err
