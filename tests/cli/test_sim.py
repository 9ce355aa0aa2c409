"""`liferaft sim`: what it prints, what it writes, and with which status it ends."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from liferaft.cli.main import run

BROKEN = """
from liferaft import query

class Counter:
    def __init__(self) -> None:
        self.count = 0

    def increment(self) -> int:
        self.count += 1
        return self.count

async def workload(counter, random):
    await counter.increment()

def small(counter):
    assert counter.count < 5, [counter.count]
"""
"""A user's module, whose invariant cannot hold for long."""

USER = "sim counter_of_a_user:Counter --workload counter_of_a_user:workload"
USER += " --invariant counter_of_a_user:small"


@pytest.fixture
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a directory where a user's module lies, and forget the module afterwards."""
    (tmp_path / "counter_of_a_user.py").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "counter_of_a_user", raising=False)
    return tmp_path


def liferaft(words: str, *, hash_seed: str = "0", cwd: Path | None = None) -> tuple[int, str, str]:
    """Run a command in a process of its own, as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "liferaft", *shlex.split(words)],
        env=os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def report_of(words: str, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what a command prints as JSON; it must print nothing else."""
    run(shlex.split(words))
    return json.loads(capsys.readouterr().out)


def commands_in(text: str) -> list[str]:
    """Return the commands that repeat a run."""
    return re.findall(r"^repeat it: liferaft (.*)$", text, flags=re.MULTILINE)


def test_one_seed_prints_its_digest(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(shlex.split("sim --seed 3 --seconds 2"))

    assert (0, 1) == (
        status,
        len(re.findall(r"^digest [0-9a-f]{32}$", capsys.readouterr().out, re.MULTILINE)),
    )


def test_json_has_the_same_digest(capsys: pytest.CaptureFixture[str]) -> None:
    run(shlex.split("sim --seed 3 --seconds 2"))
    printed = capsys.readouterr().out
    report = report_of("sim --seed 3 --seconds 2 --json", capsys)

    assert f"digest {report['digest']}" in printed.splitlines()


@pytest.mark.slow
@pytest.mark.processes
def test_the_order_of_hashes_changes_nothing_that_is_printed() -> None:
    one, other = (liferaft("sim --seed 3 --json", hash_seed=seed) for seed in ("1", "2"))

    assert (0, "") == (one[0], one[2])
    assert one == other


@pytest.mark.slow
def test_many_seeds_are_summed_up(capsys: pytest.CaptureFixture[str]) -> None:
    status = run(shlex.split("sim --seeds 3 --first-seed 5 --seconds 1"))
    printed = capsys.readouterr()

    assert 0 == status
    assert printed.out.startswith("3 seeds, ")
    assert "every promise was kept" in printed.out
    assert "" == printed.err


@pytest.mark.slow
@pytest.mark.processes
def test_two_jobs_give_the_same_digest_as_one() -> None:
    one, two = (liferaft(f"sim --seeds 4 --seconds 1 --jobs {jobs} --json") for jobs in (1, 2))

    assert (0, 0) == (one[0], two[0])
    assert json.loads(one[1]) == json.loads(two[1])


def test_events_are_lines_that_name_what_happened(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    status = run([*shlex.split("sim --seed 3 --seconds 2 --events"), str(file)])
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    state = {"name", "nid", "time", "term", "vote", "commit", "role", "log", "conf"}
    message = {"type", "term", "from", "to", "entries", "logTerm", "index", "commit", "vote"}
    message |= {"reject", "round"}

    assert 0 == status
    assert {"InitState", "BecomeLeader", "SendAppendEntries", "Commit"} <= {
        line["name"] for line in lines
    }
    assert all(state == line.keys() - {"msg"} for line in lines)
    assert all(message == line["msg"].keys() for line in lines if "msg" in line)
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)


def test_watching_a_run_does_not_change_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = report_of("sim --seed 3 --seconds 2 --json", capsys)
    files = f"--events {tmp_path / 'e'} --trace {tmp_path / 't.html'}"
    watched = report_of(f"sim --seed 3 --seconds 2 --json {files}", capsys)

    assert plain == watched


def test_a_trace_is_a_page(tmp_path: Path) -> None:
    file = tmp_path / "out.html"
    status = run([*shlex.split("sim --seed 3 --seconds 2 --trace"), str(file)])

    assert 0 == status
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("sim --profile bad-luck", "there is no profile 'bad-luck'"),
        ("sim --nodes 0", "0 nodes: give 1 to 15"),
        ("sim --trace out.html", "--trace shows one run: give --seed"),
        ("sim --events out.ndjson", "--events shows one run: give --seed"),
        ("sim --seed 1 --trace no/such/directory/out.html", "No such file or directory"),
        ("sim --keep 1,x", "give numbers such as 1,4,9"),
        ("sim no.such.module:Bank --workload no.such.module:w", "there is no module"),
        ("sim --workload a:b", "needs the class"),
        ("sim --seed one", "one"),
    ],
)
def test_a_wrong_word_is_one_line(
    words: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(shlex.split(words))
    printed = capsys.readouterr()

    assert (2, "", 1) == (status, printed.out, len(printed.err.splitlines()))
    assert told in printed.err


def test_a_broken_promise_prints_the_command_that_repeats_it(
    in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run(shlex.split(f"{USER} --seed 2 --seconds 3"))
    first = capsys.readouterr().err
    (command,) = commands_in(first)
    again = run(shlex.split(command))

    assert (1, 1) == (status, again)
    assert first == capsys.readouterr().err
    assert first.startswith("seed 2: small: n")


def test_json_tells_a_broken_promise(
    in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(f"{USER} --seed 2 --seconds 3 --json", capsys)

    assert (2, "small") == (report["seed"], report["violated"])
    assert report["command"].startswith("liferaft sim counter_of_a_user:Counter --seed 2")


def test_the_page_of_a_broken_promise_is_written(in_directory: Path) -> None:
    status = run(shlex.split(f"{USER} --seed 2 --seconds 3 --trace out.html"))

    assert 1 == status
    assert "small: n" in (in_directory / "out.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_shrinking_finds_a_shorter_run_that_fails_in_the_same_way(
    in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shlex.split(f"{USER} --seed 2 --seconds 3 --shrink --trace shorter.html"))
    _, shorter = commands_in(capsys.readouterr().err)
    status = run(shlex.split(f"{shorter} --trace again.html"))

    assert 1 == status
    assert (in_directory / "shorter.html").read_text() == (in_directory / "again.html").read_text()
    assert "--keep none" in shorter
    assert "small: n" in capsys.readouterr().err


@pytest.mark.slow
def test_a_failure_that_does_not_come_from_the_seed_is_not_shrunk_but_told(
    in_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = "looks = []\ndef once(counter):\n    looks.append(counter)\n    assert len(looks) != 9\n"
    (in_directory / "counter_of_a_user.py").write_text(BROKEN + once)
    status = run(shlex.split(f"{USER.replace(':small', ':once')} --seeds 1 --seconds 3 --shrink"))

    assert 1 == status
    assert "kept every promise when it was run again" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.processes
def test_several_jobs_find_a_users_class_and_print_each_command_on_a_line(
    in_directory: Path,
) -> None:
    status, out, err = liferaft(f"{USER} --seeds 2 --seconds 3 --jobs 2", cwd=in_directory)

    assert 1 == status
    assert "2 of 2 seeds broke a promise" in out
    assert {"0", "1"} == {re.findall(r"--seed (\d+)", line)[0] for line in commands_in(err)}
