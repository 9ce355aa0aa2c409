"""`liferaft check`: its verdicts in words, as JSON and as a page, and one line for each mistake."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome
from liferaft.check.model import Model
from liferaft.cli.main import run

HISTORIES = Path(__file__).parents[1] / "check" / "histories"
REGISTER = ("check", "--model", "cas-register")
KV = ("check", "--model", "kv")

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "FILE"], "--model"),
        ([*KV], "FILE"),
        ([*KV, "no-such-file"], "No such file or directory: no-such-file"),
        ([*KV, str(HISTORIES)], "Is a directory"),
        (["check", "--model", "bogus", "FILE"], "--model is bogus: give one of register, "),
        ([*KV, "FILE", "--bogus"], "--bogus"),
        ([*KV, "FILE", "--timeout", "0"], "--timeout"),
        ([*KV, "FILE", "--timeout", "soon"], '"soon"'),
        ([*KV, "FILE", "--memory", "much"], "--memory is much: give bytes, such as 500MB"),
        ([*KV, "FILE", "--memory", "0"], "--memory is 0"),
        (["check", "--model", "queue", "FILE", "--initial", "7"], "--initial: a queue begins with"),
    ],
)
def test_what_cannot_be_understood_is_usage(
    arguments: list[str], said: str, capsys: Capture
) -> None:
    file = str(HISTORIES / "kv-ok.edn")
    status = run([file if each == "FILE" else each for each in arguments])
    output = capsys.readouterr()

    assert [2, "", 1] == [status, output.out, len(output.err.splitlines())]
    assert output.err.startswith("liferaft: ")
    assert said in output.err


def test_an_unreadable_file_is_named_with_its_line(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "history.edn"
    path.write_text("{:process 1, :type :invoke, :f :get, :key 1}\n{:process 1, :type\n")

    assert 2 == run([*KV, str(path)])
    assert f"liferaft: {path}, line 2: }} is expected at column" in capsys.readouterr().err


class Undecided(msgspec.Struct, frozen=True):
    """The verdict of a search that had to end too soon."""

    outcome: Outcome = Outcome.UNDECIDED
    reason: str = "the time of 2 s was not enough"
    operation_count: int = 5
    object_count: int = 2
    seconds: float = 2.0
    memory_bytes: int = 100
    violation: None = None


def test_a_search_that_ends_too_soon_is_status_3(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The limits that were given are those of the search."""
    limits: list[object] = []

    def search(
        model: Model, operations: Sequence[Operation], *, timeout: float, memory_bytes: int
    ) -> Undecided:
        limits.extend((timeout, memory_bytes))
        return Undecided()

    monkeypatch.setattr("liferaft.cli.check.search", search)
    arguments = [*KV, str(HISTORIES / "kv-ok.edn"), "--timeout", "2", "--memory", "1.5GiB"]

    assert 3 == run(arguments)
    assert capsys.readouterr().out.startswith("Undecided: the time of 2 s was not enough.\n")
    assert [2.0, 3 << 29] == limits
    assert 3 == run([*arguments, "--json"])
    assert "undecided" == json.loads(capsys.readouterr().out)["outcome"]


# From here on a verdict is needed: the search itself, not a stand-in.


def test_a_history_that_the_model_cannot_have_is_named_with_its_line(capsys: Capture) -> None:
    path = HISTORIES / "kv-ok.edn"

    assert 2 == run([*REGISTER, str(path)])
    assert f"liferaft: {path}, line 2: CasRegister has no function 'put'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "name"),
    [("cas-register", "register-ok.log"), ("kv", "kv-ok.edn"), ("kv", "kv-ok.jsonl")],
)
def test_a_linearizable_history_ends_with_0(model: str, name: str, capsys: Capture) -> None:
    assert 0 == run(["check", "--model", model, str(HISTORIES / name)])

    output = capsys.readouterr()
    assert output.out.startswith("Linearizable: ")
    assert "" == output.err


@pytest.mark.parametrize(
    ("model", "name", "prefix", "stuck"),
    [
        (
            "cas-register",
            "register-bad.log",
            ["  lines 3 and 4: process 1: write 2, answered 2"],
            ["  lines 5 and 6: process 2: read, answered 1"],
        ),
        (
            "kv",
            "kv-bad.edn",
            ["  lines 3 and 4: process 1: append 'y' on 'a', answered 'y'"],
            ["  lines 7 and 8: process 0: get on 'a', answered 'x'"],
        ),
        (
            "kv",
            "kv-bad.jsonl",
            ["  lines 2 and 4: process two: get on 'k', answered 'v'"],
            ["  lines 9 and 10: process two: get on 'k', answered 'w'"],
        ),
    ],
)
def test_a_violation_ends_with_1_and_names_the_lines(
    model: str, name: str, prefix: list[str], stuck: list[str], capsys: Capture
) -> None:
    status = run(["check", "--model", model, str(HISTORIES / name)])
    lines = capsys.readouterr().out.splitlines()
    end = lines.index("No order has a place then for:")

    assert 1 == status
    assert lines[0].startswith("Not linearizable: ")
    assert prefix == lines[end - len(prefix) : end]
    assert stuck == lines[end + 1 :]


def test_a_violation_as_json(capsys: Capture) -> None:
    status = run([*KV, str(HISTORIES / "kv-bad.edn"), "--json"])
    told = json.loads(capsys.readouterr().out)

    assert (1, "violation", 4, 2, "a", 2) == (
        status,
        *(told[name] for name in ("outcome", "operations", "objects", "key", "prefix")),
    )
    assert [
        {
            "process": 0,
            "function": "get",
            "key": "a",
            "argument": None,
            "result": "x",
            "line": 7,
            "answered_line": 8,
        }
    ] == told["stuck"]


def test_a_good_history_as_json(capsys: Capture) -> None:
    status = run([*REGISTER, str(HISTORIES / "register-ok.log"), "--json"])
    told = json.loads(capsys.readouterr().out)

    assert (0, "linearizable", 6, 1, []) == (
        status,
        *(told[name] for name in ("outcome", "operations", "objects", "stuck")),
    )


@pytest.fixture
def read_of() -> Callable[[Path, str], list[str]]:
    """Return how to check a register of which one read is known."""

    def arguments(directory: Path, value: str) -> list[str]:
        path = directory / "history.jsonl"
        line = '{{"process": 1, "type": "{}", "f": "read", "value": {}}}\n'
        path.write_text(line.format("invoke", "null") + line.format("ok", value))
        return [*REGISTER, str(path)]

    return arguments


@pytest.mark.parametrize(
    ("initial", "value"),
    [("7", "7"), ("some text", '"some text"'), ("[1, 2]", "[1, 2]"), ("nil", "null")],
)
def test_the_initial_value_is_json_or_a_text(
    initial: str,
    value: str,
    tmp_path: Path,
    read_of: Callable[[Path, str], list[str]],
    capsys: Capture,
) -> None:
    arguments = read_of(tmp_path, value)

    assert 0 == run([*arguments, "--initial", initial])
    assert 1 == run([*arguments, "--initial", "another"])


def test_the_verdict_is_written_as_a_page(tmp_path: Path, capsys: Capture) -> None:
    page = tmp_path / "verdict.html"
    status = run([*KV, str(HISTORIES / "kv-bad.edn"), "--html", str(page)])

    assert 1 == status
    assert 1 == page.read_text(encoding="utf-8").count('<div class="bar unplaceable"')
    assert "Not linearizable" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_is_one_line(capsys: Capture) -> None:
    status = run([*KV, str(HISTORIES / "kv-ok.edn"), "--html", str(HISTORIES)])

    assert 2 == status
    assert 1 == len(capsys.readouterr().err.splitlines())
