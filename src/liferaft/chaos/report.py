"""What came of rounds, as one record: what `--json` prints; and the same in sentences."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from liferaft.chaos.options import ChaosOptions
from liferaft.raft.types import NodeId


class RoundReport(msgspec.Struct, frozen=True):
    """One round; times in seconds.

    `faults` is how often each kind was really made, `skipped` says why a kind was not tried.
    `operations` counts the calls by function, and those "without an answer". `longest_gap` is the
    longest time without an acknowledged write. `undecided` is what no judgement was reached on.
    """

    options: ChaosOptions
    problems: tuple[str, ...]
    undecided: tuple[str, ...]
    faults: dict[str, int]
    skipped: dict[str, str]
    operations: dict[str, int]
    longest_gap: float
    terms: int
    items: int
    digests: dict[NodeId, str]
    seconds: float


class ChaosReport(msgspec.Struct, frozen=True):
    """All rounds together."""

    is_ok: bool
    problems: tuple[str, ...]
    undecided: tuple[str, ...]
    faults: dict[str, int]
    skipped: dict[str, str]
    operations: dict[str, int]
    longest_gap: float
    rounds: tuple[RoundReport, ...]


def summed(rounds: Sequence[RoundReport]) -> ChaosReport:
    """Return the rounds as one report; a sentence names its round's seed."""
    problems = _of_all((each.options.seed, each.problems) for each in rounds)
    return ChaosReport(
        is_ok=not problems,
        problems=problems,
        undecided=_of_all((each.options.seed, each.undecided) for each in rounds),
        faults=_total(each.faults for each in rounds),
        skipped={name: reason for each in rounds for name, reason in each.skipped.items()},
        operations=_total(each.operations for each in rounds),
        longest_gap=max((each.longest_gap for each in rounds), default=0.0),
        rounds=tuple(rounds),
    )


def sentences(report: ChaosReport) -> tuple[str, ...]:
    """Return the report, to be read."""
    faults = ", ".join(f"{count} {name}" for name, count in report.faults.items())
    operations = ", ".join(f"{count} {name}" for name, count in report.operations.items())
    return (
        f"Faults survived: {sum(report.faults.values())} ({faults}).",
        *(f"Not tried: {name}, because {reason}." for name, reason in report.skipped.items()),
        f"Operations: {sum(report.operations.values())} ({operations}).",
        f"Longest time without an acknowledged write: {report.longest_gap:.2f} s.",
        *(f"UNDECIDED: {sentence}" for sentence in report.undecided),
        *(f"VIOLATION: {problem}" for problem in report.problems),
        f"Violations: {len(report.problems)}.",
    )


def _of_all(rounds: Iterable[tuple[int, Sequence[str]]]) -> tuple[str, ...]:
    return tuple(f"seed {seed}: {sentence}" for seed, found in rounds for sentence in found)


def _total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
