"""A run as one page for a browser: nodes as lanes, with roles, terms, commits, messages and faults.

The page is a single file that asks nobody for anything: style, script and data are inside of it.
What the data mean and how they are drawn is told by `timeline.js`; here they are gathered from the
transitions of `sim.events` and from the `Chronicle`, and put where nothing in them can be taken for
markup.
"""

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from typing import Final

import msgspec

from liferaft.raft.types import NodeId
from liferaft.sim.chronicle import Chronicle, FaultSpan
from liferaft.sim.events import TracedMessage, Transition


class RunSummary(msgspec.Struct, frozen=True):
    """What the page says of the run as a whole. `violation` is empty when every promise was kept.

    `command` repeats the run; `digest` is empty when the run has none.
    """

    seed: int
    command: str
    violation: str = ""
    digest: str = ""


class MessageRow(msgspec.Struct, array_like=True):
    """A message that was sent. `received` is empty when it never was, longer when repeated.

    `source`, `target` and `vote` are positions in the page's list of nodes, `vote` -1 for nobody.
    """

    type: str
    source: int
    target: int
    sent: float
    received: list[float]
    term: int
    entries: int
    log_term: int
    index: int
    commit: int
    vote: int
    reject: bool
    round: int


class StateRow(msgspec.Struct, frozen=True, array_like=True):
    """A node's state from a time on."""

    time: float
    role: str
    term: int
    commit: int
    log: int
    vote: int


class ConditionRow(msgspec.Struct, frozen=True, array_like=True):
    """A node was down or paused."""

    node: int
    condition: str
    why: str
    begin: float
    end: float


class FaultRow(msgspec.Struct, frozen=True, array_like=True):
    """A fault, for as long as it lasted; `family` is network, process, disk or clock."""

    number: int
    kind: str
    family: str
    begin: float
    end: float
    notes: list[str]


class NotableEvent(msgspec.Struct, frozen=True, array_like=True):
    """What a reader may want to jump to. `node` is -1 where it is about the whole cluster."""

    time: float
    kind: str
    node: int
    text: str


class PageData(msgspec.Struct, frozen=True, rename="camel"):
    """All that the page knows. Times are virtual seconds."""

    seed: int
    command: str
    digest: str
    violation: str
    violated_at: float | None
    end: float
    nodes: Sequence[NodeId]
    states: Sequence[Sequence[StateRow]]
    steps: Sequence[Sequence[tuple[float, str]]]
    messages: Sequence[MessageRow]
    conditions: Sequence[ConditionRow]
    faults: Sequence[FaultRow]
    events: Sequence[NotableEvent]


def render_page(
    summary: RunSummary, transitions: Sequence[Transition], chronicle: Chronicle
) -> str:
    """Return the page, as HTML."""
    data = page_data(summary, transitions, chronicle)
    parts = {
        "title": html.escape(f"liferaft sim: seed {summary.seed}"),
        "style": _part("timeline.css"),
        "script": _part("timeline.js"),
        "data": embedded(msgspec.json.encode(data).decode()),
    }
    # One pass, so that nothing within a part is taken for another part's place.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _part("timeline.html"))


def embedded(json: str) -> str:
    """Return JSON that means the same and cannot end the script element that it stands in."""
    return json.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def page_data(
    summary: RunSummary, transitions: Sequence[Transition], chronicle: Chronicle
) -> PageData:
    """Return what the page is to show."""
    nodes = _nodes_of(transitions)
    position = {node_id: at for at, node_id in enumerate(nodes)}
    last = transitions[-1].time if transitions else 0.0
    end = chronicle.ended_at if chronicle.ended_at is not None else last
    violated_at = chronicle.violated_at
    if violated_at is None and summary.violation:
        violated_at = end
    events = [*_changes(transitions, position), *_deeds(chronicle, position)]
    if violated_at is not None:
        events.append(NotableEvent(_rounded(violated_at), "violation", -1, summary.violation))
    return PageData(
        seed=summary.seed,
        command=summary.command,
        digest=summary.digest,
        violation=summary.violation,
        violated_at=None if violated_at is None else _rounded(violated_at),
        end=_rounded(max(end, last)),
        nodes=nodes,
        states=_states(transitions, position),
        steps=_steps(transitions, position),
        messages=_messages(transitions, position),
        conditions=[
            ConditionRow(
                at,
                span.condition,
                span.why,
                _rounded(span.begin),
                _rounded(end if span.end is None else span.end),
            )
            for span in chronicle.nodes
            for node_id, at in position.items()
            if node_id.rpartition("/")[2] == span.node_id  # of each group that it hosts
        ],
        faults=[_fault_row(fault, end, position) for fault in chronicle.faults],
        events=sorted(events, key=lambda event: event.time),
    )


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _rounded(time: float) -> float:
    """Return a time to the microsecond: finer than anything that can be seen."""
    return round(time, 6)


def _nodes_of(transitions: Iterable[Transition]) -> list[NodeId]:
    """Return every node that is spoken of, n2 before n10."""
    found = {
        node_id
        for transition in transitions
        for node_id in (transition.nid, *transition.conf[0], *transition.conf[1])
    }
    return sorted(found, key=lambda node_id: (len(node_id), node_id))


def _states(transitions: Iterable[Transition], position: dict[NodeId, int]) -> list[list[StateRow]]:
    """Return, node by node, the state each time that it became another."""
    rows: list[list[StateRow]] = [[] for _ in position]
    for each in transitions:
        vote = position.get(each.vote, -1) if each.vote is not None else -1
        row = StateRow(_rounded(each.time), each.role, each.term, each.commit, each.log, vote)
        before = rows[position[each.nid]]
        if not before or msgspec.structs.replace(before[-1], time=row.time) != row:
            before.append(row)
    return rows


def _steps(
    transitions: Iterable[Transition], position: dict[NodeId, int]
) -> list[list[tuple[float, str]]]:
    """Return, node by node, what it did beside sending and receiving."""
    rows: list[list[tuple[float, str]]] = [[] for _ in position]
    for each in transitions:
        if each.msg is None:
            rows[position[each.nid]].append((_rounded(each.time), each.name))
    return rows


def _messages(transitions: Iterable[Transition], position: dict[NodeId, int]) -> list[MessageRow]:
    """Return every message that was sent, with the times at which it arrived.

    What arrives is taken for the latest equal message that is still under way: of two equal ones
    of which one was lost, that is the likelier. When none is under way, the network repeated one.
    """
    rows: list[MessageRow] = []
    under_way: dict[TracedMessage, list[MessageRow]] = {}
    latest: dict[TracedMessage, MessageRow] = {}
    for each in transitions:
        message = each.msg
        if message is None:
            continue
        if each.name.startswith("Send"):
            row = _message_row(message, each.time, position)
            rows.append(row)
            under_way.setdefault(message, []).append(row)
            latest[message] = row
        elif message in latest:
            waiting = under_way[message]
            row = waiting.pop() if waiting else latest[message]
            row.received.append(_rounded(each.time))
    return rows


def _message_row(message: TracedMessage, time: float, position: dict[NodeId, int]) -> MessageRow:
    return MessageRow(
        type=message.type,
        source=position.get(message.source, -1),
        target=position.get(message.target, -1),
        sent=_rounded(time),
        received=[],
        term=message.term,
        entries=message.entries,
        log_term=message.logTerm,
        index=message.index,
        commit=message.commit,
        vote=-1 if message.vote is None else position.get(message.vote, -1),
        reject=message.reject,
        round=message.round,
    )


def _fault_row(fault: FaultSpan, end: float, position: dict[NodeId, int]) -> FaultRow:
    return FaultRow(
        fault.number,
        fault.kind,
        fault.family,
        _rounded(fault.begin),
        _rounded(end if fault.end is None else fault.end),
        _condensed(fault.notes, position),
    )


def _condensed(notes: Sequence[str], position: dict[NodeId, int]) -> list[str]:
    """Return the notes with both directions between two nodes as one, and all clients as one."""
    condensed: list[str] = []
    for note in notes:
        source, arrow, target = note.partition(" → ")
        text = note
        if arrow and "," not in target:
            target = target if target in position else "clients"
            is_both = f"{target} → {source}" in notes
            first, second = sorted((source, target)) if is_both else (source, target)
            text = f"{first} {'↔' if is_both else '→'} {second}"
        if text not in condensed:
            condensed.append(text)
    return condensed


_ROLE_EVENTS: Final = {
    "BecomeLeader": ("election", "{node} leads term {term}"),
    "BecomeCandidate": ("campaign", "{node} asks for votes in term {term}"),
}


def _changes(
    transitions: Iterable[Transition], position: dict[NodeId, int]
) -> Iterator[NotableEvent]:
    """Yield what the nodes did that is notable: campaigns, elections, new configurations."""
    roles: dict[NodeId, str] = {}
    configurations: dict[NodeId, tuple[tuple[NodeId, ...], tuple[NodeId, ...]]] = {}
    for each in transitions:
        time, at = _rounded(each.time), position[each.nid]
        if each.name in _ROLE_EVENTS:
            kind, text = _ROLE_EVENTS[each.name]
            yield NotableEvent(time, kind, at, text.format(node=each.nid, term=each.term))
        elif each.name == "BecomeFollower" and roles.get(each.nid) == "leader":
            yield NotableEvent(time, "deposed", at, f"{each.nid} steps down, in term {each.term}")
        if each.name.startswith("Become") or each.name in ("InitState", "Restart"):
            roles[each.nid] = each.role
        before = configurations.get(each.nid)
        if before is not None and before != each.conf and each.name != "Restart":
            yield NotableEvent(time, "configuration", at, f"{each.nid}: {_configuration(each)}")
        configurations[each.nid] = each.conf


def _configuration(transition: Transition) -> str:
    voters, outgoing = transition.conf
    joint = f", jointly with {', '.join(outgoing)}" if outgoing else ""
    return f"the voters are {', '.join(voters)}{joint}"


def _deeds(chronicle: Chronicle, position: dict[NodeId, int]) -> Iterator[NotableEvent]:
    """Yield what was done to the nodes."""
    for fault in chronicle.faults:
        notes = "; ".join(_condensed(fault.notes, position))
        text = f"{fault.kind}: {notes or 'it found nobody to strike'}"
        yield NotableEvent(_rounded(fault.begin), "fault", -1, text)
    for span in chronicle.nodes:
        at = position.get(span.node_id, -1)
        yield NotableEvent(_rounded(span.begin), span.condition, at, f"{span.node_id}: {span.why}")
        if span.end is not None:
            text = "runs again" if span.condition == "down" else "goes on"
            yield NotableEvent(_rounded(span.end), "back", at, f"{span.node_id} {text}")
