"""Virtual time without an event loop: a heap of calls, for the fidelity that runs cores alone.

Whoever is due first is called first. Calls due at the same time are made host by host, so that a
host takes one turn for all that reached it at that time, as a real node does for all that waits.
Hosts are numbered from 0; calls for nobody in particular have the number `NOBODY`.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, Final, Protocol

NOBODY: Final = -1


class Host(Protocol):
    """Who is called: a machine, whether something runs on it or not."""

    is_paused: bool
    """While set, calls gather in `deferred` instead of being made."""
    deferred: list[tuple[Callable[[Any], None], Any]]

    def turn(self) -> None:
        """Work on everything that the calls brought."""


class Scheduler:
    """The heap. `now` is the virtual time in seconds; it begins at 0 and never falls."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls = 0
        self._hosts: list[Host] = []
        self._heap: list[tuple[float, int, int, Callable[[Any], None], Any]] = []

    def add_host(self, host: Host) -> None:
        """Add a host, at any time; its number is how many there were before."""
        self._hosts.append(host)

    def at(self, time: float, host: int, function: Callable[[Any], None], argument: object) -> None:
        """Call `function(argument)` at `time`, on behalf of `host`."""
        self.calls = calls = self.calls + 1
        heappush(self._heap, (time, host, calls, function, argument))

    def run(self, until: float) -> None:
        """Make all calls up to `until`; what they raise ends the run."""
        heap, hosts = self._heap, self._hosts
        while heap and heap[0][0] <= until:
            time, number, _, function, argument = heappop(heap)
            self.now = time
            if number < 0:
                function(argument)
                continue
            host = hosts[number]
            if host.is_paused:
                host.deferred.append((function, argument))
                continue
            function(argument)
            if not heap or heap[0][1] != number or heap[0][0] != time:
                host.turn()
        self.now = until
