"""Events become operations: each answer finds its invocation, or is an error with its line."""

import pytest

from liferaft.check.history import HistoryError, Operation
from liferaft.check.pairing import Event, EventType, event_of, operations_of


def event(line: int, process: int | str, kind: EventType, value: object = None) -> Event:
    return Event(process, kind, "write", value, None, line)


def test_an_answered_operation_has_both_lines_as_times() -> None:
    operations = operations_of([event(3, 1, "invoke", "v"), event(5, 1, "ok", True)])

    assert [Operation(1, "write", "v", True, 3, 5, None, 3)] == operations


@pytest.mark.parametrize("answers", [[event(2, 1, "info", "timed-out")], []])
def test_without_an_answer_it_may_happen_at_any_time(answers: list[Event]) -> None:
    operations = operations_of([event(1, 1, "invoke", "v"), *answers])

    assert [Operation(1, "write", "v", None, 1, None, None, 1)] == operations


def test_what_has_failed_has_not_happened() -> None:
    assert [] == operations_of([event(1, 1, "invoke"), event(2, 1, "fail")])


def test_operations_stand_in_the_order_of_their_invocations() -> None:
    operations = operations_of(
        [event(1, 1, "invoke"), event(2, 2, "invoke"), event(3, 2, "ok"), event(4, 1, "ok")]
    )

    assert [(1, 4), (2, 3)] == [(each.line, each.returned_at) for each in operations]


def test_a_process_may_go_on_after_info() -> None:
    operations = operations_of(
        [event(1, 1, "invoke"), event(2, 1, "info"), event(3, 1, "invoke"), event(4, 1, "ok")]
    )

    assert [None, 4] == [each.returned_at for each in operations]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([event(7, 1, "ok")], "line 7: process 1 is answered ok to write, which it has not"),
        ([event(1, 1, "invoke"), event(2, 1, "ok"), event(3, 1, "ok")], "line 3: "),
        ([event(1, 1, "invoke"), event(2, 1, "invoke")], "line 2: .* of line 1 has no answer yet"),
        ([event(1, 1, "invoke"), event(2, "1", "ok")], "line 2: .* has not invoked"),
        (
            [event(1, 1, "invoke"), Event(1, "ok", "read", None, None, 2)],
            "line 2: .* answered ok to read, but it invoked write in line 1",
        ),
        (
            [event(1, 1, "invoke"), Event(1, "ok", "write", None, "k", 2)],
            "line 2: .* for key 'k', but it invoked it for key None",
        ),
    ],
)
def test_answers_that_do_not_match_are_errors(events: list[Event], said: str) -> None:
    with pytest.raises(HistoryError, match=said):
        operations_of(events)


FIELDS = {"process": 1, "type": "invoke", "f": "read"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"process": True}, "process is True"),
        ({"process": 1.5}, "process is 1.5"),
        ({"type": "done"}, "type is 'done': invoke, ok, fail or info is expected"),
        ({"type": []}, "type is"),
        ({"f": 3}, "f is 3"),
        ({"time": "noon"}, "time is 'noon': a number is expected"),
        ({"key": True}, "key is True"),
        ({"key": {"a": 1}}, "key is"),
    ],
)
def test_a_field_of_another_kind_is_an_error(changes: dict[str, object], said: str) -> None:
    with pytest.raises(HistoryError, match=said) as caught:
        event_of(FIELDS | changes, line=9)

    assert 9 == caught.value.line


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_is_missing_is_named(name: str) -> None:
    with pytest.raises(HistoryError, match=f"line 1: {name} is missing"):
        event_of({other: FIELDS[other] for other in FIELDS if other != name}, line=1)


def test_a_list_can_be_a_key() -> None:
    made = event_of(FIELDS | {"key": ["a", [1]]}, line=1)

    assert made is not None
    assert ("a", (1,)) == made.key


def test_the_maker_of_faults_is_no_client() -> None:
    assert event_of({"process": "nemesis", "type": "info", "f": "start"}, line=1) is None
