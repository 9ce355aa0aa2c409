"""Histories as EDN, the notation of Clojure: one map a line, as Jepsen and Porcupine write them.

    {:process 9, :type :invoke, :f :append, :key "0", :value "x"}

Values are read, never evaluated: nil, true, false, numbers, texts, keywords (which count as texts),
vectors, lists and sets (which become lists) and maps.
"""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Final

from liferaft.check.history import HistoryError
from liferaft.check.pairing import DEPTH_MAX, Event, event_of

EXPECTED: Final = "a map as {:process 1, :type :invoke, :f :read}"

DIGITS_MAX: Final = 1000
"""How many characters a number may have; Python itself refuses to read 4300 digits and more."""

_SPACE: Final = re.compile(r"[\s,]*")
_ATOM: Final = re.compile(r'[^\s,\[\](){}"]+')
_WHOLE: Final = re.compile(r"[+-]?[0-9]+N?")
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?M?")
_TEXT: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"t": "\t", "r": "\r", "n": "\n", "b": "\b", "f": "\f", "\\": "\\", '"': '"'}
_TAG: Final = re.compile(r"#[A-Za-z][\w.*+!?$%&=<>/-]*\s*(?=\{)")
_CLOSING: Final = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_CONSTANTS: Final = {"nil": None, "true": True, "false": False}


def events_in(lines: Iterable[tuple[int, bytes]]) -> Iterator[Event]:
    """Give the events of numbered lines. Raises `HistoryError`."""
    for line, encoded in lines:
        text = decoded(encoded, line).strip()
        if not text or text.startswith(";"):
            continue
        tag = _TAG.match(text)
        fields = read_value(text[tag.end() :] if tag else text, line=line)
        if not isinstance(fields, dict):
            raise HistoryError(f"{EXPECTED} is expected", line=line)
        event = event_of(fields, line=line)
        if event is not None:
            yield event


def is_tagged(text: bytes) -> bool:
    """Return whether the line is a map with a tag, as `#jepsen.history.Op{...}`."""
    return _TAG.match(text.decode(errors="replace")) is not None


def decoded(text: bytes, line: int) -> str:
    """Return the line as text. Raises `HistoryError` unless it is UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise HistoryError(f"{error}: UTF-8 is expected", line=line) from error


def read_value(text: str, *, line: int) -> object:
    """Return the one value that the text is. Raises `HistoryError` for anything else."""
    reader = _Reader(text, line)
    value = reader.value(DEPTH_MAX)
    reader.skip_space()
    if reader.position < len(text):
        raise reader.error("the end of the line")
    return value


class _Reader:
    """Reads values from one line."""

    def __init__(self, text: str, line: int) -> None:
        self.position = 0
        self._text = text
        self._line = line

    def skip_space(self) -> None:
        """Go on to what is no space; commas are spaces."""
        match = _SPACE.match(self._text, self.position)
        assert match is not None
        self.position = match.end()

    def error(self, expected: str) -> HistoryError:
        """Return what to raise where something else was expected."""
        found = self._text[self.position : self.position + 20]
        return HistoryError(
            f"{expected} is expected at column {self.position + 1}"
            f"{f', not {found!r}' if found else ', where the line ends'}",
            line=self._line,
        )

    def value(self, depth: int) -> object:
        """Read one value, in which others may be nested `depth` deep."""
        self.skip_space()
        if depth < 0:
            raise HistoryError(
                f"values are nested too deeply: {DEPTH_MAX} levels at most are expected",
                line=self._line,
            )
        opening = self._text[self.position : self.position + 1]
        if self._text.startswith("#{", self.position):
            return self._parts("#{", depth)
        if opening == "{":
            return self._map(depth)
        if opening in ("[", "("):
            return self._parts(opening, depth)
        return self._quoted() if opening == '"' else self._atom()

    def _parts(self, opening: str, depth: int) -> list[object]:
        self.position += len(opening)
        closing = _CLOSING[opening]
        parts: list[object] = []
        self.skip_space()
        while not self._text.startswith(closing, self.position):
            if self.position >= len(self._text):
                raise self.error(closing)
            parts.append(self.value(depth - 1))
            self.skip_space()
        self.position += 1
        return parts

    def _map(self, depth: int) -> dict[str, object]:
        begin = self.position
        parts = self._parts("{", depth)
        if len(parts) % 2:
            self.position = begin
            raise self.error("a map with a value for each key")
        names = [part if isinstance(part, str) else repr(part) for part in parts[::2]]
        if len(set(names)) < len(names):
            self.position = begin
            raise self.error("a map with each key once")
        return dict(zip(names, parts[1::2], strict=True))

    def _quoted(self) -> str:
        match = _TEXT.match(self._text, self.position)
        if match is None:
            raise self.error('a text that ends with "')
        text = _ESCAPE.sub(self._unescaped, match[1])
        self.position = match.end()
        return text

    def _unescaped(self, escape: re.Match[str]) -> str:
        code = escape[1]
        if len(code) == 5:
            character = chr(int(code[1:], 16))
            # Half of a surrogate pair is no character, and could not be printed.
            if not "\ud800" <= character <= "\udfff":
                return character
        elif code in _ESCAPES:
            return _ESCAPES[code]
        raise self.error(f"a text without {escape[0]}")

    def _atom(self) -> object:
        match = _ATOM.match(self._text, self.position)
        atom = match[0] if match else ""
        value: object = None
        if atom in _CONSTANTS:
            value = _CONSTANTS[atom]
        elif atom.startswith(":") and len(atom) > 1:
            value = atom[1:]
        elif len(atom) > DIGITS_MAX:
            raise self.error(f"a number of at most {DIGITS_MAX} digits")
        elif _WHOLE.fullmatch(atom):
            value = int(atom.removesuffix("N"))
        elif _DECIMAL.fullmatch(atom) and math.isfinite(float(atom.removesuffix("M"))):
            value = float(atom.removesuffix("M"))
        else:
            raise self.error("a value: nil, true, false, a number, a text, a keyword, [ or {")
        self.position += len(atom)
        return value
