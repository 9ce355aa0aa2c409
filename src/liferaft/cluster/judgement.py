"""Which replica is wrong, from what each of them was after one entry. Pure.

A majority of the voters is right. Where none has the same state, and none can, nobody is.
"""

from collections.abc import Mapping
from enum import Enum

import msgspec

from liferaft.raft.quorum import VoteResult, vote_result
from liferaft.raft.types import Configuration, NodeId


class ReplicaDigest(msgspec.Struct, frozen=True):
    """What a replica was right after it applied the entry `index`.

    `parts` are the digests of the parts of its state, by their names; what stands in one behind
    "#" tells parts of two versions of a class from each other. `answers` is a checksum of
    all that it answered since the point before, None where not all of it was its own answer.
    """

    index: int
    parts: dict[str, str]
    answers: int | None


class Verdict(Enum):
    """What a replica knows of itself."""

    EQUAL = "equal"
    DIFFERS = "differs"
    SPLIT = "split"
    UNDECIDED = "undecided"


ValueT = str | int


def verdict(own: ValueT, told: Mapping[NodeId, ValueT], configuration: Configuration) -> Verdict:
    """Return how `own` stands to what the nodes told, this one included.

    It counts what a quorum of the voters has. SPLIT when there is no quorum, and can be none
    whatever the voters say that said nothing so far.
    """
    if not configuration.voters:
        return Verdict.UNDECIDED
    is_open = vote_result(dict.fromkeys(told, False), configuration) is not VoteResult.LOST
    for value in dict.fromkeys(told.values()):
        votes = {node_id: each == value for node_id, each in told.items()}
        result = vote_result(votes, configuration)
        if result is VoteResult.WON:
            return Verdict.EQUAL if value == own else Verdict.DIFFERS
        is_open = is_open or result is VoteResult.PENDING
    return Verdict.UNDECIDED if is_open else Verdict.SPLIT


class Judgement(msgspec.Struct, frozen=True):
    """What a replica knows of its whole state, and which parts of it are to blame."""

    verdict: Verdict
    parts: tuple[str, ...] = ()


def judgement(
    own: ReplicaDigest, told: Mapping[NodeId, ReplicaDigest], configuration: Configuration
) -> Judgement:
    """Return how the state of `own` stands to what the nodes told, this one included.

    A part that some do not have is judged among those that do: in the midst of an upgrade only some
    nodes have the attributes and objects that came with it.
    """
    found: dict[Verdict, list[str]] = {each: [] for each in Verdict}
    for part, digest in sorted(own.parts.items()):
        digests = {node: each.parts[part] for node, each in told.items() if part in each.parts}
        result = verdict(digest, digests, configuration)
        if result is not Verdict.UNDECIDED or len(digests) == len(told):
            found[result].append(part)
    for worst in (Verdict.SPLIT, Verdict.DIFFERS, Verdict.UNDECIDED):
        if found[worst]:
            return Judgement(worst, tuple(found[worst]))
    return Judgement(Verdict.EQUAL if found[Verdict.EQUAL] else Verdict.UNDECIDED)


def differences(told: Mapping[NodeId, ReplicaDigest]) -> str:
    """Return in which parts the nodes differ, and how; empty where they do not."""
    differing: list[str] = []
    for part in sorted({part for digest in told.values() for part in digest.parts}):
        digests = {node: each.parts[part] for node, each in told.items() if part in each.parts}
        if len(set(digests.values())) > 1:
            shown = ", ".join(f"{node_id} {digest[:8]}" for node_id, digest in digests.items())
            differing.append(f"{_named(part)} ({shown})")
    return "; ".join(differing)


def _named(part: str) -> str:
    return part.partition("#")[0]


def sentence(
    node_id: NodeId, index: int, told: Mapping[NodeId, ReplicaDigest], found: Judgement
) -> str:
    """Say what happened for certain, and what is to be done."""
    where = ", ".join(map(_named, found.parts))
    if found.verdict is Verdict.SPLIT:
        return (
            f"after entry {index} no majority has the same state: {where} differs"
            f" ({differences(told)}). A command does what differs from node to node, so nobody"
            " knows which state is right, nor which answers were. Mend the class"
            " (docs/replicated.md, The same everywhere), and go on from the state of one node"
            " (`liferaft recover`)"
        )
    return (
        f"after entry {index} the state of node {node_id} is not that of a majority: {where}"
        f" differs ({differences(told)}). What it has answered before may have been wrong, and its"
        " data directory is of no use any more: let an empty node take its place (`liferaft member"
        " replace`), and look for a command that does what differs from node to node"
        " (docs/replicated.md, The same everywhere)"
    )
