"""What holds for each index of a range, kept by runs of indexes. Pure.

The shared log asks it in which write each entry of a group lies. Other than `contents.Places` it
takes a new value for indexes in the midst, because entries are copied to newer writes, and it knows
holes, because a log whose beginning was dropped is read without what lay there.

Kept as columns of integers, 24 bytes a run: a group of many small appends has one run for each.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import msgspec


class Extent(msgspec.Struct, frozen=True):
    """The indexes `first` up to `last` have that value."""

    first: int
    last: int
    value: int


class Extents:
    """A value for each index from `first` up to `last`; 0 is a hole, where nothing is known.

    `last` is `first - 1` while it is empty. Each run has a size in bytes, which is shared out by
    the number of its indexes where it is cut; `size_bytes` is the sum.
    """

    def __init__(self, *, first: int) -> None:
        self.first = first
        self.last = first - 1
        self.size_bytes = 0
        self._firsts = array("Q")
        self._values = array("Q")
        self._sizes = array("Q")

    def at(self, index: int) -> int:
        """Return the value at an index, 0 where there is none."""
        if not self.first <= index <= self.last:
            return 0
        return self._values[bisect_right(self._firsts, index) - 1]

    def lowest_value(self) -> int | None:
        """Return the lowest of all values, None when it is empty."""
        return min(self._values, default=None)

    def append(self, first: int, last: int, value: int, size_bytes: int = 0) -> None:
        """Let the indexes have that value, and end with them; what lies between is a hole."""
        assert first <= last
        if first != self.last + 1:
            self.cut(first)
        if first > self.last + 1:
            self._push(self.last + 1, first - 1, 0, 0)
        self._push(first, last, value, size_bytes)

    def put(self, first: int, last: int, value: int, size_bytes: int = 0) -> None:
        """Let the indexes have that value, and keep what lies behind them."""
        assert first <= last
        if last >= self.last:
            self.append(first, last, value, size_bytes)
            return
        if last + 1 < self.first:
            self._insert(0, last + 1, 0, 0)
            self.first = last + 1
        start = self._split(first) if first > self.first else 0
        self._delete(start, self._split(last + 1))
        self._insert(start, first, value, size_bytes)
        self.first = min(self.first, first)

    def cut(self, first: int) -> None:
        """Forget everything from `first` on."""
        if first <= self.last:
            first_left = min(self.first, first)
            self._delete(self._split(first) if first > self.first else 0, len(self._firsts))
            self.first, self.last = first_left, first - 1

    def begin_at(self, first: int) -> None:
        """Forget everything below `first`, which may lie behind the last."""
        if first > self.last:
            self._delete(0, len(self._firsts))
            self.first, self.last = first, first - 1
        elif first > self.first:
            self._delete(0, self._split(first))
            self.first = first

    def behind_holes(self, value: int = 0) -> int:
        """Return the index from which on all values are known, and higher than that one."""
        for position in range(len(self._values) - 1, -1, -1):
            if self._values[position] <= value:
                return self._end(position) + 1
        return self.first

    def runs(self, first: int) -> Iterator[Extent]:
        """Give what holds from `first` on, in order."""
        first = max(first, self.first)
        if first > self.last:
            return
        for position in range(bisect_right(self._firsts, first) - 1, len(self._firsts)):
            yield Extent(
                max(first, self._firsts[position]), self._end(position), self._values[position]
            )

    def between(self, first: int, last: int, bytes_max: int) -> list[Extent]:
        """Return what holds from `first` on, at least one run.

        Stops at `last`, or when the runs after the first are larger than `bytes_max` together.
        """
        assert self.first <= first <= last <= self.last
        extents: list[Extent] = []
        collected_bytes = 0
        position = bisect_right(self._firsts, first) - 1
        while position < len(self._firsts) and self._firsts[position] <= last:
            begin, end = max(first, self._firsts[position]), min(last, self._end(position))
            extents.append(Extent(begin, end, self._values[position]))
            collected_bytes += self._sizes[position] if len(extents) > 1 else 0
            if collected_bytes > bytes_max:
                break
            position += 1
        return extents

    def tail_first(self, bytes_max: int) -> int:
        """Return the first index of the last runs that have `bytes_max` together, if there are."""
        position = len(self._firsts)
        collected_bytes = 0
        while position > 0 and collected_bytes < bytes_max:
            position -= 1
            collected_bytes += self._sizes[position]
        return self._firsts[position] if position < len(self._firsts) else self.first

    def below(self, value: int, *, bytes_max: int) -> tuple[int, int] | None:
        """Return the first indexes whose values are lower than that, None if there are none.

        They follow each other, and are as many as have `bytes_max` together, at least one run.
        """
        first = last = collected_bytes = 0
        for position, held in enumerate(self._values):
            is_below = held < value
            if first and (not is_below or collected_bytes + self._sizes[position] > bytes_max):
                break
            if is_below:
                first = first or self._firsts[position]
                last = self._end(position)
                collected_bytes += self._sizes[position]
        return (first, last) if first else None

    def _end(self, position: int) -> int:
        is_last = position + 1 == len(self._firsts)
        return self.last if is_last else self._firsts[position + 1] - 1

    def _position(self, index: int) -> int:
        return bisect_left(self._firsts, index)

    def _split(self, index: int) -> int:
        """Let a run begin at `index`, which is held, and return its position."""
        assert self.first <= index <= self.last
        position = self._position(index)
        if position < len(self._firsts) and self._firsts[position] == index:
            return position
        first, last = self._firsts[position - 1], self._end(position - 1)
        size = self._sizes[position - 1]
        above = size * (last - index + 1) // (last - first + 1)
        self._sizes[position - 1] = size - above
        for column, item in (
            (self._firsts, index),
            (self._values, self._values[position - 1]),
            (self._sizes, above),
        ):
            column.insert(position, item)
        return position

    def _push(self, first: int, last: int, value: int, size_bytes: int) -> None:
        self._firsts.append(first)
        self._values.append(value)
        self._sizes.append(size_bytes)
        self.size_bytes += size_bytes
        self.last = last

    def _insert(self, position: int, first: int, value: int, size_bytes: int) -> None:
        self._firsts.insert(position, first)
        self._values.insert(position, value)
        self._sizes.insert(position, size_bytes)
        self.size_bytes += size_bytes

    def _delete(self, start: int, stop: int) -> None:
        self.size_bytes -= sum(self._sizes[start:stop])
        for column in (self._firsts, self._values, self._sizes):
            del column[start:stop]
