"""Every known input, and many small changes of them, through every parser of bytes from outside.

Looking for new inputs is for `python -m tests.fuzz.run`, which follows the branches of the code and
holds the bounds of time and memory. Here work is counted, not timed: how many functions are called
and how much memory is held, in proportion to the input.
"""

import logging
import sys
import tracemalloc
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.run import known_inputs
from tests.fuzz.target import Target, join, pieces
from tests.fuzz.targets import TARGETS

CALLS_MAX = 60_000
CALLS_PER_BYTE_MAX = 200
MEMORY_BYTES_MAX = 4 * 1024 * 1024
MEMORY_PER_BYTE_MAX = 1024

EACH_TARGET = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture(autouse=True)
def without_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged of each input would fill the report of a test that fails."""
    monkeypatch.setattr(logging.getLogger("liferaft"), "disabled", True)
    monkeypatch.setattr(logging.getLogger("liferaft.rpc"), "disabled", True)
    monkeypatch.setattr(logging.getLogger("liferaft.cluster"), "disabled", True)


def inputs_of(target: Target) -> list[bytes]:
    return [*target.examples(), *known_inputs(target.name)]


@EACH_TARGET
def test_every_target_has_a_corpus(target: Target) -> None:
    assert known_inputs(target.name)
    assert all(len(data) <= target.input_bytes_max for data in inputs_of(target))


@EACH_TARGET
@pytest.mark.slow
def test_known_inputs_raise_only_what_is_declared(target: Target) -> None:
    for data in inputs_of(target):
        target.try_on(data)


@EACH_TARGET
@pytest.mark.slow
def test_known_inputs_are_answered_with_bounded_work(target: Target) -> None:
    """No input makes a parser run or grow out of proportion to its length."""
    for data in inputs_of(target):
        calls = count_calls(target, data)
        assert calls <= CALLS_MAX + CALLS_PER_BYTE_MAX * len(data), data


@EACH_TARGET
@pytest.mark.slow
def test_known_inputs_need_bounded_memory(target: Target) -> None:
    tracemalloc.start()
    try:
        for data in inputs_of(target):
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            target.try_on(data)
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before <= MEMORY_BYTES_MAX + MEMORY_PER_BYTE_MAX * len(data), data
    finally:
        tracemalloc.stop()


@EACH_TARGET
@pytest.mark.slow
def test_changes_of_known_inputs_raise_only_what_is_declared(target: Target) -> None:
    known = st.sampled_from(inputs_of(target))

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(known, known, st.data())
    def try_changes(one: bytes, other: bytes, data: st.DataObject) -> None:
        changed = data.draw(changes(one, other))
        target.try_on(changed[: target.input_bytes_max])

    try_changes()


LARGE_NUMBERS = (b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7, b"\xdd" + b"\xff" * 4)
"""The largest and the smallest number of MessagePack, and an array of 4 billion elements."""


@st.composite
def changes(draw: Any, one: bytes, other: bytes) -> bytes:
    """Return something near to one input, or between two."""
    at = draw(st.integers(0, len(one)))
    before, after = one[:at], one[at:]
    kind = draw(st.sampled_from(("flip", "cut", "insert", "splice", "pieces", "number")))
    if kind == "flip":
        return before + bytes(byte ^ draw(st.integers(1, 255)) for byte in after[:1]) + after[1:]
    if kind == "cut":
        return before + after[draw(st.integers(0, 20)) :]
    if kind == "insert":
        return before + bytes(draw(st.binary(max_size=20))) + after
    if kind == "splice":
        return before + other[draw(st.integers(0, len(other))) :]
    if kind == "pieces":
        parts = [*pieces(one), *pieces(other)]
        return join(draw(st.permutations(parts))[:8]) if parts else other
    return before + bytes(draw(st.sampled_from(LARGE_NUMBERS))) + after[1:]


def count_calls(target: Target, data: bytes) -> int:
    """Return how many functions were called to try one input."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        target.try_on(data)
    finally:
        sys.setprofile(before)
    return calls
