"""Values by runs of indexes, held against a plain dict."""

from hypothesis import given
from hypothesis import strategies as st

from liferaft.storage.extents import Extent, Extents

INDEX = st.integers(1, 30)
OPERATION = st.tuples(
    st.sampled_from(("append", "put", "cut", "begin_at")), INDEX, st.integers(0, 8)
)


class Twin:
    """The naive twin: a dict, and the two ends."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.last = first - 1
        self.values: dict[int, int] = {}

    def append(self, first: int, last: int, value: int) -> None:
        self.cut(first)
        self.put(first, last, value)

    def put(self, first: int, last: int, value: int) -> None:
        if self.last < self.first:
            self.first = min(self.first, first)
        self.first, self.last = min(self.first, first), max(self.last, last)
        self.values |= dict.fromkeys(range(first, last + 1), value)

    def cut(self, first: int) -> None:
        if first <= self.last:
            self.first, self.last = min(self.first, first), first - 1
            self.values = {each: held for each, held in self.values.items() if each < first}

    def begin_at(self, first: int) -> None:
        if first > self.first:
            self.first, self.last = first, max(self.last, first - 1)
            self.values = {each: held for each, held in self.values.items() if each >= first}

    def at(self, index: int) -> int:
        return self.values.get(index, 0)


def build(operations: list[tuple[str, int, int]], first: int) -> tuple[Extents, Twin]:
    """Return both after the same operations; each value is used once."""
    extents, twin = Extents(first=first), Twin(first)
    for value, (name, index, count) in enumerate(operations, start=1):
        if name in ("append", "put"):
            size_bytes = 10 * (count + 1)
            getattr(extents, name)(index, index + count, value, size_bytes)
            getattr(twin, name)(index, index + count, value)
        else:
            getattr(extents, name)(index)
            getattr(twin, name)(index)
    return extents, twin


@given(st.lists(OPERATION, max_size=12), INDEX)
def test_each_index_has_the_value_that_it_got_last(
    operations: list[tuple[str, int, int]], first: int
) -> None:
    extents, twin = build(operations, first)
    held = range(twin.first, twin.last + 1)

    assert (twin.first, twin.last) == (extents.first, extents.last)
    assert [twin.at(index) for index in range(50)] == [extents.at(index) for index in range(50)]
    assert [twin.at(index) for index in held] == [
        each.value for each in extents.runs(0) for _ in range(each.first, each.last + 1)
    ]
    assert 10 * len(twin.values) == extents.size_bytes, "a run's size is shared by its indexes"
    assert min((twin.at(index) for index in held), default=None) == extents.lowest_value()


@given(st.lists(OPERATION, max_size=12), INDEX, st.integers(0, 15))
def test_holes_and_low_values_end_where_the_last_of_them_does(
    operations: list[tuple[str, int, int]], first: int, value: int
) -> None:
    extents, twin = build(operations, first)
    low = [index for index in range(twin.first, twin.last + 1) if twin.at(index) <= value]

    assert max(low, default=twin.first - 1) + 1 == extents.behind_holes(value)


@given(st.lists(OPERATION, max_size=12), INDEX, st.integers(0, 15), st.integers(0, 100))
def test_the_first_low_values_are_found_as_far_as_they_follow_each_other(
    operations: list[tuple[str, int, int]], first: int, value: int, bytes_max: int
) -> None:
    extents, twin = build(operations, first)
    low = [index for index in range(twin.first, twin.last + 1) if twin.at(index) < value]
    found = extents.below(value, bytes_max=bytes_max)

    assert (found is None) == (not low)
    if found is not None:
        one_run = extents.between(found[0], found[0], 0)[0].value
        assert found[0] == low[0]
        assert set(range(found[0], found[1] + 1)) <= set(low)
        within = [twin.at(index) for index in range(found[0], found[1] + 1)]
        assert set(within) == {one_run} or 10 * sum(each > 0 for each in within) <= bytes_max


@given(st.lists(OPERATION, min_size=1, max_size=12), INDEX, st.data())
def test_what_lies_between_two_indexes_is_given_in_order(
    operations: list[tuple[str, int, int]], first: int, data: st.DataObject
) -> None:
    extents, twin = build(operations, first)
    if twin.last < twin.first:
        return
    start = data.draw(st.integers(twin.first, twin.last))
    stop = data.draw(st.integers(start, twin.last))
    everything = extents.between(start, stop, 2**40)
    one = extents.between(start, stop, 0)

    assert [twin.at(index) for index in range(start, stop + 1)] == [
        each.value for each in everything for _ in range(each.first, each.last + 1)
    ]
    assert everything[0] == one[0]


def test_the_tail_begins_with_a_run() -> None:
    extents = Extents(first=1)
    for first in (1, 5, 9):
        extents.append(first, first + 3, first, 40)

    assert [9, 9, 5, 1, 1] == [extents.tail_first(size) for size in (1, 40, 41, 81, 1000)]
    assert 1 == extents.tail_first(0)
    assert 7 == Extents(first=7).tail_first(10)


def test_a_run_in_the_midst_is_divided() -> None:
    extents = Extents(first=1)
    extents.append(1, 10, 7, 100)
    extents.put(4, 6, 8, 9)

    assert [Extent(1, 3, 7), Extent(4, 6, 8), Extent(7, 10, 7)] == list(extents.runs(1))
    assert [Extent(5, 6, 8), Extent(7, 10, 7)] == list(extents.runs(5))
    assert 79 == extents.size_bytes
