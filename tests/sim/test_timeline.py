"""The page of a run: it stands alone, tells what happened, and takes nothing in it for markup."""

import html
import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from liferaft.sim.chronicle import Chronicle
from liferaft.sim.dispatch import run_seed
from liferaft.sim.events import TracedMessage, Transition, TransitionRecorder
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.options import SimulationOptions
from liferaft.sim.timeline import RunSummary, page_data, render_page

HOSTILE = "</script><script>alert(1)</script><!-- & \u2028 {{data}} <img src=http://x>"
PAGE_BYTES_MAX = 2_000_000
VOTERS = (("n1", "n2", "n3"), ())


class Page(HTMLParser):
    """The elements of a page: what is asked for from outside, and what the scripts hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._attributes: dict[str, str | None] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.asked += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "action")]
        if tag in ("link", "base", "iframe", "object", "embed", "img"):
            self.asked.append(tag)
        self._attributes = dict(attrs) if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._attributes is not None:
            self.scripts.append((self._attributes, data))

    def handle_endtag(self, tag: str) -> None:
        self._attributes = None

    @property
    def data(self) -> Any:
        """What the page knows, as its script reads it."""
        (text,) = (text for attributes, text in self.scripts if attributes.get("id") == "data")
        return json.loads(text)


class Recorded:
    """A run with its transitions, and its page."""

    def __init__(self, seed: int, options: SimulationOptions) -> None:
        self.transitions: list[Transition] = []
        self.chronicle = Chronicle()
        self.failure: SimulationFailed | None = None
        recorder = TransitionRecorder(self.transitions.append)
        summary = RunSummary(seed, options.command(seed))
        try:
            run_seed(seed, options, observers=(recorder,), chronicle=self.chronicle)
        except SimulationFailed as failure:
            self.failure = failure
            summary = RunSummary(seed, failure.command, failure.violation)
        self.text = render_page(summary, self.transitions, self.chronicle)
        self.data = Page(self.text).data


@pytest.fixture(scope="module")
def run() -> Recorded:
    """Return a run of the usual length under all faults."""
    return Recorded(3, SimulationOptions())


@pytest.fixture(scope="module")
def failed() -> Recorded:
    """Return a run in which a user's class loses money."""
    options = SimulationOptions(
        target="tests.sim.banks:LossyBank",
        workload="examples.bank.bank:workload",
        invariants=("examples.bank.bank:no_money_lost",),
        seconds=3.0,
    )
    runs = (Recorded(seed, options) for seed in range(10))
    return next(run for run in runs if run.failure is not None)


def sent(transition: Transition) -> TracedMessage:
    assert transition.msg is not None
    return transition.msg


def test_the_page_stands_alone(run: Recorded) -> None:
    page = Page(run.text)

    assert [] == page.asked
    assert [] == re.findall(r"https?://|url\(|@import|\bimport\(|fetch\(|XMLHttp", run.text)
    assert len(run.text.encode()) < PAGE_BYTES_MAX


def test_every_node_term_and_message_of_the_run_is_on_the_page(run: Recorded) -> None:
    nodes: list[str] = run.data["nodes"]
    sends = [each for each in run.transitions if each.name.startswith("Send")]
    on_page = Counter(
        (kind, nodes[source], nodes[target], term)
        for kind, source, target, _, _, term, *_ in run.data["messages"]
    )

    assert ["n1", "n2", "n3"] == nodes[:3]
    assert {each.nid for each in run.transitions} == set(nodes)
    assert Counter((sent(t).type, t.nid, sent(t).target, sent(t).term) for t in sends) == on_page
    assert {(t.nid, t.role, t.term, t.commit) for t in run.transitions} == {
        (node, role, term, commit)
        for node, rows in zip(nodes, run.data["states"], strict=True)
        for _, role, term, commit, _, _ in rows
    }


def test_every_arrival_belongs_to_a_message_that_was_sent_before(run: Recorded) -> None:
    arrivals = [each for each in run.transitions if each.name.startswith("Receive")]
    times = [(row[3], received) for row in run.data["messages"] for received in row[4]]

    assert len(arrivals) == len(times)
    assert all(departure <= arrival for departure, arrival in times)


def test_a_message_that_was_lost_is_told_from_one_that_arrived_and_one_that_was_repeated() -> None:
    message = TracedMessage("AppendEntries", 1, "n1", "n2", round=7)
    other = TracedMessage("AppendEntries", 1, "n1", "n2", round=8)

    def at(time: float, name: str, each: TracedMessage) -> Transition:
        nid = "n1" if name == "SendAppendEntries" else "n2"
        return Transition(name, nid, time, 1, None, 0, "leader", 1, VOTERS, each)

    transitions = [
        at(1.0, "SendAppendEntries", message),
        at(1.1, "SendAppendEntries", message),
        at(1.2, "ReceiveAppendEntries", message),
        at(1.3, "SendAppendEntries", other),
        at(1.4, "ReceiveAppendEntries", other),
        at(1.5, "ReceiveAppendEntries", other),
    ]
    data = page_data(RunSummary(1, ""), transitions, Chronicle())

    assert [[], [1.2], [1.4, 1.5]] == [row.received for row in data.messages]


def test_faults_and_what_they_did_to_nodes_are_on_the_page(run: Recorded) -> None:
    kinds = [(number, kind) for number, kind, *_ in run.data["faults"]]
    down = [row for row in run.data["conditions"] if row[1] == "down"]

    assert [(fault.number, fault.kind) for fault in run.chronicle.faults] == kinds
    assert all(begin <= end <= run.data["end"] for *_, begin, end in run.data["conditions"])
    assert [span.why for span in run.chronicle.nodes if span.condition == "down"] == [
        why for _, _, why, *_ in down
    ]


def test_elections_are_among_the_events_in_the_order_of_time(run: Recorded) -> None:
    events = run.data["events"]
    leaders = [f"{t.nid} leads term {t.term}" for t in run.transitions if t.name == "BecomeLeader"]

    assert leaders == [text for _, kind, _, text in events if kind == "election"]
    assert [event[0] for event in events] == sorted(event[0] for event in events)


def test_a_run_that_kept_every_promise_has_no_violation(run: Recorded) -> None:
    assert ("", None) == (run.data["violation"], run.data["violatedAt"])


def test_the_page_of_a_failed_run_names_the_violation_and_its_time(failed: Recorded) -> None:
    assert failed.failure is not None
    (told,) = (event for event in failed.data["events"] if event[1] == "violation")

    assert failed.failure.violation == failed.data["violation"] == told[3]
    assert failed.failure.command == failed.data["command"]
    assert 0 < failed.data["violatedAt"] == told[0] <= failed.data["end"]


def hostile_page() -> str:
    chronicle = Chronicle()
    transition = Transition("InitState", HOSTILE, 0.1, 0, None, 0, "follower", 0, ((HOSTILE,), ()))
    return render_page(RunSummary(1, HOSTILE, HOSTILE, HOSTILE), [transition], chronicle)


def test_no_text_is_taken_for_markup() -> None:
    page = Page(hostile_page())

    assert (2, []) == (len(page.scripts), page.asked)
    assert [HOSTILE] == page.data["nodes"]
    assert (HOSTILE, HOSTILE) == (page.data["violation"], page.data["command"])


def test_a_run_of_which_nothing_is_known_has_a_page() -> None:
    data = Page(render_page(RunSummary(1, "liferaft sim --seed 1"), [], Chronicle())).data

    assert ([], [], 0.0) == (data["nodes"], data["messages"], data["end"])


BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or ""

in_a_browser = pytest.mark.skipif(
    not BROWSER, reason="no browser: apt install chromium to have the page drawn"
)

WATCH = """<script>
onerror = text => { document.title = `raised ${text}` };
alert = () => { document.title = "raised alert" };
</script><style>"""
"""What a script raises, and whatever alerts, shows in the title."""

VISIT = """<script>{
const seen = [];
const look = () => seen.push([view.from, view.to]);
const press = key => document.dispatchEvent(
  new KeyboardEvent("keydown", { key, cancelable: true }));
const at = canvas.getBoundingClientRect();
const point = (name, x, y, more) => canvas.dispatchEvent(new PointerEvent(name,
  { clientX: at.left + x, clientY: at.top + y, button: 0, pointerId: 1, ...more }));
canvas.setPointerCapture = () => {};
look();
canvas.dispatchEvent(new WheelEvent("wheel",
  { deltaY: -200, clientX: at.left + 400, clientY: at.top + 99, cancelable: true }));
look();
point("pointerdown", 400, 200); point("pointermove", 300, 200); point("pointerup", 300, 200);
look();
press("0"); press("n");
look();
document.querySelectorAll("#events button")[3].click();
look();
document.querySelector("#filter button").click();
const message = messages.find(each => each.kind === "Heartbeat" && each.received.length);
show(message.sent - 0.002, message.sent + 0.008);
const arrow = arrowsOf(message)[0];
point("pointermove", (arrow.x1 + arrow.x2) / 2, (arrow.y1 + arrow.y2) / 2);
const told = tooltip.textContent;
press("Escape");
document.title = JSON.stringify({ seen, told, isHidden: tooltip.hidden, filtered: [...hidden] });
}</script></body>"""
"""A person who zooms, drags, jumps, filters and points, and notes what the page does."""


def title_drawn(text: str, directory: Path) -> tuple[str, str]:
    """Return the page's title and all of it, after a browser has run its scripts."""
    file = directory / "page.html"
    file.write_text(text.replace("<style>", WATCH, 1), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=1000")
    dumped = subprocess.run(
        [
            BROWSER,
            *options,
            f"--user-data-dir={directory / 'profile'}",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    return html.unescape(re.findall(r"<title>(.*?)</title>", dumped)[0]), dumped


@pytest.mark.slow
@pytest.mark.processes
@in_a_browser
@pytest.mark.parametrize("which", ["failed", "hostile", "empty"])
def test_a_browser_draws_the_page(which: str, failed: Recorded, tmp_path: Path) -> None:
    text = {
        "failed": failed.text,
        "hostile": hostile_page(),
        "empty": render_page(RunSummary(1, ""), [], Chronicle()),
    }[which]
    title, dumped = title_drawn(text, tmp_path)
    data = Page(text).data

    assert "liferaft sim: seed" in title
    assert len(data["events"]) == dumped.count("<li>")
    assert ("A promise was broken" if data["violation"] else "Every promise was kept") in dumped


@pytest.mark.slow
@pytest.mark.processes
@in_a_browser
def test_one_zooms_drags_jumps_filters_and_points(run: Recorded, tmp_path: Path) -> None:
    title, _ = title_drawn(run.text.replace("</body>", VISIT), tmp_path)
    visit = json.loads(title)
    whole, zoomed, dragged, stepped, clicked = visit["seen"]
    first, fourth = run.data["events"][0][0], run.data["events"][3][0]

    def span(view: list[float]) -> float:
        return view[1] - view[0]

    assert [0, run.data["end"]] == whole
    assert span(zoomed) < span(whole)
    assert span(dragged) == pytest.approx(span(zoomed))
    assert dragged[0] > zoomed[0]
    assert stepped[0] <= first <= stepped[1]
    assert sum(clicked) / 2 == pytest.approx(fourth)
    assert ["PreVote"] == visit["filtered"]
    assert all(field in visit["told"] for field in ("sent", "received", "term", "index", "round"))
    assert visit["isHidden"]
