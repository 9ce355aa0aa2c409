"""What type checkers say about users' code: Protocols, ABCs and classes, without an ignore."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PASSING = sorted((HERE / "must_pass").glob("*.py"))
FAILING = sorted((HERE / "must_fail").glob("*.py"))

pytestmark = pytest.mark.slow


def check_with_mypy(path: Path, work: Path) -> str:
    """Run mypy as a user would: strict, with no settings of ours."""
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull]
    command += ["--cache-dir", str(work.parent / "mypy"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=work)
    return done.stdout + done.stderr


@pytest.mark.parametrize("path", PASSING, ids=lambda path: path.stem)
def test_mypy_accepts(path: Path, tmp_path: Path) -> None:
    assert check_with_mypy(path, tmp_path).startswith("Success")


@pytest.mark.parametrize("path", FAILING, ids=lambda path: path.stem)
def test_mypy_finds_the_fault_in_its_line(path: Path, tmp_path: Path) -> None:
    lines = path.read_text().splitlines()
    number, fault = next(
        (at, line.split("# error: ")[1])
        for at, line in enumerate(lines, start=1)
        if "# error: " in line
    )
    said = check_with_mypy(path, tmp_path)

    assert f"{path.name}:{number}: error: " in said
    assert fault in said
    assert "Found 1 error" in said


def test_basedpyright_agrees() -> None:
    """One run over all files: it accepts each of must_pass and faults each of must_fail."""
    program = Path(sys.executable).with_name("basedpyright")
    command = [str(program), "--outputjson", "--level", "error", *map(str, PASSING + FAILING)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    faulted = {item["file"] for item in json.loads(done.stdout)["generalDiagnostics"]}

    assert {str(path) for path in FAILING} == faulted
