"""STUB"""

import enum


class Outcome(enum.Enum):
    LINEARIZABLE = 1
    VIOLATION = 2
    UNDECIDED = 3


class V:
    outcome = Outcome.LINEARIZABLE
    reason = ""


def check(*a, **k):
    return V()
