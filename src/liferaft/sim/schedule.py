"""What the faults of both fidelities have in common: profiles, and the steps of a schedule."""

from typing import Final

import msgspec

PROFILES: Final = ("mixed", "network", "process", "disk", "clock", "calm")
"""Which families of faults a run draws from; "calm" draws none."""


class FaultStep(msgspec.Struct, frozen=True):
    """One fault of a schedule: `at` is when it begins, in seconds."""

    number: int
    at: float
    kind: str
