"""When what happens to the cluster: a pure function of how long the demonstration lasts."""

from enum import StrEnum
from typing import Final

import msgspec


class Fault(StrEnum):
    """What is done to the cluster."""

    KILL_LEADER = "kill the leader"
    RESTART = "start it again"
    CUT_FOLLOWER = "cut a follower off"
    HEAL = "heal the partition"


class Step(msgspec.Struct, frozen=True):
    """A fault, and when: in seconds after the clients began."""

    at: float
    fault: Fault


_FRACTIONS: Final = {
    Fault.KILL_LEADER: 0.2,
    Fault.RESTART: 0.45,
    Fault.CUT_FOLLOWER: 0.6,
    Fault.HEAL: 0.8,
}
"""One fault at a time, so that a majority is there all along, and quiet before and after each."""


def timeline(duration: float) -> tuple[Step, ...]:
    """Return the steps of a run of `duration` seconds, in order."""
    return tuple(Step(duration * fraction, fault) for fault, fraction in _FRACTIONS.items())
