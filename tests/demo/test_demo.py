"""The whole demonstration on real processes, kept short."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import children_of, output_of, running

pytestmark = pytest.mark.processes

DEMO = (sys.executable, "-m", "liferaft", "demo")
TIMEOUT = 200.0


def test_the_story_is_told_in_plain_lines_and_holds() -> None:
    result = subprocess.run(
        [*DEMO, "--duration", "6", "--seed", "7"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    lines = result.stdout.splitlines()
    told = [
        words
        for words in ("leads in term", "killed", "started again", "cut off", "healed", "client 4")
        if any(words in line for line in lines)
    ]

    assert (0, "") == (result.returncode, result.stderr), result.stdout
    assert 6 == len(told)
    assert "Verdict: it all holds." == lines[-1]


def test_five_nodes_and_json_print_one_object_and_nothing_else() -> None:
    result = subprocess.run(
        [*DEMO, "--duration", "5", "--nodes", "5", "--json"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    verdict = json.loads(result.stdout)

    assert (0, "") == (result.returncode, result.stderr), result.stdout
    assert verdict["is_ok"]
    assert verdict["adds_acknowledged"] > 0
    assert (5, 1) == (len(verdict["digests"]), len(set(verdict["digests"].values())))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_everything_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    command = (*DEMO, "--duration", "600")
    environment = {"TMPDIR": str(tmp_path)}
    with running(*command, stderr=subprocess.PIPE, env=environment) as process:
        while "clients begin" not in output_of(process).readline():
            assert process.poll() is None
        children = children_of(process.pid)
        process.send_signal(number)
        _, errors = process.communicate(timeout=TIMEOUT)

    assert (130, "") == (process.returncode, errors)
    assert 7 == len(children)
    assert [] == [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert [] == list(tmp_path.iterdir())


def test_a_cluster_that_is_kept_stays_until_ctrl_c() -> None:
    command = (*DEMO, "--duration", "3", "--keep", "--json")
    with running(*command, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        address = process.stderr.readline().split()[-1]
        client = (sys.executable, "examples/todo_rpc/client.py", address, "list")
        listed = subprocess.run(
            client, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT)
    verdict = json.loads(output)

    assert (0, 0) == (listed.returncode, process.returncode)
    assert listed.stdout.splitlines()[-1].startswith(f"{verdict['items']['n1']} items")
