"""What a leaky link does to the frames of one direction, and one direction that does it.

Each frame's fate is drawn from a `random.Random` that belongs to the direction alone: the fate of
the hundredth frame depends on the seed, the settings and how many frames came before, and on
nothing else. Frames are lost, repeated and held as a whole: the stream below stays reliable.

- A frame that nothing holds back is carried on at once, with the others of its batch.
- What is held waits in one heap, under one timer, in the order of due time and then of sending.
- The memory of held frames is bounded; beyond the bound a frame is lost, as in a full router.
"""

import asyncio
import heapq
import itertools
import math
from collections.abc import Callable
from random import Random

import msgspec

from liferaft.errors import ConfigurationError
from liferaft.link.base import HIGH_WATER_BYTES, LOW_WATER_BYTES

REORDER_SECONDS_MIN = 0.02
"""A reordered frame is held for up to this time, or `delay_max` where that is longer."""

HELD_BYTES_MAX = 64 * 1024 * 1024


class Leak(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to the frames of one direction; without arguments, nothing.

    Raises `ConfigurationError` when a value is out of its range.
    """

    loss: float = 0.0
    """How likely a frame is lost, 0 to 1."""
    duplicate: float = 0.0
    """How likely a frame arrives twice, 0 to 1; each copy has its own delay."""
    delay_min: float = 0.0
    delay_max: float = 0.0
    """Seconds that a frame is held, drawn evenly between the two. Where they differ, frames
    overtake each other; where they are equal, they keep their order."""
    reorder: float = 0.0
    """How likely a frame is held longer than its delay, so that later ones overtake it, 0 to 1."""
    bytes_per_second: float = 0.0
    """How much passes in a second; what is above waits. 0 is without bound."""
    is_cut: bool = False
    """Whether nothing passes at all, while both ends see an open link."""

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ConfigurationError(f"{name} is {value}: give a probability from 0 to 1")
        for name in ("delay_min", "delay_max", "bytes_per_second"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ConfigurationError(f"{name} is {value}: give a number from 0 up")
        if self.delay_min > self.delay_max:
            raise ConfigurationError(
                f"delay_min is {self.delay_min}, above delay_max, which is {self.delay_max}"
            )


_HARMLESS = Leak()


class LeakCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to the frames of one direction so far. Every field only grows."""

    sent: int = 0
    """Frames that came in."""
    delivered: int = 0
    """Frames that went out, copies included."""
    lost: int = 0
    """Frames lost by chance."""
    cut: int = 0
    """Frames lost because the direction was cut when they came, or while they were held."""
    overflowed: int = 0
    """Frames lost because too much was held already."""
    duplicated: int = 0
    """Frames that were given a copy."""
    delayed: int = 0
    """Frames and copies that were held for a while, for whatever reason."""
    reordered: int = 0
    """Frames and copies that were held so that later ones overtake them."""

    def plus(self, other: "LeakCounts") -> "LeakCounts":
        """Return the sums of both."""
        mine, others = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        names = self.__struct_fields__
        return LeakCounts(**{name: a + b for name, a, b in zip(names, mine, others, strict=True)})


class LeakyDirection:
    """Takes the frames of one direction and carries on what its `Leak` leaves of them.

    `carry` is called with the frames that pass, never with none. `changed` is called on the loop
    when held frames have all left, or when `is_full` has changed.
    """

    def __init__(
        self,
        random: Random,
        leak: Leak,
        *,
        carry: Callable[[list[bytes]], None],
        changed: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._random = random
        self._leak = leak
        self._is_harmless = leak == _HARMLESS
        self._carry = carry
        self._changed = changed
        # (when due, number in the order of sending, frame); the number keeps equal times in order.
        self._held: list[tuple[float, int, bytes]] = []
        self._held_bytes = 0
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = math.inf
        # When the throttled line has sent all that it was given so far.
        self._line_free_at = 0.0
        self._is_full = False
        self._sent = self._delivered = self._lost = self._cut = 0
        self._overflowed = self._duplicated = self._delayed = self._reordered = 0

    @property
    def leak(self) -> Leak:
        """What happens to the frames; a change counts for those that come after it.

        A cut also takes those that are held.
        """
        return self._leak

    @leak.setter
    def leak(self, leak: Leak) -> None:
        self._leak = leak
        self._is_harmless = leak == _HARMLESS
        if leak.is_cut:
            self._cut += self.drop()

    @property
    def is_holding(self) -> bool:
        """Whether frames are held that shall still be carried on."""
        return bool(self._held)

    @property
    def is_full(self) -> bool:
        """Whether the held frames are above the high-water mark, and not yet below the low one."""
        return self._is_full

    def is_on_the_way(self, now: float) -> bool:
        """Whether a frame is passing that takes long for its length."""
        return self._line_free_at > now

    def counts(self) -> LeakCounts:
        """Return what happened so far."""
        return LeakCounts(
            sent=self._sent,
            delivered=self._delivered,
            lost=self._lost,
            cut=self._cut,
            overflowed=self._overflowed,
            duplicated=self._duplicated,
            delayed=self._delayed,
            reordered=self._reordered,
        )

    def take(self, frames: list[bytes]) -> None:
        """Let the frames meet their fate."""
        leak = self._leak
        self._sent += len(frames)
        if leak.is_cut:
            self._cut += len(frames)
            return
        if self._is_harmless:
            self._delivered += len(frames)
            self._carry(frames)
            return
        now = self._loop.time()
        passing: list[bytes] = []
        for frame in frames:
            for _ in range(self._draw_copies(leak)):
                due = self._draw_due(leak, now, len(frame))
                if due <= now:
                    passing.append(frame)
                else:
                    self._hold(due, frame)
        self._arm_timer()
        if passing:
            self._delivered += len(passing)
            self._carry(passing)

    def drop(self) -> int:
        """Lose all that is held, stop the timer, and return how many frames that were."""
        dropped = len(self._held)
        self._held.clear()
        self._arm_timer()
        self._release_bytes(self._held_bytes)
        if dropped:
            self._loop.call_soon(self._changed)
        return dropped

    def _draw_copies(self, leak: Leak) -> int:
        """Return how often a frame goes on: not at all, once or twice."""
        if leak.loss and self._random.random() < leak.loss:
            self._lost += 1
            return 0
        if leak.duplicate and self._random.random() < leak.duplicate:
            self._duplicated += 1
            return 2
        return 1

    def _draw_due(self, leak: Leak, now: float, size_bytes: int) -> float:
        """Return when a frame that came now shall go on."""
        due = now
        if leak.bytes_per_second:
            due = max(now, self._line_free_at) + size_bytes / leak.bytes_per_second
            self._line_free_at = due
        if leak.delay_max:
            due += self._random.uniform(leak.delay_min, leak.delay_max)
        if leak.reorder and self._random.random() < leak.reorder:
            self._reordered += 1
            due += self._random.uniform(0, max(leak.delay_max, REORDER_SECONDS_MIN))
        return due

    def _hold(self, due: float, frame: bytes) -> None:
        if self._held and self._held_bytes + len(frame) > HELD_BYTES_MAX:
            self._overflowed += 1
            return
        self._delayed += 1
        heapq.heappush(self._held, (due, next(self._numbers), frame))
        self._held_bytes += len(frame)
        if self._held_bytes > HIGH_WATER_BYTES and not self._is_full:
            self._is_full = True
            self._loop.call_soon(self._changed)

    def _release_bytes(self, size_bytes: int) -> None:
        self._held_bytes -= size_bytes
        if self._is_full and self._held_bytes < LOW_WATER_BYTES:
            self._is_full = False
            self._loop.call_soon(self._changed)

    def _arm_timer(self) -> None:
        """Let the timer ring when the first of the held frames is due."""
        due = self._held[0][0] if self._held else math.inf
        if due == self._timer_due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._ring) if self._held else None

    def _ring(self) -> None:
        """Carry on, in one batch, all that is due."""
        # A loop may ring a timer up to its clock's resolution early.
        now = max(self._loop.time(), self._timer_due)
        frames: list[bytes] = []
        while self._held and self._held[0][0] <= now:
            frames.append(heapq.heappop(self._held)[2])
        self._timer_due, self._timer = math.inf, None
        self._arm_timer()
        self._release_bytes(sum(map(len, frames)))
        self._delivered += len(frames)
        if not self._held:
            self._loop.call_soon(self._changed)
        self._carry(frames)
