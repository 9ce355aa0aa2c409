"""Reads a history from a file, in whichever of the known formats it is."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from liferaft.check.history import HistoryError, Operation
from liferaft.check.jepsen import parse_edn_maps, parse_jepsen_log
from liferaft.check.json_lines import parse_json_lines
from liferaft.check.pairing import HistoryEvent, pair

LINE_CHARACTERS_MAX: Final = 1_000_000
"""Longer lines are no history's."""

Parser = Callable[..., Iterator[HistoryEvent]]


def read_history(path: str | Path) -> list[Operation]:
    """Return the operations of a file: JSON lines, a log of Jepsen, or EDN maps.

    Raises `HistoryError` with the file and the line when it cannot be read as any of them.
    """
    file = str(path)
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise HistoryError(f"it cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        raise HistoryError(f"it is no text in UTF-8: {error}", file=file) from error
    return parse_history(text, file=file)


def parse_history(text: str, *, file: str = "") -> list[Operation]:
    """Return the operations that a text holds; see `read_history`."""
    lines = [
        (number, line)
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.lstrip().startswith(";")
    ]
    for number, line in lines:
        if len(line) > LINE_CHARACTERS_MAX:
            raise HistoryError(
                f"a line of {len(line):,} characters is no event", file=file, line=number
            )
    if not lines:
        raise HistoryError("it holds no events", file=file)
    return pair(_parser(lines, file)(lines, file=file), file=file)


def _parser(lines: Iterable[tuple[int, str]], file: str) -> Parser:
    """Return what reads the format that the first telling line is in."""
    first = 0
    for number, line in lines:
        first = first or number
        start = line.lstrip()
        if start.startswith("{"):
            return parse_edn_maps if start[1:].lstrip().startswith(":") else parse_json_lines
        if "jepsen.util" in line:
            return parse_jepsen_log
    raise HistoryError(
        "expected JSON lines, a log of Jepsen (INFO jepsen.util - 0 :invoke :read nil) or EDN maps "
        "({:process 0, :type :invoke, ...})",
        file=file,
        line=first,
    )
