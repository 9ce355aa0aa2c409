"""Many seeds do together what each does alone, on however many processes."""

import pytest

from liferaft.sim.campaign import Outcome, SeedFailure, run_campaign, summarize
from liferaft.sim.dispatch import known_marks
from liferaft.sim.options import SimulationOptions

SHORT = SimulationOptions(seconds=1.0, profile="network")


@pytest.mark.slow
@pytest.mark.processes
def test_two_jobs_do_what_one_does() -> None:
    told: list[Outcome] = []
    alone = run_campaign(0, 4, SHORT, on_seed=told.append)
    shared = run_campaign(0, 4, SHORT, jobs=2)

    assert alone == shared
    assert [0, 1, 2, 3] == sorted(outcome.seed for outcome in told)
    assert alone.is_ok
    assert len(known_marks(SHORT)) == len(alone.marks) + len(alone.never)


def test_a_failed_seed_is_told_and_the_others_count() -> None:
    failure = SeedFailure(7, "kept promise", "kept promise: broken", "liferaft sim --seed 7")
    summary = summarize(7, [failure])

    assert (1, False, (failure,)) == (summary.seeds, summary.is_ok, summary.failures)
