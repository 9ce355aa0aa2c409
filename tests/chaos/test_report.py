"""What came of a run, as a record and in sentences."""

import msgspec

from liferaft.chaos.options import ChaosOptions
from liferaft.chaos.power import PowerOptions, PowerReport
from liferaft.chaos.report import RoundReport, SoakReport, doubts_of, sentences, summed
from liferaft.chaos.sweep import SweepReport

ROUND = RoundReport(
    options=ChaosOptions(seed=7),
    problems=(),
    doubts=(),
    faults={"kill": 2, "power": 0},
    skipped={"full": "file systems of its own need root"},
    operations={"add": 10, "without an answer": 1},
    longest_gap=1.234,
    terms=3,
    items=10,
    digests={"n1": "d"},
    seconds=60.0,
)
BROKEN = msgspec.structs.replace(
    ROUND, options=ChaosOptions(seed=8), problems=("n1 lost it",), longest_gap=4.0
)
SWEEP = SweepReport(
    is_ok=True,
    problems=(),
    operations=500,
    calls={"fsync": 20, "fdatasync": 524},
    points=544,
    kills=543,
    second_kills=12,
    power_cuts=0,
    acknowledged=9,
    seconds=100.0,
)
POWER = PowerReport(
    is_ok=False,
    problems=("after cut 3: it is gone",),
    options=PowerOptions(cuts=5, all_nodes=True),
    cuts=3,
    acknowledged=90,
    unknown=2,
    torn=1,
    seconds=7.0,
)


def test_rounds_are_summed_and_a_violation_names_its_seed() -> None:
    report = summed([ROUND, BROKEN])

    assert not report.is_ok
    assert ("seed 8: n1 lost it",) == report.problems
    assert {"kill": 4, "power": 0} == report.faults
    assert {"add": 20, "without an answer": 2} == report.operations
    assert 4.0 == report.longest_gap


def test_a_round_is_told_with_what_was_survived_and_what_was_not_tried() -> None:
    assert (
        "Faults survived: 2 (2 kill, 0 power).",
        "Not tried: full, because file systems of its own need root.",
        "Operations: 11 (10 add, 1 without an answer).",
        "Longest time without an acknowledged write: 1.23 s.",
        "Violations: 0, in 60 s.",
    ) == sentences(summed([ROUND]))


def test_a_violation_is_told_with_the_seed_of_its_round() -> None:
    assert "VIOLATION: seed 8: n1 lost it" in sentences(summed([ROUND, BROKEN]))


def test_a_doubt_is_told_and_is_no_violation() -> None:
    doubtful = summed([msgspec.structs.replace(ROUND, doubts=("whether it was",))])

    assert (True, ("seed 7: whether it was",)) == (doubtful.is_ok, doubts_of(doubtful))
    assert "UNDECIDED: seed 7: whether it was" in sentences(doubtful)
    assert () == doubts_of(SWEEP)


def test_a_sweep_is_told() -> None:
    assert (
        "A script of 500 operations makes these calls: 524 fdatasync, 20 fsync.",
        "Killed at 543 of 544 points; power cuts: 0.",
        "Killed again while it recovered: 12 times.",
        "Acknowledged, and looked for after: 9 operations.",
        "Violations: 0, in 100 s.",
    ) == sentences(SWEEP)


def test_power_cuts_are_told() -> None:
    assert (
        "Power cuts of all nodes at once: 3; torn tails found after: 1.",
        "Acknowledged, and there after: 90 writes.",
        "Writes without an answer: 2.",
        "VIOLATION: after cut 3: it is gone",
        "Violations: 1, in 7 s.",
    ) == sentences(POWER)


def test_a_soak_is_told_part_by_part() -> None:
    soak = SoakReport(
        is_ok=False,
        rounds=summed([ROUND]),
        sweeps=(SWEEP,),
        power=(POWER,),
        skipped={"the sweep with power cuts": "no root"},
    )

    assert (
        *sentences(summed([ROUND])),
        *sentences(SWEEP),
        *sentences(POWER),
        "Not tried: the sweep with power cuts: no root.",
    ) == sentences(soak)
