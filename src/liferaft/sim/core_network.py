"""The network between cores: loss, long-tailed delay, repeats, reordering, cuts and slow links.

In fair weather the messages of one turn to one peer travel as one frame; in foul weather each has
a fate of its own. A message may reach its target in a later life: nothing here keeps order, and
nothing is ever reported to the sender.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import msgspec

from liferaft.raft.events import Received
from liferaft.raft.messages import Message
from liferaft.sim.core_marks import Marks
from liferaft.sim.scheduler import Scheduler

DELAY: Final = 0.0005
"""Seconds that a frame takes one way in fair weather."""

JITTER_MAX: Final = 0.002
LONG_DELAYS: Final = (0.02, 0.1, 0.5, 2.0)
"""Seconds: the tail, from a queue that is full to a route that flaps."""


class Weather(msgspec.Struct, frozen=True):
    """How the network treats messages: probabilities from 0 to 1, a delay in seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    long_delay: float = 0.0
    spread: float = 0.0
    """Each message is late by up to this: more than the time between messages reorders them."""

    def in_words(self) -> list[str]:
        """Return what it does to messages, for a person to read."""
        told = {
            f"{self.loss:.0%} lost": self.loss,
            f"{self.duplicate:.0%} repeated": self.duplicate,
            f"{self.long_delay:.0%} late": self.long_delay,
            f"late by up to {self.spread:.3f} s": self.spread,
        }
        return [words for words, is_made in told.items() if is_made]


FAIR: Final = Weather()


class CoreNetwork:
    """Carries messages between hosts that are numbered from 0, and draws what becomes of them."""

    def __init__(
        self, scheduler: Scheduler, random: Random, *, jitter: float, marks: Marks
    ) -> None:
        self._scheduler = scheduler
        self._random = random
        self._draw: Final[Callable[[], float]] = random.random
        self._jitter = jitter
        self._marks = marks
        self._receive: list[Callable[[list[Received]], None]] = []
        self._cuts: defaultdict[tuple[int, int], int] = defaultdict(int)
        self._slow: defaultdict[tuple[int, int], float] = defaultdict(float)
        self._weathers: list[Weather] = []
        self._weather = FAIR
        self._is_fair = True

    def add_receiver(self, receive: Callable[[list[Received]], None]) -> None:
        """Name who takes the frames of the next host."""
        self._receive.append(receive)

    # What the faults do. Each can be made several times at once, and is undone as often.

    def cut(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Swallow what goes from the first to the second host of each pair."""
        for pair in pairs:
            self._cuts[pair] += 1
        self._look()

    def mend(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Undo one `cut` of these pairs."""
        for pair in pairs:
            self._cuts[pair] -= 1
        self._look()

    def slow(self, pairs: Sequence[tuple[int, int]], seconds: float) -> None:
        """Delay what goes from the first to the second host of each pair by so much more."""
        for pair in pairs:
            self._slow[pair] = max(self._slow[pair] + seconds, 0.0)
        self._look()

    def begin(self, weather: Weather) -> None:
        """Add to the weather."""
        self._weathers.append(weather)
        self._look()

    def end(self, weather: Weather) -> None:
        """Take from the weather what `begin` added."""
        self._weathers.remove(weather)
        self._look()

    def heal(self) -> None:
        """Undo everything."""
        self._cuts.clear()
        self._slow.clear()
        self._weathers.clear()
        self._look()

    def _look(self) -> None:
        weathers = self._weathers or [FAIR]
        self._weather = Weather(
            loss=max(weather.loss for weather in weathers),
            duplicate=max(weather.duplicate for weather in weathers),
            long_delay=max(weather.long_delay for weather in weathers),
            spread=max(weather.spread for weather in weathers),
        )
        self._is_fair = self._weather == FAIR and not (
            any(self._cuts.values()) or any(self._slow.values())
        )

    # What the nodes and the clients do.

    def send(self, source: int, target: int, messages: list[Message]) -> None:
        """Carry the messages of one turn to one peer, or lose some."""
        frame = [Received(message) for message in messages]
        if not self._is_fair:
            self._send_in_foul_weather(source, target, frame)
            return
        draw = self._draw
        delay = DELAY if draw() >= self._jitter else DELAY + JITTER_MAX * draw()
        scheduler = self._scheduler
        scheduler.at(scheduler.now + delay, target, self._receive[target], frame)

    def call(self, target: int, function: Callable[[Any], None], argument: object) -> None:
        """Carry a client's request to host `target`, or the answer: `function(argument)` there.

        Clients are cut off from nobody: a leader that its peers cannot hear still has clients.
        """
        weather, scheduler = self._weather, self._scheduler
        if weather is FAIR or not self._is_lost(weather):
            scheduler.at(scheduler.now + self._delay(weather), target, function, argument)
        if weather.duplicate and self._draw() < weather.duplicate:
            self._marks["a client's frame came twice"] += 1
            scheduler.at(scheduler.now + self._delay(weather), target, function, argument)

    def carry(
        self, source: int, target: int, function: Callable[[Any], None], argument: object
    ) -> None:
        """Carry what is no message of the cores from host to host: `function(argument)` there."""
        pair, weather, scheduler = (source, target), self._weather, self._scheduler
        if self._cuts.get(pair) or self._is_lost(weather):
            return
        at = scheduler.now + self._delay(weather) + self._slow.get(pair, 0.0)
        scheduler.at(at, target, function, argument)
        if weather.duplicate and self._draw() < weather.duplicate:
            scheduler.at(at + self._delay(weather), target, function, argument)

    def _send_in_foul_weather(self, source: int, target: int, frame: list[Received]) -> None:
        pair = (source, target)
        weather, marks, scheduler = self._weather, self._marks, self._scheduler
        if self._cuts.get(pair):
            marks["message cut off"] += len(frame)
            return
        slow = self._slow.get(pair, 0.0)
        receive = self._receive[target]
        for received in frame:
            if self._is_lost(weather):
                marks["message lost"] += 1
            else:
                at = scheduler.now + self._delay(weather) + slow
                scheduler.at(at, target, receive, [received])
            if weather.duplicate and self._draw() < weather.duplicate:
                marks["message repeated"] += 1
                at = scheduler.now + self._delay(weather) + slow
                scheduler.at(at, target, receive, [received])

    def _is_lost(self, weather: Weather) -> bool:
        return weather.loss > 0 and self._draw() < weather.loss

    def _delay(self, weather: Weather) -> float:
        draw = self._draw
        delay = DELAY if draw() >= self._jitter else DELAY + JITTER_MAX * draw()
        if weather.spread:
            delay += weather.spread * draw()
        if weather.long_delay and draw() < weather.long_delay:
            self._marks["message long delayed"] += 1
            delay += self._random.choice(LONG_DELAYS) * draw()
        return delay
