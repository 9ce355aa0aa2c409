"""A verdict as one page for a browser: a lane for each process, its operations as bars over time.

The page is a single file without scripts that asks nobody for anything. All that comes from a
history is escaped. Of a large history it shows the neighbourhood of the violation.
"""

import html
import re
from collections.abc import Collection, Hashable, Iterator, Sequence
from importlib import resources
from typing import Final, Protocol

import msgspec

from liferaft.check.history import Operation
from liferaft.check.linearizability import Outcome
from liferaft.check.wording import described, place_of, shown

SHOWN_MAX: Final = 400
"""How many operations are drawn: what a browser draws at once, and a person can still look over."""

PREFIX_SHOWN_MAX: Final = 30
"""How many operations of the prefix are listed: its end, which the state comes from."""

_COLUMN: Final = 44
"""The width of one moment, in pixels: two of them have room for a short label."""

_LANE: Final = 34


class Violation(Protocol):
    """What is wrong with a history; operations are given by their index."""

    @property
    def key(self) -> Hashable:
        """The object on which it is; None where there is only one."""

    @property
    def prefix(self) -> tuple[int, ...]:
        """The longest linearizable prefix, in a legal order."""

    @property
    def unplaceable(self) -> tuple[int, ...]:
        """What has no place after it, the operation that shows the violation first."""

    @property
    def states(self) -> tuple[str, ...]:
        """In which states the object could be after the prefix."""


class Verdict(Protocol):
    """What is told of a verdict, here and by `liferaft check`."""

    @property
    def outcome(self) -> Outcome:
        """What is known of the history."""

    @property
    def reason(self) -> str:
        """The outcome in a sentence."""

    @property
    def operation_count(self) -> int:
        """How many operations there are."""

    @property
    def object_count(self) -> int:
        """On how many independent objects."""

    @property
    def seconds(self) -> float:
        """How long the check took."""

    @property
    def memory_bytes(self) -> int:
        """How much memory the search took at most."""

    @property
    def violation(self) -> Violation | None:
        """What is wrong; None unless something is."""


HEADLINES: Final = {
    Outcome.LINEARIZABLE: "Linearizable",
    Outcome.VIOLATION: "Not linearizable",
    Outcome.UNDECIDED: "Undecided",
}


class _Scene(msgspec.Struct, frozen=True):
    """What is drawn."""

    indexes: list[int]
    """The operations, by their invocations."""
    column: dict[float, int]
    """Where each moment is, counted from 0: times that are far apart are drawn side by side."""
    lane: dict[int | str, int]
    placed: dict[int, int]
    """The place of each operation of the prefix in the legal order, counted from 1."""
    unplaceable: frozenset[int]
    first: int | None
    """The operation that shows the violation."""
    stopped_at: float | None
    """When the operation returned that shows the violation."""


def render_page(verdict: Verdict, operations: Sequence[Operation], title: str) -> str:
    """Return the page, as HTML. `operations` are those that the verdict is on."""
    scene = _scene(verdict.violation, operations)
    parts = {
        "title": html.escape(title),
        "style": _part("page.css"),
        "outcome": verdict.outcome.name.lower(),
        "headline": HEADLINES[verdict.outcome],
        "reason": html.escape(verdict.reason),
        "facts": html.escape(_facts(verdict, len(scene.indexes))),
        "lanes": "\n".join(_lanes(scene, operations)),
        "explanation": "\n".join(_explanation(verdict.violation, operations)),
        "rows": "\n".join(_rows(scene, operations)),
    }
    # One pass, so that nothing within a part is taken for another part's place.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _part("page.html"))


def neighbourhood(
    operations: Sequence[Operation], *, unplaceable: Collection[int], key: Hashable, around: float
) -> list[int]:
    """Return the indexes of what is worth drawing, `SHOWN_MAX` at most, by their invocations.

    What cannot be placed comes first, then what is on the same object and nearest to `around`.
    """

    def distance(index: int) -> tuple[bool, float, int]:
        operation = operations[index]
        returned_at = operation.returned_at
        # What was never answered is near to everything after it, so it counts by its beginning.
        end = operation.invoked_at if returned_at is None else returned_at
        apart = max(operation.invoked_at - around, around - end, 0)
        return (index not in unplaceable, apart, index)

    same = [index for index, each in enumerate(operations) if each.key == key]
    # A model can split a history further than by its keys; then all of it is looked at.
    chosen = {*same, *unplaceable} if same else range(len(operations))
    nearest = sorted(chosen, key=distance)[:SHOWN_MAX]
    return sorted(nearest, key=lambda index: (operations[index].invoked_at, index))


def _scene(violation: Violation | None, operations: Sequence[Operation]) -> _Scene:
    stopped_at: float | None = None
    if violation is None:
        by_invocation = sorted(range(len(operations)), key=lambda at: operations[at].invoked_at)
        indexes = by_invocation[:SHOWN_MAX]
    else:
        first = operations[violation.unplaceable[0]] if violation.unplaceable else None
        stopped_at = first.returned_at if first else None
        around = stopped_at if stopped_at is not None else 0
        indexes = neighbourhood(
            operations,
            unplaceable=frozenset(violation.unplaceable),
            key=violation.key,
            around=around,
        )
    drawn = [operations[index] for index in indexes]
    moments = {each.invoked_at for each in drawn}
    moments.update(each.returned_at for each in drawn if each.returned_at is not None)
    processes = sorted({each.process for each in drawn}, key=lambda name: (str(type(name)), name))
    return _Scene(
        indexes=indexes,
        column={moment: at for at, moment in enumerate(sorted(moments))},
        lane={process: at for at, process in enumerate(processes)},
        placed={index: at for at, index in enumerate(violation.prefix if violation else (), 1)},
        unplaceable=frozenset(violation.unplaceable if violation else ()),
        first=violation.unplaceable[0] if violation and violation.unplaceable else None,
        stopped_at=stopped_at,
    )


def _facts(verdict: Verdict, drawn: int) -> str:
    objects = f"{verdict.object_count} object{'' if verdict.object_count == 1 else 's'}"
    facts = [
        f"{verdict.operation_count} operations on {objects}",
        f"checked in {verdict.seconds:.2f} s",
    ]
    if drawn < verdict.operation_count:
        facts.append(f"{drawn} of them are shown")
    return ", ".join(facts)


def _lanes(scene: _Scene, operations: Sequence[Operation]) -> Iterator[str]:
    """Give the processes' names, and the bars."""
    height = _LANE * len(scene.lane)
    width = _COLUMN * (len(scene.column) + 1)
    yield '<div class="names">'
    for process in scene.lane:
        yield f'<div class="name">{html.escape(str(process))}</div>'
    yield "</div>"
    yield f'<div class="bars" style="width:{width}px;height:{height}px">'
    if scene.stopped_at is not None:
        left = _COLUMN * scene.column[scene.stopped_at] + _COLUMN - 2
        yield f'<div class="stop" style="left:{left}px" title="no order goes past here"></div>'
    for index in scene.indexes:
        yield _bar(index, operations[index], scene, width)
    yield "</div>"


def _bar(index: int, operation: Operation, scene: _Scene, width: int) -> str:
    left = _COLUMN * scene.column[operation.invoked_at]
    kind, mark = _kind(index, scene)
    right = width
    if operation.returned_at is None:
        kind += " open"
    else:
        right = _COLUMN * scene.column[operation.returned_at] + _COLUMN - 4
    top = _LANE * scene.lane[operation.process] + 4
    told = ", ".join(filter(None, (described(operation), place_of(operation))))
    name = ' id="violation"' if index == scene.first else ""
    label = f"{mark} {_label(operation)}".strip()
    return (
        f'<div class="bar {kind}"{name} style="left:{left}px;top:{top}px;width:{right - left}px" '
        f'title="{html.escape(told)}">{html.escape(label)}</div>'
    )


def _kind(index: int, scene: _Scene) -> tuple[str, str]:
    """Return the class of an operation, and the mark that tells the same without colour."""
    if index in scene.unplaceable:
        return "unplaceable", "✗"
    if index in scene.placed:
        return "placed", f"{scene.placed[index]}."
    return "other", ""


def _label(operation: Operation) -> str:
    argument = "" if operation.argument is None else f" {shown(operation.argument)}"
    is_told = operation.result is not None or operation.argument is None
    told = operation.returned_at is not None and is_told
    return f"{operation.function}{argument}{f' → {shown(operation.result)}' if told else ''}"


def _explanation(violation: Violation | None, operations: Sequence[Operation]) -> Iterator[str]:
    if violation is None:
        return
    if violation.states:
        states = " or ".join(violation.states)
        yield f'<p class="state">After it the state could only be <b>{html.escape(states)}</b>.</p>'
    yield "<h2>These operations cannot be placed</h2>"
    yield '<p><a href="#violation">Show the first of them among the others</a></p>'
    yield from _list(violation.unplaceable, operations, start=1)
    count = len(violation.prefix)
    last = violation.prefix[-PREFIX_SHOWN_MAX:]
    end = f", of which the last {len(last)} are these" if len(last) < count else ""
    yield f"<h2>The longest linearizable prefix: {count} operations in a legal order{end}</h2>"
    yield from _list(last, operations, start=count - len(last) + 1)


def _list(indexes: Sequence[int], operations: Sequence[Operation], *, start: int) -> Iterator[str]:
    yield f'<ol start="{start}">'
    for index in indexes:
        operation = operations[index]
        place = place_of(operation)
        yield f"<li>{html.escape(described(operation) + (f' ({place})' if place else ''))}</li>"
    yield "</ol>"


def _rows(scene: _Scene, operations: Sequence[Operation]) -> Iterator[str]:
    """Give a table's rows, which tell in words what is drawn."""
    words = {"unplaceable": "cannot be placed", "other": ""}
    for index in scene.indexes:
        operation = operations[index]
        kind, _ = _kind(index, scene)
        mark = words.get(kind) if kind in words else f"placed as number {scene.placed[index]}"
        texts = (place_of(operation), described(operation), mark or "")
        cells = "".join(f"<td>{html.escape(text)}</td>" for text in texts)
        yield f'<tr class="{kind}">{cells}</tr>'


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
