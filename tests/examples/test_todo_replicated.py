"""The same list and the same client on three nodes."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from liferaft.ops.processes import free_addresses
from tests.running import output_of, running

pytestmark = pytest.mark.processes

START = "examples/todo_replicated/start.py"
TIMEOUT = 120.0


@contextmanager
def started(directory: Path, addresses: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run the example's three nodes; they listen when the block begins."""
    ports = [address.rpartition(":")[2] for address in addresses]
    command = (sys.executable, START, "--data", str(directory), "--ports", *ports)
    with running(*command) as process:
        listening = 0
        while listening < 3:
            listening += "listens on" in output_of(process).readline()
            assert process.poll() is None
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=TIMEOUT)


def client(address: str, *words: str) -> str:
    result = subprocess.run(
        [sys.executable, "examples/todo_rpc/client.py", address, *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert (0, "") == (result.returncode, result.stderr)
    return result.stdout


def test_the_same_client_works_on_three_nodes_and_the_list_survives_them(tmp_path: Path) -> None:
    addresses = free_addresses(3)
    with started(tmp_path, addresses):
        added = client(",".join(addresses), "add", "buy", "milk")
        client(addresses[2], "done", "1")
    with started(tmp_path, addresses):
        listed = client(",".join(addresses), "list").splitlines()

    assert "added item 1: buy milk\n" == added
    assert listed[0].startswith("[x] 1 buy milk")
    assert "1 items, 1 done" == listed[1]
