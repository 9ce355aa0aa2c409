"""`liferaft check`: says whether a history was linearizable, and what does not fit if not."""

import re
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.markup import escape

from liferaft.check.explanation import describe
from liferaft.check.history import HistoryError, Operation
from liferaft.check.linearizability import Outcome, Verdict
from liferaft.check.linearizability import check as check_history
from liferaft.check.models import MODELS
from liferaft.check.page import render_page
from liferaft.check.reading import read_history
from liferaft.cli.exits import ExitStatus
from liferaft.errors import ConfigurationError

_STATUS: Final = {
    Outcome.LINEARIZABLE: ExitStatus.OK,
    Outcome.VIOLATION: ExitStatus.NEGATIVE,
    Outcome.UNDECIDED: ExitStatus.UNREACHABLE,
}
_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def check(
    file: Path,
    /,
    *,
    model: str,
    initial: str = "",
    timeout: Annotated[float, Parameter(validator=Number(gt=0))] = 60.0,
    memory: str = "1GB",
    html: Path | None = None,
    json: bool = False,
) -> int:
    """Check whether a history is linearizable.

    Ends with status 0 when it is, 1 when it is not, 3 when time or memory did not suffice to know,
    2 when the file cannot be read.

    Parameters
    ----------
    file
        The history: JSON lines, a register log of Jepsen, or EDN maps; docs/check.md has each.
    model
        Of what object it is: register, cas-register, kv, queue, lock, counter, set or todo.
    initial
        The object's first value, as JSON; unset without it.
    timeout
        How many seconds may be spent.
    memory
        How much memory may be used, such as 500MB or 2GB.
    html
        Write a page here that shows the operations over time, and those that do not fit.
    json
        Print the verdict as one JSON object, and nothing else.
    """
    chosen = MODELS.get(model)
    if chosen is None:
        raise ConfigurationError(f"there is no model {model!r}: take one of {', '.join(MODELS)}")
    try:
        operations = read_history(file)
        made = chosen(_parse_initial(initial)) if initial else chosen()  # type: ignore[call-arg] # every model that ships takes its first value
        verdict = check_history(
            made, operations, timeout=timeout, memory_bytes=_parse_bytes(memory)
        )
    except HistoryError as error:
        where = error.file or str(file)
        line = "" if error.line is None else f", line {error.line}"
        raise ConfigurationError(f"{where}{line}: {error.problem}") from error
    if html is not None:
        html.write_text(render_page(verdict, operations, title=file.name), encoding="utf-8")
    if json:
        print(msgspec.json.encode(_report(verdict, operations)).decode())
    else:
        _tell(Console(highlight=False), verdict, operations)
    return _STATUS[verdict.outcome]


def _parse_initial(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text  # a bare word is taken for the text that it is


def _parse_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)\s*([kmg]?)i?b?", text.strip().lower())
    if match is None:
        raise ConfigurationError(f"--memory is {text!r}: give a size such as 500MB or 2GB")
    return int(match[1]) * _UNITS[match[2]]


def _report(verdict: Verdict, operations: list[Operation]) -> dict[str, object]:
    report: dict[str, object] = {
        "outcome": verdict.outcome.value,
        "reason": verdict.reason,
        "operations": verdict.operation_count,
        "objects": verdict.object_count,
        "configurations": verdict.configuration_count,
        "seconds": verdict.seconds,
        "memory_bytes": verdict.memory_bytes,
    }
    violation = verdict.violation
    if violation is not None:
        report["key"] = None if violation.key is None else str(violation.key)
        report["prefix"] = [operations[index].line for index in violation.prefix]
        report["states"] = list(violation.states)
        report["unplaceable"] = [
            {"line": operations[index].line, "operation": describe(operations[index])}
            for index in violation.unplaceable
        ]
    return report


def _tell(console: Console, verdict: Verdict, operations: list[Operation]) -> None:
    console.print(f"[bold]{verdict.outcome.value}[/]: {escape(verdict.reason)}", soft_wrap=True)
    violation = verdict.violation
    if violation is not None:
        console.print(f"The longest linearizable prefix has {len(violation.prefix)} operations.")
        for index in violation.unplaceable:
            console.print(f"  no place: {escape(describe(operations[index]))}", soft_wrap=True)
    console.print(
        f"{verdict.operation_count:,} operations on {verdict.object_count:,} objects, "
        f"{verdict.seconds:.2f} s, {verdict.memory_bytes / 1e6:,.0f} MB"
    )
