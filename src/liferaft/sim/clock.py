"""The clocks of one simulated machine: how it sees time pass, and what it takes for the date.

The monotonic clock begins anywhere and runs at its own rate, but never goes back; the wall clock
may jump both ways. True time is the loop's own, and no node ever sees it.
"""

import math

WALL_START = 1_700_000_000.0
"""What right wall clocks show at true time 0, in seconds since 1970."""


class Clock:
    """A machine's two clocks. All times are in seconds, `true` ones of the loop's own clock."""

    def __init__(self, *, started_at: float = 0.0) -> None:
        self.wall_error = 0.0
        self._rate = 1.0
        self._true = 0.0
        self._local = started_at

    @property
    def rate(self) -> float:
        """Seconds of this clock that pass in one true second."""
        return self._rate

    def read(self, true: float) -> float:
        """Return what the monotonic clock shows."""
        return self._local + (true - self._true) * self._rate

    def due(self, local: float) -> float:
        """Return the first true time at which the monotonic clock shows `local` or more.

        Never earlier by a rounding: whoever waits for a moment would look, find that it has not
        come, and wait for it again without end.
        """
        true = self._true + (local - self._local) / self._rate
        while self.read(true) < local:
            true = math.nextafter(true, math.inf)
        return true

    def run_at(self, rate: float, *, true: float) -> None:
        """Let the monotonic clock go on at another rate from now on."""
        self._local, self._true, self._rate = self.read(true), true, rate

    def wall(self, true: float) -> float:
        """Return what the wall clock shows, in seconds since 1970."""
        return WALL_START + true + self.wall_error
