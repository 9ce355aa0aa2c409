"""Watches one run and writes it down: as lines for tools, and as a page for people."""

from pathlib import Path
from typing import Final

import msgspec

from liferaft.sim.chronicle import Chronicle
from liferaft.sim.events import Transition, TransitionRecorder
from liferaft.sim.observer import TurnObserver
from liferaft.sim.timeline import RunSummary, render_page


class Recording:
    """The files of one run; nothing is kept when none is asked for.

    Raises `OSError` at once for a file that cannot be written: nobody wants to learn it at the end.
    """

    def __init__(self, events: Path | None = None, page: Path | None = None) -> None:
        self.chronicle: Final = Chronicle()
        self._events = events
        self._page = page
        self._transitions: list[Transition] = []
        for path in (events, page):
            if path is not None:
                path.open("ab").close()

    def anew(self) -> "Recording":
        """Return one of another run, which goes to the same files."""
        return Recording(self._events, self._page)

    @property
    def observers(self) -> tuple[TurnObserver, ...]:
        """Who is to watch the run."""
        if self._events is None and self._page is None:
            return ()
        return (TransitionRecorder(self._transitions.append),)

    def finish(self, summary: RunSummary) -> None:
        """Write the files."""
        if self._events is not None:
            encode = msgspec.json.Encoder().encode
            with self._events.open("wb") as file:
                file.writelines(encode(transition) + b"\n" for transition in self._transitions)
        if self._page is not None:
            page = render_page(summary, self._transitions, self.chronicle)
            self._page.write_text(page, encoding="utf-8")
