"""Many seeds on several processes, and what they did together.

Each seed is a run of its own and is the same in whatever process it runs, so a campaign's digest,
made of the runs' digests in the order of their seeds, does not depend on the number of jobs.
"""

import hashlib
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

import msgspec

from liferaft.sim.dispatch import known_marks, run_seed
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.marks import MARKS
from liferaft.sim.options import SimulationOptions
from liferaft.sim.result import SimulationResult


class SeedFailure(msgspec.Struct, frozen=True):
    """A seed that broke a promise: which one, and the command that shows it again."""

    seed: int
    violated: str
    violation: str
    command: str


class Summary(msgspec.Struct, frozen=True):
    """What a campaign did. `never` are the marks that no run hit."""

    seeds: int
    first_seed: int
    digest: str
    virtual_hours: float
    events: int
    elections: int
    applied: int
    outcomes: dict[str, int]
    faults: dict[str, int]
    marks: dict[str, int]
    never: tuple[str, ...]
    failures: tuple[SeedFailure, ...]

    @property
    def is_ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.failures


Outcome = SimulationResult | SeedFailure
OnSeed = Callable[[Outcome], None]


def run_campaign(
    first_seed: int,
    seeds: int,
    options: SimulationOptions,
    *,
    jobs: int = 1,
    on_seed: OnSeed = lambda _: None,
) -> Summary:
    """Run so many seeds and return what they did; `on_seed` is told of each as it ends."""
    numbers = range(first_seed, first_seed + seeds)
    outcomes: dict[int, Outcome] = {}
    for outcome in _run_all(numbers, options, jobs):
        outcomes[outcome.seed] = outcome
        on_seed(outcome)
    return summarize(first_seed, [outcomes[seed] for seed in numbers], known_marks(options))


def _run_all(numbers: range, options: SimulationOptions, jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        for seed in numbers:
            yield _try_seed(seed, options)
        return
    # A fresh interpreter for each job: a forked one would share what the parent has opened.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare_job) as pool:
        remaining = iter(numbers)
        running: set[Future[Outcome]] = set()
        while True:
            running |= {
                pool.submit(_try_seed, seed, options)
                for seed in islice(remaining, 2 * jobs - len(running))
            }
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _prepare_job() -> None:
    """Let a job find the user's own modules where the parent finds them."""
    sys.path.insert(0, str(Path.cwd()))


def _try_seed(seed: int, options: SimulationOptions) -> Outcome:
    try:
        return run_seed(seed, options)
    except SimulationFailed as failure:
        return SeedFailure(seed, failure.violated_property, failure.violation, failure.command)


def summarize(
    first_seed: int, outcomes: Sequence[Outcome], known: Sequence[str] = MARKS
) -> Summary:
    """Return what these runs, in the order of their seeds, did together.

    `known` are the marks that they might have hit.
    """
    results = [outcome for outcome in outcomes if isinstance(outcome, SimulationResult)]
    digest = hashlib.blake2b(digest_size=16)
    for outcome in outcomes:
        digest.update(repr((outcome.seed, getattr(outcome, "digest", "failed"))).encode())
    marks = _added(results, "marks")
    return Summary(
        seeds=len(outcomes),
        first_seed=first_seed,
        digest=digest.hexdigest(),
        virtual_hours=sum(result.virtual_seconds for result in results) / 3600,
        events=sum(result.events for result in results),
        elections=sum(result.elections for result in results),
        applied=sum(result.applied for result in results),
        outcomes=_added(results, "outcomes"),
        faults=_added(results, "faults"),
        marks={mark: marks[mark] for mark in known if mark in marks},
        never=tuple(mark for mark in known if mark not in marks),
        failures=tuple(outcome for outcome in outcomes if isinstance(outcome, SeedFailure)),
    )


def _added(results: Sequence[SimulationResult], field: str) -> dict[str, int]:
    total: Counter[str] = Counter()
    for result in results:
        total.update(getattr(result, field))
    return dict(sorted(total.items()))
