"""Reports survive the way from the client to its parent."""

import msgspec
import pytest

from liferaft.demo.reports import (
    Added,
    Asked,
    Completed,
    Report,
    Saw,
    Unknown,
    decode_report,
    encode_report,
)


@pytest.mark.parametrize(
    "report",
    [
        Asked("milk\nand bread"),
        Added("milk", 3),
        Completed(3, "client 1"),
        Unknown("add 'milk'", "DeadlineExceeded: time is up"),
        Saw(12, 4),
    ],
)
def test_a_report_travels_as_one_line(report: Report) -> None:
    line = encode_report(report)

    assert "\n" not in line
    assert report == decode_report(line)


def test_a_line_that_is_no_report_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_report("Traceback (most recent call last):")
