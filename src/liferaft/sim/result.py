"""What one run did, in whichever fidelity; and the quiet that a run needs."""

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from liferaft.sim.schedule import FaultStep

GARBAGE_THRESHOLD: Final = 100_000
"""Objects between two collections: a run makes millions, hardly any of them in cycles."""


class SimulationResult(msgspec.Struct, frozen=True):
    """What one run did. `faults` and `marks` count by kind, `outcomes` the clients' operations."""

    seed: int
    digest: str
    virtual_seconds: float
    events: int
    elections: int
    applied: int
    outcomes: dict[str, int]
    faults: dict[str, int]
    marks: dict[str, int]
    schedule: tuple[FaultStep, ...]

    @property
    def acknowledged(self) -> int:
        """How many writes were acknowledged that the workload counts one by one."""
        return self.outcomes.get("acknowledged", 0)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let no log line and no garbage collection come between: a failed disk is what we want."""
    logger = logging.getLogger("liferaft")
    silence, propagated = logging.NullHandler(), logger.propagate
    threshold = gc.get_threshold()
    logger.addHandler(silence)
    logger.propagate = False
    gc.set_threshold(GARBAGE_THRESHOLD, *threshold[1:])
    try:
        yield
    finally:
        logger.removeHandler(silence)
        logger.propagate = propagated
        gc.set_threshold(*threshold)
