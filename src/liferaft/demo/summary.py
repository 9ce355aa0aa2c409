"""The outcome of a run, as one record: what `--json` prints."""

import msgspec

from liferaft.demo.options import DemoOptions
from liferaft.raft.types import NodeId


class Leadership(msgspec.Struct, frozen=True):
    """Who led in a term, as the nodes told while it was so."""

    term: int
    leader: NodeId


class Summary(msgspec.Struct, frozen=True):
    """The verdict and the figures of one run; gaps in seconds.

    `longest_gap` is the longest time without an acknowledged write, `gap_after_kill` the longest
    one between the leader's death and the next fault. `adds_unknown` had no answer in time, and
    `adds_unknown_found` of them were executed all the same.
    """

    is_ok: bool
    problems: tuple[str, ...]
    options: DemoOptions
    adds_acknowledged: int
    adds_unknown: int
    adds_unknown_found: int
    completions_acknowledged: int
    longest_gap: float
    gap_after_kill: float
    leaderships: tuple[Leadership, ...]
    applied_index: dict[NodeId, int]
    items: dict[NodeId, int]
    digests: dict[NodeId, str]


def sentences(summary: Summary) -> tuple[str, ...]:
    """Return the verdict and the figures, to be read."""
    return (*_figures(summary), *(_promises_kept(summary) if summary.is_ok else _broken(summary)))


def _figures(summary: Summary) -> tuple[str, ...]:
    added, completed = summary.adds_acknowledged, summary.completions_acknowledged
    unknown, found = summary.adds_unknown, summary.adds_unknown_found
    longest, after_kill = summary.longest_gap, summary.gap_after_kill
    return (
        f"Acknowledged to the clients: {added} items added, {completed} completed.",
        f"Adds without an answer: {unknown}; {found} of them were executed.",
        f"Longest time without an acknowledged write: {longest:.2f} s.",
        f"Longest one after the leader was killed: {after_kill:.2f} s.",
    )


def _promises_kept(summary: Summary) -> tuple[str, ...]:
    nodes = len(summary.digests)
    index = max(summary.applied_index.values())
    digest = next(iter(summary.digests.values()))
    return (
        f"On all {nodes} nodes: every acknowledged item exactly once, in the same order,",
        "and every acknowledged completion.",
        f"After entry {index} all {nodes} nodes have the digest {digest}.",
    )


def _broken(summary: Summary) -> tuple[str, ...]:
    return tuple(f"PROBLEM: {problem}" for problem in summary.problems)
