"""EDN: values as Clojure writes them, maps as events, and nothing that is evaluated."""

import pytest

from liferaft.check.edn import DIGITS_MAX, events_in, read_value
from liferaft.check.history import HistoryError
from liferaft.check.pairing import DEPTH_MAX, Event


def test_a_map_is_an_event() -> None:
    text = b'{:process 9, :type :invoke, :f :append, :key "0", :value "x 0 y"}'

    assert [Event(9, "invoke", "append", "x 0 y", "0", 1)] == list(events_in([(1, text)]))


def test_texts_count_as_keywords_and_the_order_of_keys_does_not_count() -> None:
    text = b'{"f" "get" :value nil "type" :ok, :key :k :process "a" :index 3 :time 5}'

    assert [Event("a", "ok", "get", None, "k", 1)] == list(events_in([(1, text)]))


def test_comments_tags_of_records_and_the_maker_of_faults_are_passed_over() -> None:
    lines = [
        b"; a comment",
        b"#jepsen.history.Op{:index 0, :process 1, :type :info, :f :read, :value nil}",
        b"{:process :nemesis, :type :info, :f :start, :value {:n1 #{:n2 :n3}}}",
    ]

    assert [Event(1, "info", "read", None, None, 2)] == list(events_in(enumerate(lines, 1)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nil", None),
        ("true", True),
        ("-12", -12),
        ("+7N", 7),
        ("1.5", 1.5),
        ("-2e3", -2000.0),
        ("1.5M", 1.5),
        (":timed-out", "timed-out"),
        (r'"a\"b\\c\n\u00e9"', 'a"b\\c\né'),
        ("[1 [2, nil] ]", [1, [2, None]]),
        ("(1 2)", [1, 2]),
        ("#{1}", [1]),
        ("{:a 1, 2 [3]}", {"a": 1, "2": [3]}),
        (" 1 ", 1),
    ],
)
def test_values(text: str, value: object) -> None:
    assert value == read_value(text, line=1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "where the line ends"),
        ("[1", r"\] is expected at column 3, where the line ends"),
        ("[1}", "a value"),
        ("]", "a value"),
        ("1 2", "the end of the line is expected at column 3, not '2'"),
        ("symbol", "a value"),
        (r"\a", "a value"),
        (":", "a value"),
        ("#=(java)", "a value"),
        ('#inst "2020"', "a value"),
        ('"open', 'ends with "'),
        (r'"\q"', "a text without"),
        (r'"\ud800"', "a text without"),
        ("{:a}", "a value for each key"),
        ("{:a 1 :a 2}", "each key once"),
        ("1e999", "a value"),
        ("1" * (DIGITS_MAX + 1), f"at most {DIGITS_MAX} digits"),
        ("[" * (DEPTH_MAX + 2), "nested too deeply"),
    ],
)
def test_what_is_no_value_is_an_error(text: str, said: str) -> None:
    with pytest.raises(HistoryError, match=said) as caught:
        read_value(text, line=3)

    assert 3 == caught.value.line


@pytest.mark.parametrize("text", [b"[:process 1]", b"{:process \xff}", b"{:process 1}"])
def test_a_line_that_is_no_event_is_an_error(text: bytes) -> None:
    with pytest.raises(HistoryError, match=r"line 1: .* expected"):
        list(events_in([(1, text)]))
