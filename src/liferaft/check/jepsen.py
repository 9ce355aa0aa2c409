"""Histories in Jepsen's logs, as its tests of registers print them.

    INFO  jepsen.util - 3   :invoke :cas    [1 2]

with tabs between the columns, and anything before the name of the logger. Other lines of such a log
are skipped, but only those in which there is no operation.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, cast

from liferaft.check.edn import decoded, read_value
from liferaft.check.history import HistoryError
from liferaft.check.pairing import Event, EventType

EXPECTED: Final = "a line as INFO jepsen.util - 3 :invoke :cas [1 2]"

_OPERATION: Final = re.compile(
    r"(?:jepsen\.util\s+-\s+(?P<logged>\S+)|(?<!\S)(?P<process>[0-9]+))"
    r"\s+:(?P<type>invoke|ok|fail|info)(?!\S)(?P<rest>.*)",
    re.DOTALL,
)
_FUNCTION: Final = re.compile(r"\s+:(?P<function>[^\s\[\](){}\",:]+)(?!\S)(?P<value>.*)", re.DOTALL)
_PROCESS: Final = re.compile(r"[0-9]{1,18}")


def is_operation(text: bytes) -> bool:
    """Return whether the line holds an operation, readable or not."""
    return _OPERATION.search(text.decode(errors="replace")) is not None


def events_in(lines: Iterable[tuple[int, bytes]]) -> Iterator[Event]:
    """Give the events of numbered lines. Raises `HistoryError`."""
    for line, text in lines:
        if not is_operation(text):
            continue
        match = _OPERATION.search(decoded(text, line))
        if match is None:
            raise HistoryError(f"{EXPECTED} is expected", line=line)
        process = match["logged"] or match["process"]
        if not process.startswith(":"):
            yield _event(process, match["type"], match["rest"], line)


def _event(process: str, kind: str, rest: str, line: int) -> Event:
    if _PROCESS.fullmatch(process) is None:
        raise HistoryError(
            f"the process is {process!r}: a number is expected, in {EXPECTED}", line=line
        )
    match = _FUNCTION.match(rest)
    if match is None:
        raise HistoryError(
            f"a function such as :read is expected after :{kind}, in {EXPECTED}", line=line
        )
    # What follows a failure is why: it is not needed, and can be anything.
    has_value = kind in ("invoke", "ok") and bool(match["value"].strip())
    return Event(
        process=int(process),
        type=cast(EventType, kind),
        function=match["function"],
        value=read_value(match["value"], line=line) if has_value else None,
        key=None,
        line=line,
    )
