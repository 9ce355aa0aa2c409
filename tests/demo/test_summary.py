"""The outcome as sentences."""

import msgspec

from liferaft.demo.options import DemoOptions
from liferaft.demo.summary import Leadership, Summary, sentences

SUMMARY = Summary(
    is_ok=True,
    problems=(),
    options=DemoOptions(),
    adds_acknowledged=10,
    adds_unknown=2,
    adds_unknown_found=1,
    completions_acknowledged=4,
    longest_gap=1.234,
    gap_after_kill=0.987,
    leaderships=(Leadership(1, "n1"), Leadership(2, "n3")),
    applied_index={"n1": 20, "n2": 20, "n3": 20},
    items={"n1": 11, "n2": 11, "n3": 11},
    digests={"n1": "abc", "n2": "abc", "n3": "abc"},
)


def test_a_good_outcome_names_what_was_kept() -> None:
    assert "After entry 20 all 3 nodes have the digest abc." == sentences(SUMMARY)[-1]


def test_the_figures_are_there_in_any_case() -> None:
    bad = msgspec.structs.replace(SUMMARY, is_ok=False, problems=("n1 lost an item",))

    assert sentences(SUMMARY)[:4] == sentences(bad)[:4]
    assert "Longest one after the leader was killed: 0.99 s." == sentences(bad)[3]


def test_a_bad_outcome_names_each_problem_and_promises_nothing() -> None:
    bad = msgspec.structs.replace(SUMMARY, is_ok=False, problems=("n1 lost an item", "n2 too"))

    assert ("PROBLEM: n1 lost an item", "PROBLEM: n2 too") == sentences(bad)[4:]
