"""The page of a verdict: complete in one file, and nothing in a history is taken for markup."""

import re
from collections.abc import Hashable
from html.parser import HTMLParser

import msgspec
import pytest

from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome
from liferaft.check.page import SHOWN_MAX, neighbourhood, render_page


class Violation(msgspec.Struct, frozen=True):
    key: Hashable
    prefix: tuple[int, ...]
    unplaceable: tuple[int, ...]
    states: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True):
    outcome: Outcome
    violation: Violation | None = None
    reason: str = "so it is"
    operation_count: int = 3
    object_count: int = 1
    seconds: float = 0.5
    memory_bytes: int = 0


class Elements(HTMLParser):
    """Gathers the elements of a page: what is open, its classes and the text within."""

    VOID = ("meta",)

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def bars(self, kind: str) -> list[str]:
        """Return what is told of the bars of a kind that are drawn."""
        return [
            str(each["title"])
            for each in self.attributes
            if kind in str(each.get("class")).split() and "title" in each
        ]


HISTORY = [
    Operation(0, "write", 1, None, 1, 2, None, 1),
    Operation("b", "write", 2, None, 3, None, None, 3),
    Operation(0, "read", None, 7, 4, 5, None, 4),
]
VIOLATED = Verdict(
    Outcome.VIOLATION, Violation(key=None, prefix=(0,), unplaceable=(2,), states=("1", "2"))
)


def elements(page: str) -> Elements:
    made = Elements(page)
    assert [] == made.open
    return made


def test_operations_are_marked_by_what_became_of_them() -> None:
    page = elements(render_page(VIOLATED, HISTORY, "register.log"))

    assert ["process 0: write 1, answered nil, lines 1 and 2"] == page.bars("placed")
    assert ["process 0: read, answered 7, lines 4 and 5"] == page.bars("unplaceable")
    assert ["process b: write 2, never answered, line 3"] == page.bars("open")
    assert 1 == len(page.bars("stop"))
    assert ["unplaceable"] == [
        str(each["class"]).split()[-1] for each in page.attributes if each.get("id") == "violation"
    ]


def test_the_page_tells_the_state_and_the_same_in_words() -> None:
    text = " ".join(elements(render_page(VIOLATED, HISTORY, "register.log")).texts)

    assert [] == [
        words
        for words in ("Not linearizable", "1 or 2", "cannot be placed", "placed as number 1", "b")
        if words not in text
    ]


def test_each_process_has_a_lane_of_its_own() -> None:
    page = render_page(VIOLATED, HISTORY, "register.log")
    tops = re.findall(r'class="bar[^"]*"[^>]* style="left:\d+px;top:(\d+)px', page)

    assert tops[0] == tops[2] != tops[1]


@pytest.mark.parametrize("outcome", [Outcome.LINEARIZABLE, Outcome.UNDECIDED])
def test_without_a_violation_nothing_is_marked(outcome: Outcome) -> None:
    page = elements(render_page(Verdict(outcome), HISTORY, "a history"))

    assert ([], [], []) == (page.bars("placed"), page.bars("unplaceable"), page.bars("stop"))
    assert 3 == len(page.bars("other"))


def test_an_empty_history_has_a_page() -> None:
    page = elements(render_page(Verdict(Outcome.LINEARIZABLE, operation_count=0), [], "nothing"))

    assert [] == page.bars("bar")


def test_nothing_of_a_history_is_taken_for_markup() -> None:
    evil = "</title><script>alert(1)</script><img src=x onerror='a' title=\"{{style}}"
    operation = Operation(evil, evil, evil, evil, 1, 2, evil, 1)
    violation = Violation(key=evil, prefix=(0,), unplaceable=(0,), states=(evil,))
    plain = render_page(VIOLATED, HISTORY, "a")
    page = render_page(
        Verdict(Outcome.VIOLATION, violation, reason=evil, operation_count=1), [operation], evil
    )

    assert {*elements(page).tags} <= {*elements(plain).tags}
    assert [] == [name for each in elements(page).attributes for name in each if name == "onerror"]


def test_a_page_asks_nobody_for_anything() -> None:
    page = render_page(VIOLATED, HISTORY, "a history")

    assert [] == re.findall(r"https?:|url\(|@import|\bsrc=|\bhref=.(?!#)|<script", page)
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page


def test_of_a_large_history_the_neighbourhood_of_the_violation_is_shown() -> None:
    """A thousand operations follow each other on each of two keys; number 1400 is wrong."""
    history = [
        Operation(number % 5, "read", None, number, 2 * number, 2 * number + 1, number % 2, number)
        for number in range(2000)
    ]
    violation = Violation(key=0, prefix=tuple(range(0, 1400, 2)), unplaceable=(1400,), states=())
    verdict = Verdict(Outcome.VIOLATION, violation, operation_count=2000)
    page = elements(render_page(verdict, history, "large"))
    shown = neighbourhood(history, unplaceable=[1400], key=0, around=2801)

    assert list(range(1002, 1802, 2)) == shown
    assert SHOWN_MAX == len(page.bars("bar"))
    assert f"{SHOWN_MAX} of them are shown" in " ".join(page.texts)


def test_what_cannot_be_placed_is_shown_however_far_it_is() -> None:
    history = [Operation(0, "read", None, 1, at, at, None, at) for at in range(1000)]

    assert {0, 999} <= {*neighbourhood(history, unplaceable=[0, 999], key=None, around=500)}


def test_where_the_model_splits_further_than_keys_do_all_operations_are_looked_at() -> None:
    shown = neighbourhood(HISTORY, unplaceable=[2], key=("set", "element"), around=5)

    assert [0, 1, 2] == shown
