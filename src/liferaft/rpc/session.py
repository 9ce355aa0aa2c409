"""Sessions: at most once, whatever the link loses, repeats or reorders. Pure.

The caller's half numbers calls, keeps those that are unanswered and says when to send them again.
The callee's half keeps each reply until it is acknowledged and answers a repeated call from there.

Invariants: a number is given to one call only; `acked_below`, `next_number` and `forgotten_below`
only grow; a number that was executed is never executed again, at the price that one whose reply
was dropped for want of room is answered with `OutcomeUnknown`.

Time comes in as `now`, in seconds; there is no clock, no I/O and no randomness here.
"""

import enum
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import msgspec

from liferaft.link.base import BYTES_PER_SECOND_MIN
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.interface import MethodSignature

if TYPE_CHECKING:
    from liferaft.rpc.stream import CallStreams

RESEND_MIN: Final = 0.05
"""Seconds. Below it, a scheduler's hiccup at the host would look like a lost frame."""
RESEND_MAX: Final = 1.0
RESEND_FIRST: Final = 0.25
"""Seconds, until a round trip was measured."""
RESEND_CAP: Final = 0.5
"""Seconds; what the doubling interval of one call never exceeds.

Frames are lost here by links that lose at random, not by queues that overflow, so waiting longer
does not help. With 30 % lost each way the slowest call in a hundred took 4.3 s under a cap of 2 s,
1.2 s under 0.25 s."""
LARGE_BYTES: Final = 64 * 1024
LARGE_BYTES_PER_SECOND: Final = 1024 * 1024
"""How fast a large call is taken to travel: it is not sent again while on its way."""
WORKING_INTERVAL: Final = 2.0
"""Seconds between repeats of a call of which the host said that it is being executed."""

WaiterT = TypeVar("WaiterT")
ExecutionT = TypeVar("ExecutionT")


def travel_time(frame: CallFrame) -> float:
    """Return how many seconds a frame may be on its way beyond what a small one is."""
    return 0.0 if len(frame) <= LARGE_BYTES else len(frame) / LARGE_BYTES_PER_SECOND


class RoundTrip:
    """An estimate of how long an answer takes. Source: RFC 6298, with other bounds."""

    def __init__(self) -> None:
        self.interval = RESEND_FIRST
        self._smoothed = 0.0
        self._variation = 0.0
        self._is_measured = False

    def measured(self, seconds: float) -> None:
        """Take the time between a call that was sent once and its answer (Karn's rule)."""
        if self._is_measured:
            self._variation += (abs(seconds - self._smoothed) - self._variation) / 4
            self._smoothed += (seconds - self._smoothed) / 8
        else:
            self._smoothed = seconds
            self._variation = seconds / 2
            self._is_measured = True
        interval = self._smoothed + 4 * self._variation
        # Written out: this is done for every answer, and most round trips are short.
        self.interval = RESEND_MIN if interval < RESEND_MIN else min(interval, RESEND_MAX)

    def was_too_short(self) -> None:
        """Double the interval, until the next answer to a call that was sent once."""
        self.interval = min(2 * self.interval, RESEND_MAX)


class PendingCall(msgspec.Struct, Generic[WaiterT], eq=False):
    """A call without an answer yet. `waiter` is the driver's; nothing here looks at it."""

    number: int
    method: MethodSignature
    frame: CallFrame
    deadline: float | None
    waiter: WaiterT
    sent_count: int = 0
    # Nobody waits for it any more, but for its answer: it must not be begun now.
    is_given_up: bool = False
    # When it was sent first over the present link; whether the host has said that it has it.
    begun_at: float = -math.inf
    has_arrived: bool = False
    sent_at: float = 0.0
    interval: float = 0.0
    resend_at: float = 0.0
    # Those of a call that has any. It is given up when nothing was heard of the host for `patience`
    # seconds, counted from `since` at the earliest.
    streams: "CallStreams | None" = None
    on_progress: Callable[[], None] | None = None  # the driver's, as `waiter` is
    patience: float | None = None
    since: float = 0.0
    # The references in the arguments, where the method has any at all: the driver's to settle.
    exported: list[int] | None = None
    # Another object than the connection's, which a reference leads to.
    object_name: str | None = None

    def end(self, heard_at: float) -> float:
        """Return when it is given up, if its host was heard of then, and is not until the end."""
        end = math.inf if self.deadline is None else self.deadline
        if self.patience is not None:
            end = min(end, max(self.since, heard_at) + self.patience)
        return end

    def due(self, heard_at: float, *, is_sending: bool) -> float | None:
        """Return when there is something to do for it: its end, or a repeat where it is sent."""
        if self.streams is not None:
            return self._due_with(self.streams, heard_at, is_sending=is_sending)
        if not is_sending:
            return self.deadline
        if self.deadline is None or self.resend_at < self.deadline:
            return self.resend_at
        return self.deadline

    def _due_with(
        self, streams: "CallStreams", heard_at: float, *, is_sending: bool
    ) -> float | None:
        due = self.end(heard_at)
        if is_sending:
            of_streams = streams.due()
            due = min(due, self.resend_at, math.inf if of_streams is None else of_streams)
        return None if due == math.inf else due

    @property
    def arrives_at(self) -> float:
        """When all that is large is at the host, at the latest: until then it may be silent."""
        at = 0.0 if self.streams is None else self.streams.arrives_at(self.begun_at)
        size_bytes = len(self.frame)
        if size_bytes <= LARGE_BYTES or self.has_arrived or not self.sent_count:
            return at
        return max(at, self.begun_at + size_bytes / BYTES_PER_SECOND_MIN)

    @property
    def may_run_twice(self) -> bool:
        """Whether the call may go on in another session: no stream and no reference does."""
        return self.method.is_idempotent and self.streams is None and not self.has_references

    @property
    def has_references(self) -> bool:
        """Whether it goes to what a reference leads to, or has references in its arguments."""
        return self.object_name is not None or bool(self.exported)

    @property
    def counts_on_the_host(self) -> bool:
        """Whether it goes to an object that the host had referred to, or refers to one of those."""
        is_home = any(number < 0 for number in self.exported or ())
        return self.object_name is not None or is_home


class CallerSession(Generic[WaiterT]):
    """The caller's half: numbers and unanswered calls, in the order of their numbers."""

    def __init__(self, session_id: bytes) -> None:
        self.session_id = session_id
        self.next_number = 1
        self.pending: dict[int, PendingCall[WaiterT]] = {}
        self._acked_below = 1

    @property
    def acked_below(self) -> int:
        """The lowest number without an answer: all below it will never be repeated."""
        pending = self.pending
        # `pending` keeps the order of numbers, so its first key is the lowest.
        self._acked_below = next(iter(pending)) if pending else self.next_number
        return self._acked_below

    def add(
        self, method: MethodSignature, frame: CallFrame, deadline: float | None, waiter: WaiterT
    ) -> PendingCall[WaiterT]:
        """Keep a call under the next number until it is answered."""
        number = self.next_number
        self.next_number = number + 1
        call = PendingCall(number, method, frame, deadline, waiter)
        self.pending[number] = call
        return call

    def take_over(self, call: PendingCall[WaiterT]) -> None:
        """Keep a call of another session under the next number."""
        call.number, call.begun_at = self.next_number, -math.inf
        self.next_number += 1
        self.pending[call.number] = call

    def settle(self, number: int) -> PendingCall[WaiterT] | None:
        """Return the call that is answered by this, or None for a repeated answer."""
        return self.pending.pop(number, None)


class Verdict(enum.Enum):
    """What a callee does about a call that arrived."""

    EXECUTE = enum.auto()
    WORKING = enum.auto()
    REPEAT = enum.auto()
    FORGOTTEN = enum.auto()


EXECUTE: Final = Verdict.EXECUTE
WORKING: Final = Verdict.WORKING
REPEAT: Final = Verdict.REPEAT
FORGOTTEN: Final = Verdict.FORGOTTEN
# Every call asks for one, and in Python 3.11 a look into an enumeration is as slow as a call.


class ReplyBytes:
    """What the replies of all sessions of a host come to."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class CalleeSession(Generic[ExecutionT]):
    """The callee's half: what is being executed, and the replies nobody acknowledged yet.

    `running` has what is being executed under its number, None for what has not begun yet. The
    executions are the dispatcher's; nothing here looks at them. `total` counts the replies of other
    sessions, too.
    """

    def __init__(
        self, *, replies_max: int, reply_bytes_max: int, total: ReplyBytes | None = None
    ) -> None:
        self.acked_below = 1
        self.forgotten_below = 1
        self.reply_bytes = 0
        self.active_at = 0.0
        # Whether the caller has said that it wants nothing more of this host.
        self.has_left = False
        self._replies_max = replies_max
        self._reply_bytes_max = reply_bytes_max
        self._total = total or ReplyBytes()
        self._replies: dict[int, CallFrame] = {}
        self._held: dict[int, object] = {}
        self.running: Final[dict[int, ExecutionT | None]] = {}

    @property
    def is_running(self) -> bool:
        """Whether a call of this session is being executed."""
        return bool(self.running)

    @property
    def is_unused(self) -> bool:
        """Whether no call of this session was ever executed, nor is."""
        is_empty = not self.running and not self._replies
        return is_empty and self.acked_below == self.forgotten_below == 1

    def receive(self, number: int, acked_below: int) -> Verdict:
        """Return what to do about call `number`; on EXECUTE it counts as being executed.

        REPEAT: send `reply(number)` again. FORGOTTEN: it may have been executed, and its reply
        was acknowledged (so nobody waits) or dropped for want of room.
        """
        if acked_below > self.acked_below:
            self.acknowledge(acked_below)
        if number < self.acked_below:
            return FORGOTTEN
        if number in self.running:
            return WORKING
        if number in self._replies:
            return REPEAT
        if number < self.forgotten_below:
            return FORGOTTEN
        self.running[number] = None
        return EXECUTE

    def reply(self, number: int) -> CallFrame:
        """Return the frame that answers a call whose verdict is REPEAT."""
        return self._replies[number]

    def finish(self, number: int, reply: CallFrame, held: object = None) -> None:
        """Keep the answer of a call that was being executed, until it is acknowledged.

        What is `held` lives for as long, if it is true.
        """
        self.running.pop(number, None)
        if number < self.acked_below:
            return
        replies = self._replies
        replies[number] = reply
        if held:
            self._held[number] = held
        size_bytes = len(reply)
        self._total.count += size_bytes
        self.reply_bytes = reply_bytes = self.reply_bytes + size_bytes
        if reply_bytes > self._reply_bytes_max or len(replies) > self._replies_max:
            self.forget(reply_bytes // 2)

    def withdraw(self, number: int) -> None:
        """Take back a call that was turned away: it was not executed, and may come again."""
        self.running.pop(number, None)

    def acknowledge(self, acked_below: int) -> None:
        """Drop the replies below `acked_below`: the caller has them."""
        first = self.acked_below
        if acked_below <= first:
            return
        self.acked_below = acked_below
        replies, held, dropped_bytes = self._replies, self._held, 0
        # The number comes from the peer, so the walk is never longer than what is kept.
        numbers: Iterable[int] = range(first, acked_below)
        if acked_below - first > len(replies):
            numbers = [number for number in replies if number < acked_below]
        for number in numbers:
            if number in replies:
                dropped_bytes += len(replies.pop(number))
                if held:
                    held.pop(number, None)
        self.reply_bytes -= dropped_bytes
        self._total.count -= dropped_bytes

    def forget(self, reply_bytes_kept: int) -> None:
        """Drop the oldest replies until at most half as many, of `reply_bytes_kept`, are left."""
        kept = len(self._replies) // 2
        for number in sorted(self._replies):
            if len(self._replies) <= kept and self.reply_bytes <= reply_bytes_kept:
                return
            dropped_bytes = len(self._replies.pop(number))
            self.reply_bytes -= dropped_bytes
            self._total.count -= dropped_bytes
            self._held.pop(number, None)
            self.forgotten_below = max(self.forgotten_below, number + 1)

    def drop(self) -> None:
        """Let go of the replies: the host forgets the session."""
        self._total.count -= self.reply_bytes
        self.reply_bytes = 0
        self._replies.clear()
        self._held.clear()
