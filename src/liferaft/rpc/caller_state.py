"""How far a caller's connection has come, when its host counts as gone, and why a link is left.

Plain data of `liferaft.rpc.protocol` and `liferaft.rpc.calls`, which decide about all of it. Pure.
"""

import enum
import math
from typing import Final

import msgspec

from liferaft.errors import ConnectionLost, LiferaftError, OutcomeUnknown, Unreachable
from liferaft.rpc import wire

GROWS_AFTER: Final = 1.0
"""Seconds within which the next part of a large answer comes, or the answer is asked for again."""


class Timing(msgspec.Struct, frozen=True):
    """When a silent host is asked, and when it counts as gone; seconds.

    Idle connections are asked rarely; while a call is unanswered a dead host must be found soon.
    At 30 % loss in both directions one ping in two is answered: six in a row fail once in 60.
    """

    ping_busy: float = 0.5
    silence_busy_max: float = 3.0
    ping_idle: float = 5.0
    silence_idle_max: float = 15.0


class Silence:
    """For how long the host of a link has said nothing, though it was asked; the loop's time."""

    def __init__(self, timing: Timing) -> None:
        # When the link was made; when that was, or the host heard of over it; and when over any.
        self.begun_at = self.heard_at = self.word_at = 0.0
        self._timing = timing
        self._pinged_at = 0.0
        # When it was asked first, after a time in which nothing was asked of it.
        self._asked_at = 0.0
        # When a part of a frame came last, and whether what was sent still waits to leave.
        self._grew_at = -math.inf
        self._is_clogged = False

    def begin(self, now: float) -> None:
        """Know that the link is new."""
        self.begun_at = self.heard_at = self._pinged_at = now
        self._is_clogged = False

    def hears(self, now: float) -> None:
        """Know that the host said something."""
        self.heard_at = self.word_at = now

    def grows(self, now: float) -> None:
        """Know that a part of a large frame came."""
        self.heard_at = self.word_at = self._grew_at = now

    def set_clogged(self, now: float, *, is_clogged: bool) -> None:
        """Know whether what was sent still waits to leave; the host is asked once it has left."""
        self._is_clogged = is_clogged
        self._asked_at = self._pinged_at = now

    def is_held_up(self, now: float) -> bool:
        """Whether a question would wait behind what is on its way, or its answer is coming."""
        return self._is_clogged or now - self._grew_at < GROWS_AFTER

    def ask(self, now: float) -> None:
        """Know that an idle host is asked something; what it has not answered yet comes first."""
        if self._asked_at <= self.heard_at:
            self._asked_at = now

    def ping(self, now: float, *, is_busy: bool) -> None:
        """Know that the host is asked whether it is there."""
        self._pinged_at = now
        if not is_busy:
            self.ask(now)

    def dues(self, *, is_busy: bool, arrives_at: float) -> tuple[float, float]:
        """Return when the host is to be asked whether it is there, and when it counts as gone.

        What is under way `arrives_at` that time at the latest: it has no answer before.
        """
        if self._is_clogged:
            return math.inf, math.inf
        timing, since = self._timing, max(self.heard_at, self._pinged_at)
        if is_busy:
            # An idle host may have been silent for long because it was not asked.
            silent_since = max(self.heard_at, self._asked_at, arrives_at)
            return since + timing.ping_busy, silent_since + timing.silence_busy_max
        # One lost ping says little: those that follow come as soon as if it were busy.
        pause = timing.ping_busy if self._pinged_at > self.heard_at else timing.ping_idle
        return since + pause, self.heard_at + timing.silence_idle_max


class State(enum.Enum):
    """How far the connection has come."""

    DOWN = enum.auto()
    GREETING = enum.auto()
    BINDING = enum.auto()
    BOUND = enum.auto()
    LEAVING = enum.auto()
    """The host is about to stop: calls that it has are answered, no other is sent to it."""

    @property
    def is_bound(self) -> bool:
        """Whether the calls that were sent are this host's to answer."""
        return self is State.BOUND or self is State.LEAVING


class Leave(msgspec.Struct, frozen=True):
    """End the link, and connect anew: to `address` if there is one, else to the next known.

    `reason` is what calls that were never sent get when their deadline passes first. `is_lasting`
    says that a repeat will end the same way, so that calls need not wait for it. With `has_parted`
    the host shall still hear the goodbye that was said.
    """

    reason: LiferaftError
    address: str | None = None
    is_lasting: bool = False
    has_parted: bool = False


class GivenBack(OutcomeUnknown):
    """A call that its host may have executed, and that may go to another. Never leaves rpc."""


def is_refusal(frame: wire.Reply | wire.Failure) -> bool:
    """Return whether a host turned a copy of a call away that another might take."""
    if not isinstance(frame, wire.Failure) or frame.kind != "liferaft":
        return False
    return frame.type_name in {"Overloaded", "NoLeader", "Refused"}


def why_unsent(trouble: LiferaftError) -> LiferaftError:
    """Return the error for a call that was never sent: with it, that nothing was executed."""
    if type(trouble) is ConnectionLost:
        trouble = Unreachable(str(trouble))
    return copy_error(trouble)


def copy_error(error: LiferaftError) -> LiferaftError:
    """Return the error anew: one that is raised twice would gather the tracebacks of both."""
    copied = type(error)(str(error))
    copied.__dict__.update(error.__dict__)
    copied.is_of_a_call = True
    return copied
