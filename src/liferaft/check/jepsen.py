r"""Histories of Jepsen: register logs, and one EDN map a line.

    INFO  jepsen.util - 3\t:invoke\t:cas\t[1 2]
    INFO  jepsen.util - 4\t:fail\t:read\t:timed-out
    {:process 9, :type :invoke, :f :append, :key "0", :value "x"}

In a log, lines that hold no operation are passed over; one that begins as an operation and is none
is an error.
"""

import re
from collections.abc import Hashable, Iterable, Iterator
from typing import Final, get_args

from liferaft.check.edn import parse_edn
from liferaft.check.history import HistoryError
from liferaft.check.pairing import EventType, HistoryEvent
from liferaft.check.values import frozen

_OPERATION: Final = re.compile(
    r"^.*?jepsen\.util\s+-\s+(?P<process>\S+)\s+:(?P<type>\S+)\s+:(?P<function>\S+)\s*(?P<value>.*)$"
)
_LOOKS_LIKE_ONE: Final = re.compile(r"jepsen\.util\s+-\s+\S+\s+:")
_TYPES: Final[dict[str, EventType]] = {each: each for each in get_args(EventType)}
_NO_VALUES: Final = frozenset({"timed-out", "timeout", "unknown"})
"""Words in the place of a value that say why there is none."""


def parse_jepsen_log(lines: Iterable[tuple[int, str]], *, file: str = "") -> Iterator[HistoryEvent]:
    """Return the events of a log; raises `HistoryError` naming the line."""
    for number, text in lines:
        match = _OPERATION.match(text)
        if match is None or match["type"] not in _TYPES:
            if _LOOKS_LIKE_ONE.search(text):
                raise HistoryError(
                    "expected PROCESS :invoke|:ok|:fail|:info :FUNCTION VALUE",
                    file=file,
                    line=number,
                )
            continue
        value = _value(match["value"].strip() or "nil", file=file, line=number)
        process = match["process"]
        yield HistoryEvent(
            process=int(process) if process.isdecimal() else process,
            type=_TYPES[match["type"]],
            function=match["function"],
            key=None,
            value=value,
            line=number,
        )


def parse_edn_maps(lines: Iterable[tuple[int, str]], *, file: str = "") -> Iterator[HistoryEvent]:
    """Return the events of one EDN map a line; raises `HistoryError` naming the line."""
    for number, text in lines:
        event = _value(text, file=file, line=number)
        if not isinstance(event, dict):
            raise HistoryError("expected a map {:process ...}", file=file, line=number)
        yield _event(event, file, number)


def _event(event: dict[str, object], file: str, number: int) -> HistoryEvent:
    process, kind, function = (event.get(name) for name in ("process", "type", "f"))
    if not isinstance(process, int | str) or not isinstance(function, str):
        raise HistoryError("expected :process, :type and :f", file=file, line=number)
    if not isinstance(kind, str) or kind not in _TYPES:
        raise HistoryError(
            f":type is {kind!r}, and must be one of {', '.join(_TYPES)}", file=file, line=number
        )
    key = frozen(event.get("key"))
    if not isinstance(key, Hashable):
        raise HistoryError(f"{key!r} cannot be a key", file=file, line=number)
    return HistoryEvent(process, _TYPES[kind], function, key, event.get("value"), number)


def _value(text: str, *, file: str, line: int) -> object:
    try:
        value = parse_edn(text)
    except ValueError as error:
        raise HistoryError(str(error), file=file, line=line) from error
    return None if isinstance(value, str) and value in _NO_VALUES else value
