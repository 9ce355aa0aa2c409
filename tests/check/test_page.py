"""A page shows what fits and what does not, and no text of a history can break out of it."""

from liferaft.check.history import Operation
from liferaft.check.linearizability import check
from liferaft.check.models import MODELS
from liferaft.check.page import render_page

HOSTILE = "</title><script>alert(1)</script>"


def page_of(*operations: Operation) -> str:
    return render_page(check(MODELS["register"](), operations), operations, title=HOSTILE)


def test_a_violation_is_shown_with_what_has_no_place() -> None:
    page = page_of(Operation(1, "write", "a", None, 1, 2), Operation(2, "read", None, "b", 3, 4))

    assert 1 == page.count("class='bar stuck")
    assert 1 == page.count("class='bar fits")
    assert "violation" in page


def test_texts_stay_texts_and_nothing_comes_from_elsewhere() -> None:
    page = page_of(Operation(HOSTILE, "write", HOSTILE, None, 1, 2))

    assert "<script" not in page
    assert "://" not in page


def test_a_long_history_is_cut_to_what_a_reader_bears() -> None:
    many = [Operation(1, "write", n, None, 2 * n, 2 * n + 1) for n in range(1_000)]
    page = page_of(*many)

    assert 400 == page.count("class='bar")
    assert "600 other operations are not shown" in page
