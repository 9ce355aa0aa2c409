"""The conventions of the code that no linter knows."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "liferaft"
FILES = sorted(SOURCE.rglob("*.py"))

FILE_LINES_MAX = 600
BODY_LINES_MAX = 50


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how long the body is, without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_file_has_one_purpose(file: Path) -> None:
    text = file.read_text()
    tree = ast.parse(text)
    long = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and body_lines(node) > BODY_LINES_MAX
    ]

    assert ast.get_docstring(tree), "a module says what it is for"
    assert len(text.splitlines()) <= FILE_LINES_MAX
    assert [] == long
