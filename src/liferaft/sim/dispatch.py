"""Runs one seed as its options say: which fidelity, whose class, which workload."""

from collections.abc import Sequence

from liferaft.sim.chronicle import Chronicle
from liferaft.sim.options import SimulationOptions, checked
from liferaft.sim.run import SimulationResult, simulate
from liferaft.sim.user import user_workload
from liferaft.sim.world import TurnObserver


def run_seed(
    seed: int,
    options: SimulationOptions,
    *,
    observers: Sequence[TurnObserver] = (),
    chronicle: Chronicle | None = None,
) -> SimulationResult:
    """Run one seed; `chronicle` gets what was done to it.

    Raises `SimulationFailed` when a promise is broken, `ConfigurationError` when the options
    contradict each other, or name what is not there.
    """
    options = checked(options)
    if options.target:
        make = user_workload(options.target, options.workload, options.invariants)
        return simulate(seed, options, workload=make, observers=observers, chronicle=chronicle)
    return simulate(seed, options, observers=observers, chronicle=chronicle)
