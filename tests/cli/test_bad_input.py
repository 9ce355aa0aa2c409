"""Bad input ends with one line on stderr that says what to do, and with the right exit status."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

TODO = "Todo=liferaft.recipes.todo:TodoList"
TIMEOUT = 60.0


def liferaft(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "liferaft", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def assert_one_line(result: subprocess.CompletedProcess[str], status: int, said: str) -> None:
    lines = result.stderr.splitlines()

    assert [status, 1] == [result.returncode, len(lines)], result.stderr
    assert lines[0].startswith("liferaft: ")
    assert said in lines[0]
    assert "" == result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], 'Unknown command "bogus"'),
        (["--bogus"], "--bogus"),
        (["node"], "--id"),
        (["demo", "--nodes", "many"], '"many"'),
        (["demo", "--nodes", "2"], "--nodes is 2: give 3"),
        (["demo", "--loss", "1.5"], "--loss is 1.5"),
        (["demo", "extra"], "extra"),
    ],
)
def test_what_cannot_be_understood_is_usage(arguments: list[str], said: str) -> None:
    assert_one_line(liferaft(*arguments), 2, said)


NODE = {
    "--id": "n1",
    "--peers": "n1=127.0.0.1:7401",
    "--data": "DIRECTORY",
    "--object": TODO,
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--peers": "n1"}, "'n1' is not of the form NODE=HOST:PORT"),
        ({"--peers": "n1=nowhere"}, "'nowhere' has no port"),
        ({"--peers": "n2=127.0.0.1:7402"}, "'n1' is not among the peers"),
        ({"--listen": "127.0.0.1:99999"}, "not between 0 and 65535"),
        ({"--object": "no_such_module:Thing"}, "no module 'no_such_module'"),
        ({"--object": "liferaft.recipes.todo:Nothing"}, "no 'Nothing'"),
        ({"--loss": "2"}, "loss is 2.0"),
        ({"--log-level": "loud"}, '"loud"'),
        ({"--data": __file__}, "is not a directory"),
        ({"--data": f"{__file__}/below"}, "is not a directory"),
        ({"--bogus": "1"}, "--bogus"),
        ({"--control": "nonsense"}, "'nonsense' has no port"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_node_that_cannot_run_says_why(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    options = {**NODE, "--data": str(tmp_path), **changes}
    words = [word for option in options.items() for word in option]

    assert_one_line(liferaft("node", *words), 2, said)


def test_a_port_in_use_is_named(tmp_path: Path, taken_port: int) -> None:
    address = f"127.0.0.1:{taken_port}"
    options = {**NODE, "--peers": f"n1={address}", "--data": str(tmp_path)}
    words = [word for option in options.items() for word in option]

    assert_one_line(liferaft("node", *words), 2, f"{address} is in use")


def test_a_directory_of_another_node_is_refused(tmp_path: Path, taken_port: int) -> None:
    """The first start binds the directory to its node, even when it cannot listen."""
    peers = f"n1=127.0.0.1:{taken_port},n2=127.0.0.1:7402"
    fixed = ["--peers", peers, "--data", str(tmp_path), "--object", TODO]
    liferaft("node", "--id", "n1", *fixed)

    assert_one_line(liferaft("node", "--id", "n2", *fixed), 2, "belongs to node n1")


def test_a_directory_of_another_cluster_is_refused(tmp_path: Path, taken_port: int) -> None:
    fixed = ["--id", "n1", "--peers", f"n1=127.0.0.1:{taken_port}", "--data", str(tmp_path)]
    fixed += ["--object", TODO]
    liferaft("node", *fixed, "--cluster", "payroll")

    assert_one_line(liferaft("node", *fixed, "--cluster", "stock"), 2, "cluster payroll")


def test_the_version_and_the_help_are_answers() -> None:
    results = [liferaft("--version"), liferaft("--help"), liferaft("node", "--help")]

    assert [0, 0, 0] == [result.returncode for result in results]
    assert results[0].stdout.startswith("liferaft ")
    assert "demo" in results[1].stdout
    assert "--peers" in results[2].stdout


def test_without_the_extra_packages_it_says_what_to_install(tmp_path: Path) -> None:
    """A cyclopts that cannot be imported stands for one that is not there."""
    (tmp_path / "cyclopts.py").write_text("raise ImportError('not installed')\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import liferaft.__main__ as m"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}; m.main()"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )

    assert_one_line(result, 2, "pip install 'liferaft[cli]'")
