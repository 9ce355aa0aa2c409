"""Makes a failing run shorter: fewer faults, fewer clients, less time, and the same broken promise.

The steps of a schedule are independent of each other, so leaving some out leaves the others what
they were. Source of the method: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing
Input", IEEE TSE 2002 (ddmin).
"""

from collections.abc import Callable

import msgspec

from liferaft.sim.dispatch import run_seed
from liferaft.sim.failure import SimulationFailed
from liferaft.sim.options import SimulationOptions

SECONDS_AFTER = 1.0
"""How long a run goes on behind its last fault, at least tried."""

OnTry = Callable[[int, SimulationFailed], None]
"""Told after each try: how many there were, and the shortest failing run so far."""


def shrink(
    seed: int,
    options: SimulationOptions,
    failure: SimulationFailed,
    *,
    tries_max: int = 200,
    on_try: OnTry = lambda _tries, _failure: None,
) -> tuple[SimulationOptions, SimulationFailed]:
    """Return the options of the shortest run found that breaks the same promise, and its failure.

    At most `tries_max` runs are made.
    """
    shrinker = _Shrinker(seed, options, failure, tries_max, on_try)
    shrinker.drop_steps([number for number, _ in failure.steps])
    shrinker.drop_clients()
    shrinker.cut_time(dict(failure.steps))
    return shrinker.options, shrinker.failure


class _Shrinker:
    """The shortest failing run so far."""

    def __init__(
        self,
        seed: int,
        options: SimulationOptions,
        failure: SimulationFailed,
        tries_max: int,
        on_try: OnTry,
    ) -> None:
        self.options = options
        self.failure = failure
        self._seed = seed
        self._tries = 0
        self._tries_max = tries_max
        self._on_try = on_try

    def drop_steps(self, numbers: list[int]) -> None:
        """Leave out as many steps as can be, in ever smaller pieces."""
        kept = numbers
        pieces = 1
        while kept:
            size = max(1, -(-len(kept) // pieces))
            chunks = [kept[start : start + size] for start in range(0, len(kept), size)]
            fewer = next((rest for rest in self._without_each(kept, chunks)), None)
            if fewer is not None:
                kept = fewer
                pieces = max(1, pieces - 1)
            elif size == 1:
                return
            else:
                pieces = min(2 * pieces, len(kept))

    def _without_each(self, kept: list[int], chunks: list[list[int]]) -> "list[list[int]]":
        for chunk in chunks:
            rest = [number for number in kept if number not in chunk]
            if self._fails(msgspec.structs.replace(self.options, keep=tuple(rest))):
                return [rest]
        return []

    def drop_clients(self) -> None:
        """Let as few clients as can be do the same number of commands a second."""
        for clients in range(1, self.options.clients):
            if self._fails(msgspec.structs.replace(self.options, clients=clients)):
                return

    def cut_time(self, times: dict[int, float]) -> None:
        """End the run soon after its last fault."""
        kept = self.options.keep
        last = max(
            (at for number, at in times.items() if kept is None or number in kept), default=0
        )
        for seconds in (last + SECONDS_AFTER, last + 2 * SECONDS_AFTER, self.options.seconds / 2):
            shorter = round(seconds, 1)
            if shorter < self.options.seconds and self._fails(
                msgspec.structs.replace(self.options, seconds=shorter)
            ):
                return

    def _fails(self, options: SimulationOptions) -> bool:
        """Try a run; when it breaks the same promise, it is the shortest one so far."""
        if self._tries >= self._tries_max:
            return False
        self._tries += 1
        try:
            run_seed(self._seed, options)
        except SimulationFailed as failure:
            if failure.violated_property == self.failure.violated_property:
                self.options, self.failure = options, failure
        self._on_try(self._tries, self.failure)
        return self.options is options
