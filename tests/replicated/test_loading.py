"""What a user may name to be hosted, and what is said when it cannot be."""

from pathlib import Path

import pytest

from liferaft.errors import ConfigurationError
from liferaft.recipes.kv import KeyValue
from liferaft.recipes.todo import TodoList
from liferaft.replicated.loading import load_objects


def test_objects_are_made_under_the_names_given_or_their_classes_names() -> None:
    objects = load_objects(["Todo=liferaft.recipes.todo:TodoList", "liferaft.recipes.kv:KeyValue"])

    assert {"Todo": TodoList, "KeyValue": KeyValue} == {n: type(o) for n, o in objects.items()}


@pytest.mark.parametrize(
    ("specs", "sentence"),
    [
        ([], "no object is named"),
        (["Todo"], "'Todo' is not of the form NAME=module:Class"),
        (["Todo=:TodoList"], "not of the form"),
        (["no_such_module:Thing"], "there is no module 'no_such_module'"),
        (["liferaft.recipes.todo:Nothing"], "has no 'Nothing'"),
        (["liferaft.recipes.todo:query"], "todo:query is no class"),
        (["liferaft.recipes.todo:Item"], r"Item\(\) raised TypeError"),
        (["_raft=liferaft.recipes.kv:KeyValue"], "'_raft' begins with _"),
        (
            ["A=liferaft.recipes.kv:KeyValue", "A=liferaft.recipes.todo:TodoList"],
            "two objects are called 'A'",
        ),
    ],
)
def test_what_cannot_be_hosted_is_refused_with_a_sentence(specs: list[str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load_objects(specs)


def test_what_a_users_module_raises_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_module_of_a_user.py").write_text("raise RuntimeError('no disk')\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigurationError, match="raised RuntimeError: no disk"):
        load_objects(["broken_module_of_a_user:Thing"])
