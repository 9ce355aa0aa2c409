"""JSON lines: which are events, and what is said about those that are not."""

import pytest

from liferaft.check.history import HistoryError
from liferaft.check.json_lines import events_in
from liferaft.check.pairing import DEPTH_MAX, Event

BEGIN = b'{"process": 1, "type": "invoke", "f": "put"'


def test_a_line_is_an_event() -> None:
    text = BEGIN + b', "key": "k", "value": [1, null], "time": 1.25, "index": 7}'

    assert [Event(1, "invoke", "put", [1, None], "k", 4)] == list(events_in([(4, text)]))


def test_key_value_and_time_can_be_left_out() -> None:
    assert [Event(1, "invoke", "put", None, None, 1)] == list(events_in([(1, BEGIN + b"}")]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BEGIN, "truncated"),
        (BEGIN + b"} x", "malformed"),
        (b"[1]", "a JSON object as"),
        (b"7", "a JSON object as"),
        (b'{"process": 1}', "type is missing"),
        (BEGIN + b', "value": 1e999}', "out of range"),
        (BEGIN + b', "value": NaN}', "malformed"),
        (BEGIN + b', "value": "\xff"}', "a JSON object as"),
        (BEGIN + b', "value": ' + b"[" * 100_000, "nested too deeply"),
        (BEGIN + b', "value": ' + b"[" * 65 + b"]" * 65 + b"}", "nested too deeply"),
    ],
)
def test_another_line_is_an_error(text: bytes, said: str) -> None:
    with pytest.raises(HistoryError, match=said) as caught:
        list(events_in([(1, BEGIN + b"}"), (2, text)]))

    assert 2 == caught.value.line


def test_values_may_be_nested_as_deep_as_is_said() -> None:
    nested = b"[" * (DEPTH_MAX - 1) + b"]" * (DEPTH_MAX - 1)

    assert 1 == len(list(events_in([(1, BEGIN + b', "value": ' + nested + b"}")])))
