"""Histories as JSON lines: one event a line, as `recorder.py` and `liferaft chaos` write them.

{"process": 1, "type": "invoke", "f": "put", "key": "k", "value": "v", "time": 1}
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from liferaft.check.history import HistoryError
from liferaft.check.pairing import DEPTH_MAX, Event, event_of

EXPECTED: Final = 'a JSON object as {"process": 1, "type": "invoke", "f": "read"}'


def events_in(lines: Iterable[tuple[int, bytes]]) -> Iterator[Event]:
    """Give the events of numbered lines. Raises `HistoryError`."""
    for line, text in lines:
        if not text.strip():
            continue
        event = event_of(_object(text, line), line=line)
        if event is not None:
            yield event


def _object(text: bytes, line: int) -> dict[str, object]:
    try:
        fields = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HistoryError(f"{error}: {EXPECTED} is expected", line=line) from error
    except RecursionError as error:
        raise _too_deep(line) from error
    if not isinstance(fields, dict):
        raise HistoryError(f"{EXPECTED} is expected", line=line)
    if _is_too_deep(fields):
        raise _too_deep(line)
    return fields


def _too_deep(line: int) -> HistoryError:
    return HistoryError(
        f"values are nested too deeply: {DEPTH_MAX} levels at most are expected", line=line
    )


def _is_too_deep(value: object) -> bool:
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
        if not level:
            return False
    return True
