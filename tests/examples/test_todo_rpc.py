"""One process hosts the list, others share it, through a link that loses frames."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.running import output_of, running

pytestmark = pytest.mark.processes

EXAMPLES = "examples/todo_rpc"
TIMEOUT = 120.0


@pytest.fixture
def address() -> Iterator[str]:
    """Where a leaky server hosts a list."""
    leak = ("--loss", "0.2", "--duplicate", "0.1", "--delay", "0.01")
    command = (sys.executable, f"{EXAMPLES}/server.py", "--address", "127.0.0.1:0", *leak)
    with running(*command) as server:
        line = output_of(server).readline()
        try:
            yield line.removeprefix("the list is served at ").partition(";")[0]
        finally:
            server.terminate()
            last_words, _ = server.communicate(timeout=TIMEOUT)
    assert (0, True) == (server.returncode, last_words.endswith("calls were served\n"))


def run(script: str, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, f"{EXAMPLES}/{script}", *words],
        input=typed,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def test_clients_share_the_list_by_commands(address: str) -> None:
    outputs = [
        run("client.py", address, *command.split()).stdout
        for command in ("add buy milk", "add bake bread", "done 1", "list")
    ]

    assert "added item 1: buy milk\n" == outputs[0]
    assert "item 1 is done: buy milk\n" == outputs[2]
    assert ["[ ] 2 bake bread", "2 items, 1 done"] == outputs[3].splitlines()[1:]


def test_a_conversation_goes_on_after_a_mistake(address: str) -> None:
    result = run("client.py", address, typed="bogus\ndone 7\nadd buy milk\nlist\nquit\n")

    assert 0 == result.returncode
    assert "'bogus' is no command" in result.stdout
    assert "the list has no item 7" in result.stdout
    assert "1 items, 0 done" in result.stdout


def test_who_watches_sees_what_others_add(address: str) -> None:
    with running(sys.executable, f"{EXAMPLES}/client.py", address, "watch") as watcher:
        before = output_of(watcher).readline()
        run("client.py", address, "add", "buy", "milk")
        after = output_of(watcher).readline()

    assert ("0 items, 0 done\n", "[ ] 1 buy milk\n") == (before, after)


def test_several_processes_fill_the_list_exactly_once(address: str) -> None:
    result = run("clients.py", address, "--clients", "3", "--items", "5")

    assert "all 15 items are there exactly once, and done\n" == result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "usage: client.py ADDRESS"),
        (["127.0.0.1", "list"], "client.py: '127.0.0.1' has no port"),
    ],
)
def test_bad_words_get_one_line(words: list[str], said: str) -> None:
    result = run("client.py", *words)

    assert (1, 1) == (result.returncode, len(result.stderr.splitlines()))
    assert result.stderr.startswith(said)
