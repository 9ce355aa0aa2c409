"""Operations in words, as verdicts and pages name them."""

from typing import Final

from liferaft.check.history import UNKNOWN, Operation

CHARACTERS_MAX: Final = 80
"""How much of a value is shown: enough to find it in the file."""


def shown(value: object) -> str:
    """Return the value as a person reads it, on one line, cut where it is long."""
    text = "nil" if value is None else repr(value)
    return text if len(text) <= CHARACTERS_MAX else f"{text[: CHARACTERS_MAX - 1]}…"


def described(operation: Operation) -> str:
    """Return who did what and was told what."""
    argument = "" if operation.argument is None else f" {shown(operation.argument)}"
    key = "" if operation.key is None else f" on {shown(operation.key)}"
    asked = f"process {operation.process}: {operation.function}{argument}{key}"
    if operation.returned_at is None or operation.result is UNKNOWN:
        return f"{asked}, never answered"
    return f"{asked}, answered {shown(operation.result)}"


def place_of(operation: Operation) -> str:
    """Return where it stands in its file; empty when it is from none."""
    if operation.line is None:
        return ""
    if operation.returned_at is None:
        return f"line {operation.line}"
    return f"lines {operation.line} and {operation.returned_at}"
