"""How fast the term of one server may rise: no message can use up the terms of a cluster.

Terms only grow, and every server adopts a higher one from whoever names it. One message with a term
near the end of the numbers, from a broken or hostile peer, would leave no terms for elections. So
within each election timeout a server goes up by `TERM_STEP_MAX` at most, whatever it is told, and
stops short of a term that is further away. To raise one's term is always safe: it is what an
election does that nobody wins.

And while it hears a live leader, or is one, it does not even do that: who sends such terms deposes
nobody.

A server that was pushed ahead is not shut out for that: as soon as the others have no leader they
follow it, step by step, and meet it after about the time for which it was pushed. At one step each
0.3 s the numbers last for 2,600 years. Correct servers are hardly ever a step apart: with an
election every second, that takes 194 days.
"""

from typing import Final

from liferaft.raft.messages import NUMBER_MAX

TERM_STEP_MAX: Final = 2**24

assert TERM_STEP_MAX < NUMBER_MAX


class TermLimit:
    """The highest term that may be adopted now. It never falls."""

    def __init__(self, window: float) -> None:
        """`window` is in seconds: an election timeout."""
        self._window = window
        self._window_end = -1.0
        self._highest = 0

    def allowed(self, term: int, *, current_term: int, now: float) -> int:
        """Return `term`, or the highest that may be adopted instead of it; maybe none above."""
        if now >= self._window_end:
            self._window_end = now + self._window
            self._highest = current_term + TERM_STEP_MAX
        return min(term, max(self._highest, current_term))
