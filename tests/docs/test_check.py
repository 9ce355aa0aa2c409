"""Every listing of docs/check.md runs, and every history that it shows can be read."""

import re
from pathlib import Path

import pytest

from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome
from liferaft.check.reading import read_history

PAGE = (Path(__file__).parents[2] / "docs" / "check.md").read_text(encoding="utf-8")
RECORDING, MODEL = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
HISTORIES = [
    re.sub(r"^ {4}", "", block, flags=re.MULTILINE)
    for block in re.findall(r"((?:^ {4}(?:\{|INFO).*\n)+)", PAGE, flags=re.MULTILINE)
]


@pytest.mark.parametrize(
    ("number", "told"), [(0, ("put", "v", None)), (1, ("append", "x", "x")), (2, ("read", None, 1))]
)
def test_the_histories_can_be_read(number: int, told: tuple[object, ...], tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text(HISTORIES[number], encoding="utf-8")
    (operation,) = read_history(path)

    assert len(HISTORIES) == 3
    assert told == (operation.function, operation.argument, operation.result)


def test_the_recorder_writes_a_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(RECORDING, {})  # noqa: S102 - the page's own listing

    assert [Operation(0, "put", "v", None, 1, 2, "k", 1)] == read_history("history.jsonl")


@pytest.mark.parametrize(("read", "outcome"), [(3, Outcome.LINEARIZABLE), (2, Outcome.VIOLATION)])
def test_the_model_judges(
    read: int, outcome: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search itself is needed, not a stand-in."""
    monkeypatch.chdir(tmp_path)
    lines = [
        ("invoke", "raise", 3),
        ("ok", "raise", 0),
        ("invoke", "read", 0),
        ("ok", "read", read),
    ]
    Path("history.jsonl").write_text(
        "".join(
            f'{{"process": 1, "type": "{kind}", "f": "{function}", "value": {value}}}\n'
            for kind, function, value in lines
        )
    )
    names: dict[str, object] = {"__name__": "listing"}
    exec(MODEL, names)  # noqa: S102 - the page's own listing

    assert outcome is getattr(names["verdict"], "outcome", None)
