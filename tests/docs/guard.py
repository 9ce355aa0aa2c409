"""What a guard is, and how it is taken out: of a copy of the sources, never of the sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"


class Guard(NamedTuple):
    """A piece of code that keeps the product out of a trap, and the test that misses it.

    `where` is the module below `liferaft` and the function in it, as docs/correctness.md names
    them. Without the guard `text`, which stands there once, reads `without`. `test` is what fails
    then, as pytest names it; where it has parameters, any of them.
    """

    trap: int
    where: str
    text: str
    without: str
    test: str

    @property
    def path(self) -> Path:
        """The guarding module, relative to the sources."""
        module, _ = self.where.split(":")
        return Path("liferaft", *module.split(".")).with_suffix(".py")


def take_out(guard: Guard, source: Path) -> None:
    """Take a guard out of the sources at `source`."""
    file = source / guard.path
    text = file.read_text(encoding="utf-8")
    assert 1 == text.count(guard.text), f"{guard.path} has it {text.count(guard.text)} times"
    file.write_text(text.replace(guard.text, guard.without), encoding="utf-8")


def copy_sources(target: Path) -> Path:
    """Return a copy of the sources, with what Python has compiled of them."""
    return Path(shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("*.pyc.*")))


OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:schemathesis", "--timeout=20")
"""Loading what is not needed here takes longer than most of the tests."""


def run_test(test: str, source: Path) -> subprocess.CompletedProcess[str]:
    """Run a test on the sources at `source`: 0 when it passes, 1 when it fails."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, test],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
