"""What docs/check.md shows, works."""

import re
from pathlib import Path

import pytest

from liferaft.check.reading import read_history

PAGE = (Path(__file__).parents[2] / "docs" / "check.md").read_text()


def test_the_model_of_the_page_judges_its_history(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(program, "docs/check.md", "exec"), {"__name__": "page"})  # noqa: S102 - our own page

    assert "linearizable\n" == capsys.readouterr().out


def test_the_lines_of_the_page_are_a_history(tmp_path: Path) -> None:
    (lines,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    file = tmp_path / "history.ndjson"
    file.write_text(lines)

    assert ["put", "get"] == [operation.function for operation in read_history(file)]
