"""What came of rounds, as one record: what `--json` prints; and the same in sentences."""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from liferaft.chaos.options import ChaosOptions
from liferaft.chaos.power import PowerReport
from liferaft.chaos.sweep import SweepReport
from liferaft.raft.types import NodeId


class RoundReport(msgspec.Struct, frozen=True):
    """One round; times in seconds.

    `doubts` are what could not be decided with the time and memory that there are for it. `faults`
    is how often each kind was really made, `skipped` says why a kind was not tried.
    `operations` counts the calls by function, and those "without an answer". `longest_gap` is the
    longest time without an acknowledged write.
    """

    options: ChaosOptions
    problems: tuple[str, ...]
    doubts: tuple[str, ...]
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
    doubts: tuple[str, ...]
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
        doubts=_of_all((each.options.seed, each.doubts) for each in rounds),
        faults=_total(each.faults for each in rounds),
        skipped={name: reason for each in rounds for name, reason in each.skipped.items()},
        operations=_total(each.operations for each in rounds),
        longest_gap=max((each.longest_gap for each in rounds), default=0.0),
        rounds=tuple(rounds),
    )


class SoakReport(msgspec.Struct, frozen=True):
    """What came of everything. `skipped` says of each part that was not tried why."""

    is_ok: bool
    rounds: ChaosReport
    sweeps: tuple[SweepReport, ...]
    power: tuple[PowerReport, ...]
    skipped: dict[str, str]


Report = ChaosReport | SweepReport | PowerReport | SoakReport


def doubts_of(report: Report) -> tuple[str, ...]:
    """Return what could not be decided."""
    if isinstance(report, SoakReport):
        report = report.rounds
    return report.doubts if isinstance(report, ChaosReport) else ()


def sentences(report: Report) -> tuple[str, ...]:
    """Return a report, to be read."""
    match report:
        case ChaosReport():
            return _round_sentences(report)
        case SweepReport():
            return _sweep_sentences(report)
        case PowerReport():
            return _power_sentences(report)
        case SoakReport():
            parts: tuple[Report, ...] = (report.rounds, *report.sweeps, *report.power)
            skipped = (f"Not tried: {name}: {why}." for name, why in report.skipped.items())
            return (*(line for part in parts for line in sentences(part)), *skipped)


def _sweep_sentences(report: SweepReport) -> tuple[str, ...]:
    calls = ", ".join(f"{count} {call}" for call, count in sorted(report.calls.items()))
    return (
        f"A script of {report.operations} operations makes these calls: {calls}.",
        f"Killed at {report.kills} of {report.points} points; power cuts: {report.power_cuts}.",
        f"Killed again while it recovered: {report.second_kills} times.",
        f"Acknowledged, and looked for after: {report.acknowledged} operations.",
        *_end(report.problems, report.seconds),
    )


def _power_sentences(report: PowerReport) -> tuple[str, ...]:
    whose = "all nodes at once" if report.options.all_nodes else "one node, whose disk counts"
    return (
        f"Power cuts of {whose}: {report.cuts}; torn tails found after: {report.torn}.",
        f"Acknowledged, and there after: {report.acknowledged} writes.",
        f"Writes without an answer: {report.unknown}.",
        *_end(report.problems, report.seconds),
    )


def _end(problems: Sequence[str], seconds: float) -> tuple[str, ...]:
    return (
        *(f"VIOLATION: {problem}" for problem in problems),
        f"Violations: {len(problems)}, in {seconds:.0f} s.",
    )


def _round_sentences(report: ChaosReport) -> tuple[str, ...]:
    """Return the report, to be read."""
    faults = ", ".join(f"{count} {name}" for name, count in report.faults.items())
    operations = ", ".join(f"{count} {name}" for name, count in report.operations.items())
    return (
        f"Faults survived: {sum(report.faults.values())} ({faults}).",
        *(f"Not tried: {name}, because {reason}." for name, reason in report.skipped.items()),
        f"Operations: {sum(report.operations.values())} ({operations}).",
        f"Longest time without an acknowledged write: {report.longest_gap:.2f} s.",
        *(f"UNDECIDED: {doubt}" for doubt in report.doubts),
        *_end(report.problems, sum(each.seconds for each in report.rounds)),
    )


def _of_all(rounds: Iterable[tuple[int, Sequence[str]]]) -> tuple[str, ...]:
    return tuple(f"seed {seed}: {sentence}" for seed, found in rounds for sentence in found)


def _total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(total)
