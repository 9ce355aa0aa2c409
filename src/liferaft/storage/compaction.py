"""Which segments the log can do without. Pure.

A log may begin with any segment such that nothing in it or behind it replaces entries from before
it: of those the terms would be unknown. What is dropped is always all that lies before a segment.
"""

from collections.abc import Sequence

from liferaft.storage.contents import Places
from liferaft.storage.records import SegmentHeader


class LiveSegments:
    """The segments of a log that are there, the oldest first."""

    def __init__(self, headers: Sequence[SegmentHeader], strays: Sequence[int] = ()) -> None:
        """Take the headers, and the numbers of files of which an interrupted drop left some."""
        self._headers = list(headers)
        self._strays = sorted(strays)

    def add(self, header: SegmentHeader) -> None:
        """Take the next one."""
        self._headers.append(header)

    def beginning(self, covered: int, places: Places) -> SegmentHeader | None:
        """Return the segment that the log may begin with when a snapshot covers all to `covered`.

        None when that is the one it begins with already. The newest must hold a record, as that
        tells the hard state.
        """
        for header in reversed(self._headers[1:]):
            if header.begins_anew:
                return header
            is_covered = covered > 0 and header.first <= covered + 1
            if is_covered and places.first_from(header.number) >= header.first:
                return header
        return None

    def superfluous(self, beginning: SegmentHeader | None) -> list[int]:
        """Return the numbers of the segments before the one to begin with, in the order to go."""
        if beginning is not None:
            kept = [header for header in self._headers if header.number >= beginning.number]
            self._strays += [header.number for header in self._headers if header not in kept]
            self._headers = kept
        return self._strays[::-1]

    def dropped(self, number: int) -> None:
        """Learn that a superfluous segment is gone for good."""
        self._strays.remove(number)
