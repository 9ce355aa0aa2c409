"""A client reports what it does, and keeps at it when a call fails."""

import random

import pytest

from liferaft.demo.client import Client
from liferaft.demo.reports import Added, Asked, Completed, Report, Saw, Unknown
from liferaft.errors import DeadlineExceeded
from liferaft.recipes.todo import Item, NoSuchItem, TodoList


class UnreachableList(TodoList):
    """Executes what it is asked, and answers nothing."""

    def add(self, text: str, *, by: str = "") -> Item:
        super().add(text, by=by)
        raise DeadlineExceeded("time is up")


class ForgetfulList(TodoList):
    """Acknowledges items, and has none."""

    def complete(self, item_id: int, *, by: str = "") -> Item:
        raise NoSuchItem(item_id)


def run(todo: TodoList, steps: int) -> list[Report]:
    reports: list[Report] = []
    client = Client("client 1", todo, random=random.Random(1), report=reports.append)
    for _ in range(steps):
        client.act()
    return reports


def test_every_add_is_announced_before_it_is_acknowledged() -> None:
    reports = [report for report in run(TodoList(), 200) if isinstance(report, Asked | Added)]

    asked = [report.text for report in reports[::2] if isinstance(report, Asked)]
    added = [report.text for report in reports[1::2] if isinstance(report, Added)]

    assert len(asked) > 50
    assert asked == added


def test_the_texts_of_a_client_are_unique() -> None:
    texts = [report.text for report in run(TodoList(), 200) if isinstance(report, Asked)]

    assert len(texts) == len(set(texts))


def test_it_completes_items_and_looks_at_the_list() -> None:
    todo = TodoList()
    reports = run(todo, 200)

    completed = [report.item_id for report in reports if isinstance(report, Completed)]
    done = [item.id for item in todo.items() if item.done_by == "client 1"]

    assert any(isinstance(report, Saw) for report in reports)
    assert done == sorted(completed)


def test_a_call_without_an_answer_is_reported_and_the_next_one_made() -> None:
    reports = [r for r in run(UnreachableList(), 20) if isinstance(r, Unknown)]

    assert Unknown("add 'client 1, item 1'", "DeadlineExceeded: time is up") == reports[0]
    assert len(reports) > 10


def test_an_acknowledged_item_that_is_gone_ends_the_client() -> None:
    """It must show as a failure of the run: nothing unknown is left to explain it."""
    with pytest.raises(NoSuchItem):
        run(ForgetfulList(), 200)
