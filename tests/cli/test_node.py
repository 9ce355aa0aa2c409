"""The life of a node's process."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from liferaft.cli.exits import ExitStatus
from liferaft.ops.processes import free_addresses
from tests.running import output_of, running

pytestmark = pytest.mark.processes

TODO = "Todo=liferaft.recipes.todo:TodoList"
TIMEOUT = 60.0


def liferaft(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "liferaft", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


@contextmanager
def running_node(
    directory: Path, *options: str, cwd: Path | None = None, hosted: str = TODO, address: str = ""
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a cluster of one node; gives its process and the line that it printed."""
    address = address or free_addresses(1)[0]
    command = [sys.executable, "-m", "liferaft", "node", "--id", "n1", "--peers", f"n1={address}"]
    command += ["--data", str(directory), "--object", hosted, *options]
    with running(*command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd) as process:
        yield process, output_of(process).readline().rstrip()


def test_a_node_says_where_it_listens_and_where_its_data_is(tmp_path: Path) -> None:
    (address,) = free_addresses(1)
    with running_node(tmp_path, "--cluster", "payroll", address=address) as (_, line):
        pass

    assert f"node n1 of cluster payroll listens on {address}, data in {tmp_path}" == line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_node_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with running_node(tmp_path) as (process, _):
        process.send_signal(number)
        _, errors = process.communicate(timeout=TIMEOUT)

    assert (0, "") == (process.returncode, errors)


def test_a_second_signal_ends_a_node_at_once(tmp_path: Path) -> None:
    with running_node(tmp_path) as (process, _):
        process.send_signal(signal.SIGSTOP)
        for number in (signal.SIGTERM, signal.SIGINT):  # both wait until it goes on
            process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=TIMEOUT)

    assert 130 == process.returncode


def test_a_node_whose_parent_is_gone_ends_when_told_to_watch(tmp_path: Path) -> None:
    with running_node(tmp_path, "--stop-with-stdin") as (process, _):
        _, errors = process.communicate(timeout=TIMEOUT)  # which ends its standard input first

    assert (0, "") == (process.returncode, errors)


def test_a_class_in_the_current_directory_is_found(tmp_path: Path) -> None:
    module = "class Counter:\n    def increment(self) -> int:\n        return 1\n"
    (tmp_path / "counter_of_a_user.py").write_text(module)
    with running_node(tmp_path / "data", cwd=tmp_path, hosted="counter_of_a_user:Counter") as (
        _,
        line,
    ):
        pass

    assert line.startswith("node n1 of cluster liferaft listens on")


def test_a_second_node_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with running_node(tmp_path), running_node(tmp_path) as (second, line):
        _, errors = second.communicate(timeout=TIMEOUT)

    assert ("", 2, 1) == (line, second.returncode, len(errors.splitlines()))
    assert "is in use by process" in errors


def test_a_damaged_log_ends_with_its_own_status(tmp_path: Path) -> None:
    with running_node(tmp_path) as (process, _):
        process.terminate()
        process.communicate(timeout=TIMEOUT)
    log = min(path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 4096)
    damaged = bytearray(log.read_bytes())
    damaged[8:24] = b"\xff" * 16
    log.write_bytes(bytes(damaged))
    with running_node(tmp_path) as (process, line):
        _, errors = process.communicate(timeout=TIMEOUT)

    assert ("", 6, 1) == (line, process.returncode, len(errors.splitlines())), errors
    assert str(log) in errors


def test_reads_of_every_kind_from_the_shell(tmp_path: Path) -> None:
    (address,) = free_addresses(1)
    said = {}
    with running_node(tmp_path, "--lease-clock-error", "0.1", address=address):
        liferaft("call", address, "add", "milk")
        for reads in ("linearizable", "lease", "follower", "within:0.5", "stale"):
            done = liferaft("call", address, "Todo.items", "--reads", reads)
            said[reads] = len(json.loads(done.stdout))
        refused = liferaft("call", address, "add", "bread", "--reads", "stale")
        senseless = liferaft("call", address, "items", "--reads", "eventual")
        listed = liferaft("describe", address)  # it is the only object

    assert [1] * 5 == list(said.values())
    assert "add is a command of Todo, and this stub only reads" in refused.stderr
    assert (ExitStatus.USAGE, True) == (senseless.returncode, "within:SECONDS" in senseless.stderr)
    assert "Todo@" not in listed.stdout


def test_a_lease_without_sense_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with running_node(tmp_path, "--lease-clock-error", "1.5") as (process, _):
        _, errors = process.communicate(timeout=TIMEOUT)

    assert ExitStatus.USAGE == process.returncode
    assert "lease_clock_error must be a share from 0 to below 1" in errors
