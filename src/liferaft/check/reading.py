"""Reads a history from a file, whose format it finds by itself: JSON lines, EDN or a Jepsen log.

The order of the lines is the order of the events; the times that are written in them are not
looked at, because clocks can disagree. Nothing that a file holds is ever evaluated.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from liferaft.check import edn, jepsen, json_lines
from liferaft.check.history import HistoryError, Operation
from liferaft.check.pairing import Event, operations_of

LINE_BYTES_MAX: Final = 1 << 20
"""How long a line may be: one event never is, and a file without lines is no history."""

Format = Callable[[Iterable[tuple[int, bytes]]], Iterator[Event]]
"""Gives the events of numbered lines."""

_EDN_BEGINS: Final = re.compile(rb'#|\{[\s,]*(:|"(?:[^"\\]|\\.)*+"[\s,]+(?!:\s))')
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def read_history(path: Path | str) -> list[Operation]:
    """Return the operations of the file, in the order of their invocations; times are line numbers.

    A file without any lines is a history without operations. Raises `HistoryError`, with the name
    of the file, the number of the line and what was expected, when the file cannot be understood,
    and `OSError` when it cannot be read.
    """
    try:
        lines = list(_lines(Path(path)))
        if not lines:
            return []
        return operations_of(_format(lines)(lines))
    except HistoryError as error:
        raise HistoryError(error.problem, file=str(path), line=error.line) from error


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Give the lines that are not blank, with their numbers."""
    with path.open("rb") as file:
        number = 0
        while text := file.readline(LINE_BYTES_MAX + 1):
            number += 1
            if len(text) > LINE_BYTES_MAX:
                raise HistoryError(
                    f"the line is too long: at most {LINE_BYTES_MAX} bytes are expected",
                    line=number,
                )
            if number == 1:
                text = text.removeprefix(_BYTE_ORDER_MARK)
            text = text.strip()
            if text:
                yield number, text


def _format(lines: Sequence[tuple[int, bytes]]) -> Format:
    """Return the format of a file with these lines."""
    first_line, first = next(((n, t) for n, t in lines if not t.startswith(b";")), lines[0])
    if first.startswith(b"{") or edn.is_tagged(first):
        is_edn = _EDN_BEGINS.match(first) is not None and not _is_json(first)
        return edn.events_in if is_edn else json_lines.events_in
    if any(jepsen.is_operation(text) for _, text in lines):
        return jepsen.events_in
    raise HistoryError(
        "this is no history: each line is expected to be "
        f"{json_lines.EXPECTED}, {edn.EXPECTED}, or {jepsen.EXPECTED}",
        line=first_line,
    )


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
