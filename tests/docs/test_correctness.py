"""docs/correctness.md tells of every trap, and of nothing that is not there."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.guard import ROOT, SOURCE, Guard, copy_sources, run_test, take_out
from tests.docs.guards_around_the_core import GUARDS as AROUND_THE_CORE
from tests.docs.guards_of_the_core import GUARDS as OF_THE_CORE

GUARDS = (*OF_THE_CORE, *AROUND_THE_CORE)
PAGE = (ROOT / "docs" / "correctness.md").read_text(encoding="utf-8")
TRAPS = range(1, 49)


class Row(NamedTuple):
    """A row of the page: what it says of one trap."""

    trap: int
    wheres: set[str]
    tests: set[str]
    text: str


def rows() -> list[Row]:
    """Return the rows of the table of traps."""
    found = []
    for line in re.findall(r"^\| \d+ \|.*$", PAGE, flags=re.MULTILINE):
        number, _, guards, tests = (cell.strip() for cell in line.strip("|").split(" | "))
        found.append(
            Row(
                int(number),
                set(re.findall(r"`([\w.]+:[\w.]+)`", guards)),
                set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", tests)),
                guards,
            )
        )
    return found


@cache
def names_in(file: Path) -> frozenset[str]:
    """Return the functions of a file, methods as Class.method."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = {node.name for node in tree.body if isinstance(node, functions)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{each.name}" for each in node.body if isinstance(each, functions)
            }
    return frozenset(names)


def test_there_is_one_row_for_each_trap() -> None:
    assert list(TRAPS) == [row.trap for row in rows()]


@pytest.mark.parametrize("row", rows(), ids=lambda row: str(row.trap))
def test_a_row_names_the_guards_that_are_taken_out_and_what_fails_then(row: Row) -> None:
    guards = [guard for guard in GUARDS if guard.trap == row.trap]

    assert {guard.where for guard in guards} == row.wheres
    assert {guard.test for guard in guards} == row.tests
    assert guards or "Not yet" in row.text


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/[\w/]+\.py::\w+)`", PAGE))))
def test_every_test_that_the_page_names_exists(test: str) -> None:
    file, _, name = test.partition("::")

    assert name in names_in(ROOT / file)


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.trap}-{guard.where}")
def test_every_guard_stands_where_the_page_says(guard: Guard) -> None:
    """Whoever changes it changes tests/docs/guards_*.py too, and looks whether it still guards."""
    _, name = guard.where.split(":")
    file = SOURCE / guard.path

    assert name in names_in(file)
    assert 1 == file.read_text(encoding="utf-8").count(guard.text)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.trap}-{guard.where}")
def test_without_the_guard_its_test_fails(guard: Guard, tmp_path: Path) -> None:
    source = copy_sources(tmp_path / "src")
    take_out(guard, source)
    done = run_test(guard.test, source)

    assert 1 == done.returncode, done.stdout + done.stderr
