"""The driver that docs/core.md shows runs as it stands."""

import re
import typing
from pathlib import Path

from liferaft.raft.effects import Effect
from liferaft.raft.events import Event

MANUAL = (Path(__file__).parents[2] / "docs" / "core.md").read_text(encoding="utf-8")


def test_the_driver_in_the_manual_applies_what_was_proposed() -> None:
    listings = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)
    (listing,) = [text for text in listings if "import" in text]
    names: dict[str, typing.Any] = {}
    exec(compile(listing, "docs/core.md", "exec"), names)  # noqa: S102 - the manual's own text

    assert [b"hello"] == names["applied"]


def test_the_manual_tells_of_every_event_and_every_effect() -> None:
    for kind in (*typing.get_args(Event), *typing.get_args(Effect)):
        assert f"| `{kind.__name__}(" in MANUAL
