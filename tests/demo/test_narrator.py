"""The story in plain lines and on a terminal."""

import io

import pytest
from rich.console import Console

from liferaft.cluster.admin import NodeStatus
from liferaft.demo.ledger import Tally
from liferaft.demo.narrator import Narrator, PlainNarrator, Scene
from liferaft.demo.rich_narrator import RichNarrator

STATUS = NodeStatus(
    node_id="n1",
    cluster_id="liferaft",
    role="leader",
    current_term=3,
    leader="n1",
    commit_index=41,
    applied_index=40,
    last_index=42,
)


def scene(elapsed: float) -> Scene:
    return Scene(
        elapsed=elapsed,
        duration=20.0,
        nodes={"n1": STATUS, "n2": None},
        marks={"n2": "killed"},
        clients={"client 1": Tally(added=5, completed=2, unknown=1, sees_items=9, sees_done=4)},
    )


def test_plain_lines_tell_the_time_and_what_happened() -> None:
    output = io.StringIO()
    PlainNarrator(output).tell(3.21, "n1 leads in term 3")

    assert "   3.2 s  n1 leads in term 3\n" == output.getvalue()


def test_plain_lines_show_the_state_from_time_to_time_only() -> None:
    output = io.StringIO()
    narrator = PlainNarrator(output)
    for quarter in range(40):
        narrator.show(scene(quarter / 4))

    expected = (
        "   4.0 s  20 % done; committed: n1 41, n2 silent\n"
        "   4.0 s    client 1 added 5 and completed 2, 1 calls without an answer; "
        "it sees 9 items, 4 of them done\n"
        "   8.0 s  40 % done; committed: n1 41, n2 silent\n"
        "   8.0 s    client 1 added 5 and completed 2, 1 calls without an answer; "
        "it sees 9 items, 4 of them done\n"
    )

    assert expected == output.getvalue()


@pytest.mark.parametrize(
    ("is_ok", "last_line"),
    [(True, "Verdict: it all holds."), (False, "Verdict: IT DOES NOT HOLD.")],
)
def test_the_verdict_is_the_last_line(is_ok: bool, last_line: str) -> None:
    output = io.StringIO()
    PlainNarrator(output).conclude(("a figure",), is_ok=is_ok)

    assert ["a figure", last_line] == output.getvalue().splitlines()


def test_a_terminal_shows_nodes_clients_and_progress() -> None:
    output = io.StringIO()
    narrator: Narrator = RichNarrator(
        Console(file=output, force_terminal=True, width=100, color_system=None)
    )
    narrator.tell(1.0, "n1 leads in term 3")
    narrator.show(scene(10.0))
    narrator.conclude(("a figure",), is_ok=True)
    narrator.close()
    painted = output.getvalue()

    shown = [
        text
        for text in ("n1 leads in term 3", "killed", "leader", "41", "client 1", "9 items", "━")
        if text in painted
    ]

    assert 7 == len(shown)
    assert "it all holds" in painted
