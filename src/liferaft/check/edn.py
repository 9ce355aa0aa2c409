"""Reads the part of EDN that histories use: maps, vectors, keywords, strings, numbers, nil.

Nothing is ever evaluated. Depth is bounded; whatever else stands there is a `ValueError` that says
at which character. https://github.com/edn-format/edn
"""

import re
from typing import Final

DEPTH_MAX: Final = 32
"""A history's values are a vector or two deep."""

_TOKEN: Final = re.compile(
    r"""[\s,]*(?:
        (?P<open>[{\[(])
      | (?P<close>[}\])])
      | "(?P<string>(?:[^"\\]|\\.)*)"
      | :(?P<keyword>[^\s,{}\[\]()"]+)
      | (?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)[NM]?(?![^\s,{}\[\]()"])
      | (?P<word>[^\s,{}\[\]()":]+)
    )""",
    re.VERBOSE,
)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_WORDS: Final[dict[str, object]] = {"nil": None, "true": True, "false": False}
_CLOSING: Final = {"{": "}", "[": "]", "(": ")"}


def parse_edn(text: str) -> object:
    """Return the one value that `text` holds: keywords are strings, vectors and lists are lists."""
    value, position = _value(text, 0, 0)
    if text[position:].strip(" \t\r\n,"):
        raise ValueError(f"character {position + 1}: something follows the value")
    return value


def _value(text: str, position: int, depth: int) -> tuple[object, int]:
    match = _TOKEN.match(text, position)
    if match is None or match["close"] is not None:
        raise ValueError(f"character {position + 1}: expected a value")
    if depth > DEPTH_MAX:
        raise ValueError(f"character {position + 1}: nested deeper than {DEPTH_MAX}")
    if match["open"] is not None:
        return _collection(text, match.end(), match["open"], depth + 1)
    return _atom(match, position), match.end()


def _atom(match: re.Match[str], position: int) -> object:
    if match["string"] is not None:
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), match["string"])
    if match["keyword"] is not None:
        return match["keyword"]
    if match["number"] is not None:
        is_whole = re.fullmatch(r"[-+]?\d+", match["number"])
        return int(match["number"]) if is_whole else float(match["number"])
    if match["word"] not in _WORDS:
        raise ValueError(f"character {position + 1}: {match['word'][:40]!r} is no value")
    return _WORDS[match["word"]]


def _collection(text: str, position: int, opening: str, depth: int) -> tuple[object, int]:
    values: list[object] = []
    while True:
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"character {position + 1}: {opening!r} is never closed")
        if match["close"] is None:
            value, position = _value(text, position, depth)
            values.append(value)
            continue
        if match["close"] != _CLOSING[opening]:
            raise ValueError(f"character {match.end()}: {match['close']!r} closes nothing")
        if opening != "{":
            return values, match.end()
        if len(values) % 2 or not all(isinstance(key, str) for key in values[::2]):
            raise ValueError(f"character {match.end()}: a map needs a name before each value")
        return dict(zip(map(str, values[::2]), values[1::2], strict=True)), match.end()
