"""`liferaft chaos` from outside: one whole round, its exit statuses, and that nothing is left."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from liferaft.chaos.faults import FAULTS, chosen, skipped
from liferaft.chaos.narrator import Scene
from liferaft.cli.chaos import LiveNarrator
from liferaft.cluster.admin import NodeStatus
from tests.running import children_of, output_of, running

CHAOS = (sys.executable, "-m", "liferaft", "chaos")
TIMEOUT = 280.0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CHAOS, *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def test_a_terminal_shows_nodes_faults_and_violations() -> None:
    status = NodeStatus("n1", "liferaft", "leader", 3, "n1", 41, 41, 42)
    output = io.StringIO()
    narrator = LiveNarrator(Console(file=output, force_terminal=True, width=100))
    narrator.tell(1.5, "n2 is killed with SIGKILL")
    narrator.show(
        Scene(
            elapsed=2.0,
            seconds=60.0,
            nodes={"n1": status, "n2": None},
            marks={"n2": "killed"},
            faults={"kill": 1, "power": 0},
            problems=0,
        )
    )
    narrator.close()
    shown = output.getvalue()

    assert [] == [
        words
        for words in ("n2 is killed with SIGKILL", "leader", "41", "does not answer", "1 kill")
        if words not in shown
    ]
    assert "power" not in shown


@pytest.mark.slow
@pytest.mark.processes
def test_a_round_of_every_fault_holds() -> None:
    """Every kind that this machine can make was really made, and nothing that clients saw broke."""
    result = run("--seconds", "60", "--json")
    report = json.loads(result.stdout)
    cannot = skipped(chosen([]))

    assert (0, "") == (result.returncode, result.stderr), result.stdout
    assert report["is_ok"]
    assert cannot == report["skipped"]
    assert set(FAULTS) - set(cannot) == {name for name, count in report["faults"].items() if count}
    assert {"add", "get", "put"} <= set(report["operations"])


@pytest.mark.slow
@pytest.mark.processes
def test_a_run_is_told_in_plain_lines_and_leaves_nothing(tmp_path: Path) -> None:
    result = subprocess.run(
        [*CHAOS, "--seconds", "0", "--faults", "kill,split"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    lines = result.stdout.splitlines()

    assert (0, "") == (result.returncode, result.stderr), result.stdout
    assert any("is killed with SIGKILL" in line for line in lines)
    assert any("are parted; clients reach both" in line for line in lines)
    assert "Faults survived: 2 (1 kill, 1 split)." in lines
    assert lines[-1].startswith("Violations: 0")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.processes
def test_sigterm_ends_everything_cleanly(tmp_path: Path) -> None:
    # A fault that ends no process: who is counted here must be there.
    command = (*CHAOS, "--seconds", "600", "--faults", "split")
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with running(*command, stderr=subprocess.PIPE, env=environment) as process:
        while "clients work" not in output_of(process).readline():
            assert process.poll() is None
        children = children_of(process.pid)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT)

    assert (130, "") == (process.returncode, errors)
    assert len(children) >= 7
    assert [] == [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert [] == list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--faults", "flood"), "there is no fault 'flood'"),
        (("--sweep", "read"), "there is no sweep of 'read'"),
        (("--sweep", "all", "--power-cuts", "3"), "--sweep and --power-cuts are different things"),
        (("--all-nodes",), "--all-nodes is for --power-cuts"),
        (("--with-power-cuts",), "--with-power-cuts is for --sweep"),
        (("--points", "0"), "give 1 or more"),
        (("--power-cuts", "-1"), "give 1 or more"),
        (("--nodes", "2"), "--nodes is 2: give 3 to 9"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_done(
    arguments: tuple[str, ...], sentence: str
) -> None:
    result = run(*arguments)

    assert (2, "", 1) == (result.returncode, result.stdout, len(result.stderr.splitlines()))
    assert sentence in result.stderr


@pytest.mark.slow
def test_a_sweep_says_what_the_machine_lacks(tmp_path: Path) -> None:
    result = subprocess.run(
        [*CHAOS, "--sweep", "all"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env=os.environ | {"PATH": str(tmp_path)},
    )

    sentence = "liferaft: --sweep cannot be done here: strace is not installed: apt install strace"

    assert (2, sentence) == (result.returncode, result.stderr.strip())
