"""pytest finds the fixtures, pays next to nothing for them, and a broken promise fails its test."""

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

# Whether or not the installed liferaft registers the plugin, it is this source's that counts.
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:liferaft", "-p", "liferaft.testing")
BROKEN = """
from examples.bank.bank import Bank
from liferaft.errors import InvariantViolated

def test_that_ends_well_but_for_the_promise(simulated_cluster):
    cluster = simulated_cluster(Bank)
    cluster.world.violations.append(InvariantViolated("election safety: two lead"))

def test_that_is_sound(simulated_cluster):
    cluster = simulated_cluster(Bank)
    assert 1 == cluster.run(cluster.stub(Bank).deposit("alice", 1))
"""


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_entry_point_names_a_module_with_both_fixtures() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    plugin = import_module(project["project"]["entry-points"]["pytest11"]["liferaft"])

    assert {"local_cluster", "simulated_cluster"} <= set(dir(plugin))


@pytest.mark.slow
@pytest.mark.processes
def test_loading_the_plugin_loads_nothing_else_of_liferaft(tmp_path: Path) -> None:
    program = "import sys, pytest; before = set(sys.modules); import liferaft.testing; "
    program += "print(sorted(set(sys.modules) - before))"
    done = run(sys.executable, "-c", program, cwd=tmp_path)

    assert "['liferaft', 'liferaft.testing', 'liferaft.testing.fixtures']\n" == done.stdout


@pytest.mark.slow
@pytest.mark.processes
def test_liferaft_testing_can_be_imported_without_pytest(tmp_path: Path) -> None:
    program = "import importlib.util as util; find = util.find_spec; "
    program += "util.find_spec = lambda name: None if name == 'pytest' else find(name); "
    program += (
        "import sys, liferaft.testing; print(liferaft.testing.__all__, 'pytest' in sys.modules)"
    )
    done = run(sys.executable, "-c", program, cwd=tmp_path)

    assert "[] False\n" == done.stdout


@pytest.mark.slow
@pytest.mark.processes
def test_a_broken_promise_fails_the_test_in_which_it_was_broken(tmp_path: Path) -> None:
    (tmp_path / "test_of_a_user.py").write_text(BROKEN)
    done = run(*PYTEST, "-q", "--no-header", cwd=tmp_path)

    assert 1 == done.returncode, done.stdout
    assert "ERROR test_of_a_user.py::test_that_ends_well_but_for_the_promise" in done.stdout
    assert "2 passed" in done.stdout
    assert "1 error" in done.stdout
