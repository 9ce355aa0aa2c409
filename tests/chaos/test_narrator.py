"""A run is told in plain lines, or not at all."""

import io

import pytest

from liferaft.chaos.narrator import Narrator, PlainNarrator, Scene, SilentNarrator

SCENE = Scene(elapsed=1.0, seconds=2.0, nodes={}, marks={}, faults={}, problems=0)


def tell(narrator: Narrator) -> None:
    narrator.tell(12.345, "n1 is killed")
    narrator.show(SCENE)
    narrator.close()


def test_what_happens_is_a_line_with_its_time() -> None:
    output = io.StringIO()
    tell(PlainNarrator(output))

    assert "  12.3 s  n1 is killed\n" == output.getvalue()


def test_nothing_is_said_where_nothing_is_to_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    tell(SilentNarrator())

    assert ("", "") == capsys.readouterr()
