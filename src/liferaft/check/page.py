"""A verdict as one HTML page: the operations as bars over time, what fits, and what does not.

The page is a file of its own, without a script and without anything from elsewhere. Of a long
history it shows the neighbourhood of the violation.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from liferaft.check.explanation import describe
from liferaft.check.history import Operation
from liferaft.check.linearizability import Verdict

SHOWN_MAX: Final = 400
"""Operations on a page: more are no help to a reader, and heavy for a browser."""

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2430;--paper:#fff;--line:#d6dbe3;--fits:#3b7dd8;
--stuck:#d43c3c;--other:#9aa5b4}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--paper:#14181e;--line:#303844;--other:#66717f}}
body{font:15px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:1.2rem}
h1{font-size:1.3rem}.lane{display:flex;border-top:1px solid var(--line);min-height:2rem}
.name{flex:0 0 6rem;overflow:hidden;text-overflow:ellipsis;padding:.3rem .4rem .3rem 0}
.time{position:relative;flex:1;min-width:60rem;height:2rem}.lanes{overflow-x:auto}
.bar{position:absolute;top:.3rem;height:1.4rem;border-radius:.2rem;background:var(--other);color:#fff;
font-size:.75rem;line-height:1.4rem;padding:0 .25rem;overflow:hidden;white-space:nowrap;
box-sizing:border-box;min-width:.35rem}
.fits{background:var(--fits)}.stuck{background:var(--stuck);outline:2px solid var(--stuck)}
.open{border-right:3px dotted var(--paper)}
"""


def render_page(verdict: Verdict, operations: Sequence[Operation], *, title: str) -> str:
    """Return the page; every text of the history is escaped."""
    violation = verdict.violation
    fits = frozenset(violation.prefix if violation is not None else ())
    stuck = frozenset(violation.unplaceable if violation is not None else ())
    shown = _shown(verdict, operations)
    lanes = "".join(
        _lane(
            process,
            [operations[i] for i in shown],
            {id(operations[i]): "fits" for i in fits} | {id(operations[i]): "stuck" for i in stuck},
        )
        for process in dict.fromkeys(operations[i].process for i in shown)
    )
    states = (
        ""
        if violation is None
        else (f"<p>Just before it, the object could be: {escape(', '.join(violation.states))}.</p>")
    )
    left_out = len(operations) - len(shown)
    note = f"<p>{left_out:,} other operations are not shown.</p>" if left_out else ""
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<style>{_STYLE}</style><h1>{escape(title)}: {escape(verdict.outcome.value)}</h1>"
        f"<p>{escape(verdict.reason)}</p>{states}"
        "<p>Blue has a place; red has none; grey comes later; a dotted end was never answered."
        f"</p>{note}<div class='lanes'>{lanes}</div></html>\n"
    )


def _shown(verdict: Verdict, operations: Sequence[Operation]) -> list[int]:
    """Return which are shown: those of the object concerned, around the first without a place."""
    indexes: list[int] = list(range(len(operations)))
    violation = verdict.violation
    if violation is not None and violation.unplaceable:
        first = violation.unplaceable[0]
        if violation.key is not None:
            indexes = [i for i in indexes if operations[i].key == operations[first].key]
        place = indexes.index(first) if first in indexes else 0
        start = max(0, min(place - SHOWN_MAX // 2, len(indexes) - SHOWN_MAX))
        return indexes[start : start + SHOWN_MAX]
    return indexes[:SHOWN_MAX]


def _lane(process: int | str, shown: Sequence[Operation], kinds: Mapping[int, str]) -> str:
    begin = min(operation.invoked_at for operation in shown)
    end = max(_end(operation, operation.invoked_at) for operation in shown)
    span = max(end - begin, 1)
    bars = ""
    for operation in shown:
        if operation.process != process:
            continue
        left = (operation.invoked_at - begin) / span
        width = (_end(operation, end) - operation.invoked_at) / span
        unanswered = " open" if operation.returned_at is None else ""
        text = escape(describe(operation), quote=True)
        bars += (
            f"<div class='bar {kinds.get(id(operation), '')}{unanswered}' "
            f"style='left:{left:.3%};width:{width:.3%}' title=\"{text}\">{text}</div>"
        )
    return (
        f"<div class='lane'><div class='name'>{escape(str(process))}</div>"
        f"<div class='time'>{bars}</div></div>"
    )


def _end(operation: Operation, otherwise: float) -> float:
    return otherwise if operation.returned_at is None else operation.returned_at
