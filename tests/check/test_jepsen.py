"""Jepsen's logs: which lines are operations, whatever stands before them, and which are not."""

import pytest

from liferaft.check.history import HistoryError
from liferaft.check.jepsen import events_in
from liferaft.check.pairing import Event


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (
            b"INFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]",
            Event(3, "invoke", "cas", [1, 2], None, 1),
        ),
        (b"INFO  jepsen.util - 0\t:ok\t:read\tnil", Event(0, "ok", "read", None, None, 1)),
        (b"  INFO jepsen.util -  12  :ok :write  -4 ", Event(12, "ok", "write", -4, None, 1)),
        (b"3 :invoke :read", Event(3, "invoke", "read", None, None, 1)),
        (
            b"2015-06-01 12:00:00,001{GMT} INFO [worker 3] jepsen.util - 3\t:ok\t:read\t2",
            Event(3, "ok", "read", 2, None, 1),
        ),
        (
            b"INFO  jepsen.util - 3\t:fail\t:read\t:timed-out",
            Event(3, "fail", "read", None, None, 1),
        ),
        (
            b"INFO  jepsen.util - 3\t:info\t:write\t4\tjava.net.SocketException: (closed",
            Event(3, "info", "write", None, None, 1),
        ),
    ],
)
def test_a_line_with_an_operation_is_an_event(text: bytes, event: Event) -> None:
    assert [event] == list(events_in([(1, text)]))


@pytest.mark.parametrize(
    "text",
    [
        b"INFO  jepsen.core - Everything looks good!",
        b"\tat java.lang.Thread.run(Thread.java:745) [na:1.8.0]",
        b"INFO  jepsen.util - :nemesis\t:info\t:start\tnil",
        b"{:valid? true, :count 3, :ok 2}",
        b"\xff\xfe",
        b"",
    ],
)
def test_a_line_without_one_is_skipped(text: bytes) -> None:
    assert [] == list(events_in([(1, text)]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"INFO  jepsen.util - x\t:invoke\t:read\tnil", "the process is 'x': a number is expected"),
        (b"INFO  jepsen.util - 3\t:invoke\tread\tnil", "a function such as :read is expected"),
        (b"INFO  jepsen.util - 3\t:invoke", "a function such as :read is expected"),
        (b"INFO  jepsen.util - 3\t:invoke\t:cas\t[1 2", "is expected"),
        (b"INFO  jepsen.util - 3\t:ok\t:read\t1 2", "the end of the line is expected"),
        (b"INFO\xff  jepsen.util - 3\t:ok\t:read\t1", "UTF-8 is expected"),
    ],
)
def test_an_operation_that_cannot_be_read_is_never_skipped(text: bytes, said: str) -> None:
    with pytest.raises(HistoryError, match=said) as caught:
        list(events_in([(8, text)]))

    assert 8 == caught.value.line
