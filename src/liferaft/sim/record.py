"""Watches one run and writes it down, as lines for tools."""

from pathlib import Path

import msgspec

from liferaft.sim.events import Transition, TransitionRecorder
from liferaft.sim.loop import running_loop
from liferaft.sim.observer import TurnObserver


class Recording:
    """The files of one run; nothing is kept when none is asked for."""

    def __init__(self, events: Path | None) -> None:
        self._events = events
        self._transitions: list[Transition] = []

    @property
    def observers(self) -> tuple[TurnObserver, ...]:
        """Who is to watch the run."""
        if self._events is None:
            return ()
        return (TransitionRecorder(self._transitions.append, now=lambda: running_loop().true_time),)

    def finish(self) -> None:
        """Write the files."""
        if self._events is not None:
            encode = msgspec.json.Encoder().encode
            with self._events.open("wb") as file:
                file.writelines(encode(transition) + b"\n" for transition in self._transitions)
