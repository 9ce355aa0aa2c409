"""The faults come in order, one at a time, with quiet before and after."""

import itertools

import pytest

from liferaft.demo.timeline import Fault, timeline


def test_each_fault_is_undone_before_the_next() -> None:
    faults = [step.fault for step in timeline(30.0)]

    assert [Fault.KILL_LEADER, Fault.RESTART, Fault.CUT_FOLLOWER, Fault.HEAL] == faults


@pytest.mark.parametrize("duration", [2.0, 30.0, 86_400.0])
def test_there_is_quiet_before_between_and_after_the_faults(duration: float) -> None:
    moments = [0.0, *(step.at for step in timeline(duration)), duration]

    quiet = [later - earlier for earlier, later in itertools.pairwise(moments)]

    assert min(quiet) >= duration * 0.1


def test_the_default_run_kills_the_leader_after_five_seconds() -> None:
    assert 5.0 == timeline(25.0)[0].at
