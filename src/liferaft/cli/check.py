"""`liferaft check`: was a recorded history linearizable, and if not, what does not fit."""

import re
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Annotated, Final, cast

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from liferaft.check.history import HistoryError, Operation
from liferaft.check.linearizability import Outcome
from liferaft.check.linearizability import check as search
from liferaft.check.model import Model
from liferaft.check.models import MODELS
from liferaft.check.page import HEADLINES, Verdict, render_page
from liferaft.check.reading import read_history
from liferaft.check.wording import described, place_of
from liferaft.cli.exits import ExitStatus
from liferaft.errors import ConfigurationError

PREFIX_SHOWN_MAX: Final = 10
"""How many operations of the prefix are printed, the last ones."""

_STATUS: Final = {
    Outcome.LINEARIZABLE: ExitStatus.OK,
    Outcome.VIOLATION: ExitStatus.NEGATIVE,
    Outcome.UNDECIDED: ExitStatus.UNDECIDED,
}

_UNITS: Final = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    f"{letter}I": 1 << 10 * power for power, letter in enumerate("KMGT", 1)
}


class Placed(msgspec.Struct, frozen=True):
    """An operation, as `--json` tells of it. `line` is the line of its invocation."""

    process: int | str
    function: str
    key: object
    argument: object
    result: object
    line: int | None
    answered_line: float | None


class Report(msgspec.Struct, frozen=True):
    """What `--json` prints. `prefix` is how many operations have a place before it goes wrong."""

    outcome: str
    operations: int
    objects: int
    seconds: float
    memory_bytes: int
    reason: str
    key: object = None
    prefix: int | None = None
    stuck: tuple[Placed, ...] = ()
    states: tuple[str, ...] = ()


def check(
    file: Path,
    /,
    *,
    model: str,
    initial: str | None = None,
    timeout: Annotated[float, Parameter(validator=Number(gt=0))] = 60.0,
    memory: str = "1GB",
    html: Path | None = None,
    json: bool = False,
) -> int:
    """Find out whether a history of operations is linearizable.

    Ends with status 0 when it is, 1 when it is not, 3 when time or memory were not enough to know,
    and 2 when the file or the command cannot be understood.

    Parameters
    ----------
    file
        The history: JSON lines, EDN maps or a Jepsen log. The format is found by itself.
    model
        What the object is: register, cas-register, kv, queue, lock, counter, set or todo.
    initial
        What it holds at first, as JSON, or as a text where that is no JSON.
    timeout
        After how many seconds the search gives up.
    memory
        How many bytes the search may take, such as 500MB or 2GiB.
    html
        Write the verdict here as one HTML page, to be looked at in a browser.
    json
        Print the verdict as one JSON object, and nothing else.
    """
    try:
        checked = _model(model, initial)
        memory_bytes = _bytes(memory)
        operations = read_history(file)
        verdict = _search(checked, operations, file, timeout=timeout, memory_bytes=memory_bytes)
    except HistoryError as error:
        raise ConfigurationError(str(error)) from error
    if html is not None:
        html.write_text(render_page(verdict, operations, f"{file.name}: {model}"), encoding="utf-8")
    if json:
        report = _report(verdict, operations)
        print(msgspec.json.encode(report, enc_hook=repr).decode())
    else:
        print("\n".join(_sentences(verdict, operations)))
    return _STATUS[verdict.outcome]


def _model(name: str, initial: str | None) -> Model:
    if name not in MODELS:
        raise ConfigurationError(f"--model is {name}: give one of {', '.join(MODELS)}")
    # Every model of the registry takes `initial`; the base class, for users, does not.
    make = cast(Callable[..., Model], MODELS[name])
    if initial is None:
        return make()
    try:
        return make(initial=_value(initial))
    except HistoryError as error:
        raise ConfigurationError(f"--initial: {error}") from error


def _value(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None if text == "nil" else text


def _bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([KMGT]I?)?B?", text.strip().upper())
    size = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if size < 1:
        raise ConfigurationError(f"--memory is {text}: give bytes, such as 500MB or 2GiB")
    return size


def _search(
    model: Model,
    operations: Sequence[Operation],
    file: Path,
    *,
    timeout: float,
    memory_bytes: int,
) -> Verdict:
    try:
        return search(model, operations, timeout=timeout, memory_bytes=memory_bytes)
    except HistoryError as error:
        raise HistoryError(error.problem, file=str(file), line=error.line) from error


def _report(verdict: Verdict, operations: Sequence[Operation]) -> Report:
    violation = verdict.violation
    report = Report(
        outcome=verdict.outcome.name.lower(),
        operations=verdict.operation_count,
        objects=verdict.object_count,
        seconds=round(verdict.seconds, 6),
        memory_bytes=verdict.memory_bytes,
        reason=verdict.reason,
    )
    if violation is None:
        return report
    return msgspec.structs.replace(
        report,
        key=violation.key,
        prefix=len(violation.prefix),
        stuck=tuple(_placed(operations[index]) for index in violation.unplaceable),
        states=violation.states,
    )


def _placed(operation: Operation) -> Placed:
    return Placed(
        process=operation.process,
        function=operation.function,
        key=operation.key,
        argument=operation.argument,
        result=None if operation.returned_at is None else operation.result,
        line=operation.line,
        answered_line=operation.returned_at,
    )


def _sentences(verdict: Verdict, operations: Sequence[Operation]) -> list[str]:
    objects = f"{verdict.object_count} object{'' if verdict.object_count == 1 else 's'}"
    lines = [
        f"{HEADLINES[verdict.outcome]}: {verdict.reason}.",
        f"{verdict.operation_count} operations on {objects}, checked in {verdict.seconds:.2f} s.",
    ]
    violation = verdict.violation
    if violation is None:
        return lines
    on = _on(violation.key)
    lines.append(f"The longest linearizable prefix{on} has {_counted(len(violation.prefix))}")
    last = violation.prefix[-PREFIX_SHOWN_MAX:]
    if last:
        lines[-1] += "; in a legal order it ends with:"
        lines += [f"  {_told(operations[index])}" for index in last]
    else:
        lines[-1] += "."
    lines.append("No order has a place then for:")
    lines += [f"  {_told(operations[index])}" for index in violation.unplaceable]
    return lines


def _told(operation: Operation) -> str:
    place = place_of(operation)
    return f"{place}: {described(operation)}" if place else described(operation)


def _on(key: Hashable) -> str:
    return "" if key is None else f" on {key!r}"


def _counted(count: int) -> str:
    return f"{count} operation{'' if count == 1 else 's'}"
