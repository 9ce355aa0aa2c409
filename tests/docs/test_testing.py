"""Every listing of docs/testing.md runs, in the order of the page, in a user's own directory."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.processes]

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
SOUND, BROKEN, TRACED, SHRUNK = re.findall(r"```sh\n(.*?)\n```", PAGE, flags=re.DOTALL)
PYTEST = ("pytest", "-q", "-p", "no:liferaft", "-p", "liferaft.testing")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the page's files lie: each listing of Python begins with its file's name."""
    made = tmp_path_factory.mktemp("of_a_user")
    for name, text in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, flags=re.DOTALL):
        (made / name).write_text(text, encoding="utf-8")
    return made


def run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def without_chance(text: str) -> str:
    """Return the text without what every new kind of fault changes: the node and the amounts."""
    return re.sub(r"n\d: AssertionError\(.*\)", "n?: AssertionError(...)", text)


def test_every_listing_of_python_is_a_file(directory: Path) -> None:
    assert PAGE.count("```python") == len(list(directory.iterdir()))


def test_the_sound_bank_keeps_its_promise(directory: Path) -> None:
    done = run(*shlex.split(SOUND), cwd=directory)

    assert (0, "") == (done.returncode, done.stderr)
    assert "every promise was kept" in done.stdout


def test_the_lossy_bank_is_found_as_the_page_shows(directory: Path) -> None:
    done = run(*shlex.split(BROKEN), cwd=directory)
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)

    assert (1, without_chance(shown)) == (done.returncode, without_chance(done.stderr))


def test_the_trace_is_written(directory: Path) -> None:
    done = run(*shlex.split(TRACED), cwd=directory)

    assert 1 == done.returncode
    assert "no_money_lost" in (directory / "out.html").read_text(encoding="utf-8")


def test_the_shortest_run_needs_no_fault(directory: Path) -> None:
    done = run(*shlex.split(SHRUNK), cwd=directory)

    assert 1 == done.returncode
    assert "--keep none" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(("file", "count"), [("test_bank.py", 2), ("test_bank_for_real.py", 1)])
def test_the_tests_of_the_page_pass(file: str, count: int, directory: Path) -> None:
    done = run(*PYTEST, file, cwd=directory)

    assert f"{count} passed" in done.stdout, done.stdout + done.stderr
