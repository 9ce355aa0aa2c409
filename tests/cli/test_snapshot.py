"""A cluster of real processes: its snapshots, a backup of it, and what goes on from one disk."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import liferaft
from liferaft.cli.exits import ExitStatus
from liferaft.ops.processes import free_addresses
from liferaft.recipes.todo import Todo
from tests.cli.clusters import DEADLINE, TODO, Cluster, leader_of
from tests.running import output_of, running

pytestmark = pytest.mark.processes


@contextmanager
def alone(directory: Path, peers: str, *options: str) -> Iterator[None]:
    """Run one node, the first of its peers."""
    name = peers.partition("=")[0]
    command = [sys.executable, "-m", "liferaft", "node", "--id", name, "--peers", peers]
    command += ["--data", str(directory), "--object", TODO, *options]
    with running(*command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert "listens on" in output_of(process).readline()
        yield


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "liferaft", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)


@pytest.fixture(scope="module")
def backup(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A backup of a cluster of one node, and what was printed when it was made."""
    directory = tmp_path_factory.mktemp("backup")
    (address,) = free_addresses(1)
    with alone(directory / "data", f"n1={address}", "--cluster", "old"):
        assert 0 == run("call", address, "add", "milk").returncode
        saved = run("snapshot", "save", address, directory / "todo.backup")
        assert 0 == run("call", address, "add", "too late").returncode
    return directory / "todo.backup", saved


def test_a_backup_is_whole_and_says_what_it_holds(
    backup: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    file, saved = backup
    status = run("snapshot", "status", file)

    assert (0, 0, "") == (saved.returncode, status.returncode, saved.stderr)
    assert "whole: the state of cluster old up to entry" in status.stdout
    assert "its voters were n1" in status.stdout
    assert saved.stdout.splitlines()[0] == status.stdout.splitlines()[0]
    assert [each for each in file.parent.iterdir() if each.name.endswith(".new")] == []


def test_a_new_cluster_begins_with_the_state_of_a_backup(
    backup: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    file, _ = backup
    (address,) = free_addresses(1)
    new = ["--id", "a1", "--peers", f"a1={address}", "--data", tmp_path / "a1", "--cluster", "new"]
    restored = run("snapshot", "restore", file, *new)
    with alone(tmp_path / "a1", f"a1={address}", "--cluster", "new"):
        added = run("call", address, "add", "salt")
        items = run("call", address, "items").stdout
    again = run("snapshot", "restore", file, *new)

    assert (0, 0) == (restored.returncode, added.returncode)
    assert "milk" in items
    assert "salt" in items
    assert "too late" not in items
    assert ExitStatus.USAGE == again.returncode
    assert "belongs to a node already" in again.stderr


def test_the_cluster_of_the_backup_is_not_made_a_second_time(
    backup: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    file, _ = backup
    new = ["--id", "a1", "--peers", "a1=127.0.0.1:1", "--data", tmp_path / "a1", "--cluster", "old"]
    refused = run("snapshot", "restore", file, *new)

    assert ExitStatus.USAGE == refused.returncode
    assert "give the new cluster another name" in refused.stderr
    assert not (tmp_path / "a1").exists()


def test_a_backup_that_was_changed_is_refused(
    backup: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    data = bytearray(backup[0].read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "changed").write_bytes(bytes(data))
    refused = run("snapshot", "status", tmp_path / "changed")

    assert ExitStatus.DAMAGED == refused.returncode
    assert "its checksum does not fit" in refused.stderr


def test_a_node_that_was_away_for_long_is_sent_the_state(tmp_path: Path) -> None:
    """It never had what the others have dropped, and its log begins behind their snapshot."""
    few = ("--snapshot-entries", "20", "--keep-entries", "5", "--segment-bytes", "4096")
    with ExitStack() as stack:
        cluster = Cluster(tmp_path, stack, *few)
        leader = leader_of(cluster.wait_for({"n1", "n2", "n3"}))
        away = next(node for node in ("n1", "n2", "n3") if node != leader)
        cluster.kill(away)
        todo = liferaft.connect(Todo, cluster.contacts, name="Todo", timeout=DEADLINE)
        for number in range(80):
            todo.add(f"item-{number}")
        liferaft.close(todo)
        cluster.start(away)
        deadline = time.monotonic() + DEADLINE
        look = ("call", cluster.addresses[away], "items", "--reads", "stale")
        while "item-79" not in (items := cluster.run(*look)).stdout:
            assert time.monotonic() < deadline, items
        seen = cluster.run("wal", "inspect", str(tmp_path / away))

    assert "snapshot: up to entry" in seen.stdout, seen
    assert "log: entries 1 to" not in seen.stdout


def test_what_is_left_of_a_cluster_goes_on_by_an_explicit_command(tmp_path: Path) -> None:
    with ExitStack() as stack:
        cluster = Cluster(tmp_path, stack)
        left = leader_of(cluster.wait_for({"n1", "n2", "n3"}))
        assert 0 == cluster.run("call", cluster.contacts, "add", "milk").returncode
        for node in ("n1", "n2", "n3"):
            cluster.kill(node)
    told = run("recover", tmp_path / left, "--cluster", "liferaft-2")
    same = run("recover", tmp_path / left, "--cluster", "liferaft", "--yes")
    done = run("recover", tmp_path / left, "--cluster", "liferaft-2", "--yes")
    address, joining = free_addresses(2)
    name = ("--cluster", "liferaft-2")
    with ExitStack() as stack:
        stack.enter_context(alone(tmp_path / left, f"{left}={address}", *name))
        added = run("call", address, "add", "salt")
        items = run("call", address, "items").stdout
        peers = f"a2={joining},{left}={address}"
        stack.enter_context(alone(tmp_path / "a2", peers, *name, "--join"))
        joined = run("member", "add", address, "a2", joining)
    old = run(
        "node",
        "--id",
        left,
        "--peers",
        f"{left}={address}",
        "--data",
        tmp_path / left,
        "--object",
        TODO,
    )

    assert ExitStatus.NEGATIVE == told.returncode
    assert "Nothing was changed" in told.stdout
    assert "is lost" in told.stdout
    assert ExitStatus.USAGE == same.returncode
    assert (0, 0, 0) == (done.returncode, added.returncode, joined.returncode), joined.stderr
    assert "milk" in items
    assert "salt" in items
    assert "belongs to node" in old.stderr
