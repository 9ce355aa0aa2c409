"""What the README shows, works."""

import re
from pathlib import Path

import liferaft
from liferaft.recipes.todo import Todo, TodoList

README = Path(__file__).parents[2] / "README.md"


def test_the_first_listing_runs() -> None:
    listing = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)[0]
    # Another program may hold the port that the page names.
    with liferaft.serve(TodoList(), Todo, "127.0.0.1:0") as host:
        free = str(host.address)
    program = listing.replace("127.0.0.1:7400", free)
    names: dict[str, object] = {}

    exec(compile(program, str(README), "exec"), names)  # noqa: S102 - our own page

    item = names["item"]
    assert 1 == getattr(item, "id", None)
