"""Runs one seed as its options say: which fidelity, whose class, which workload."""

from collections.abc import Sequence

from liferaft.sim.chronicle import Chronicle
from liferaft.sim.core_marks import CHANGE_MARKS, CORE_MARKS
from liferaft.sim.core_world import simulate_core
from liferaft.sim.marks import MARKS
from liferaft.sim.members import MEMBER_MARKS
from liferaft.sim.observer import TurnObserver
from liferaft.sim.options import SimulationOptions, checked
from liferaft.sim.programs import UPGRADE_MARKS
from liferaft.sim.rests import GROUP_MARKS
from liferaft.sim.result import SimulationResult
from liferaft.sim.run import simulate
from liferaft.sim.user import user_workload


def known_marks(options: SimulationOptions) -> tuple[str, ...]:
    """Return the marks that a run of this fidelity may hit."""
    if options.fidelity != "core":
        upgrades = () if options.changes == "no" else UPGRADE_MARKS
        if options.groups:
            return (*MARKS, *GROUP_MARKS, *upgrades)
        return MARKS if options.changes == "no" else (*MARKS, *MEMBER_MARKS, *upgrades)
    return CORE_MARKS if options.changes == "no" else (*CORE_MARKS, *CHANGE_MARKS)


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
    if options.fidelity == "core":
        return simulate_core(seed, options, observers=observers, chronicle=chronicle)
    if options.target:
        make = user_workload(options.target, options.workload, options.invariants)
        return simulate(seed, options, workload=make, observers=observers, chronicle=chronicle)
    return simulate(seed, options, observers=observers, chronicle=chronicle)
