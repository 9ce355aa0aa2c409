"""Every replica comes to the same points, whatever it began with."""

from dataclasses import dataclass

import pytest

from liferaft.replicated.machine import SESSIONS_PART, ReplicatedMachine
from liferaft.replicated.points import ENTRIES, Points
from tests.replicated.commands import ALICE, Log

Told = list[tuple[int, int | None]]


class Book:
    def __init__(self) -> None:
        self._lines: list[str] = []

    def write(self, line: str) -> int:
        self._lines.append(line)
        return len(self._lines)


def _watched(points: Points, *, index: int = 0, wall_now: float = 0.0) -> Told:
    told: Told = []
    points.watch(
        60.0, lambda at, answers: told.append((at, answers)), index=index, wall_now=wall_now
    )
    return told


def _indexes(told: Told) -> list[int]:
    return [index for index, _ in told]


def test_the_first_command_of_each_interval_is_a_point() -> None:
    """The log's first one is none: before it there was no time."""
    points = Points()
    told = _watched(points)

    for index, wall_now in enumerate((1000.0, 1001.0, 1019.9, 1020.0, 1079.0, 1500.0, 1501.0), 1):
        points.passed(index, wall_now, b"")

    assert [4, 6] == _indexes(told)


def test_where_the_log_s_time_stands_still_entries_are_counted() -> None:
    points = Points()
    told = _watched(points)

    for index in (1, ENTRIES - 1, ENTRIES, ENTRIES + 1, 3 * ENTRIES + 5):
        points.passed(index, 1e12, b"")

    assert [ENTRIES, 3 * ENTRIES + 5] == _indexes(told)


@pytest.mark.parametrize("begins_at", range(1, 300, 17))
def test_who_begins_in_the_midst_comes_to_the_same_points(begins_at: int) -> None:
    """It has not given all answers itself up to the next one, and says so."""
    commands = [(index, 1000.0 + index * 1.7) for index in range(1, 400)]
    first, second = Points(), Points()
    all_told = _watched(first)
    told = _watched(second, index=begins_at, wall_now=commands[begins_at - 1][1])

    for index, wall_now in commands:
        first.passed(index, wall_now, b"%d" % index)
        if index > begins_at:
            second.passed(index, wall_now, b"%d" % index)

    later = [each for each in all_told if each[0] > begins_at]
    assert len(later) > 1
    assert [(later[0][0], None), *later[1:]] == told


def test_answers_count_from_one_point_to_the_next() -> None:
    first, second = Points(), Points()
    one, other = _watched(first), _watched(second)

    for index, answer in enumerate((b"a", b"b", b"c", b"d", b"e"), 1):
        first.passed(index, 1000.0 + 60 * index, answer)
        second.passed(index, 1000.0 + 60 * index, b"x" if index == 3 else answer)

    assert _indexes(one) == _indexes(other)
    assert [3] == [index for (index, a), (_, b) in zip(one, other, strict=True) if a != b]


def test_who_does_not_watch_is_told_of_nothing() -> None:
    points = Points()
    points.begin(5, 100.0)

    points.passed(ENTRIES * 2, 1e9, b"")


# Of a whole machine.


def _machine_at(log: Log, count: int, *, first_wall: float = 1000.0) -> ReplicatedMachine:
    machine = ReplicatedMachine({"Book": Book()})
    machine.apply(log.opening(ALICE, wall_now=first_wall))
    for number in range(1, count + 1):
        machine.apply(log.call(ALICE, number, "write", "x", wall_now=first_wall + number))
    return machine


def _digests(machine: ReplicatedMachine) -> list[tuple[int, list[tuple[str, bytes]]]]:
    """Return what will be the digests at the points to come."""
    seen: list[tuple[int, list[tuple[str, bytes]]]] = []
    machine.watch(60.0, lambda index, _: seen.append((index, list(machine.digest_pieces()))))
    return seen


def test_a_restored_machine_comes_to_the_points_of_one_that_never_was() -> None:
    log = Log()
    machine = _machine_at(log, 30)
    restored = ReplicatedMachine({"Book": Book()})
    restored.prepare(list(machine.snapshot())).install()
    digests = [_digests(machine), _digests(restored)]

    for number in range(31, 300):
        entry = log.call(ALICE, number, "write", "x", wall_now=1000.0 + number, acked_below=number)
        machine.apply(entry)
        restored.apply(entry)

    assert digests[0] == digests[1]
    assert 2 < len(digests[0])


def test_a_snapshot_that_is_installed_while_it_is_watched_moves_the_points_on() -> None:
    log = Log()
    machine = _machine_at(log, 30)
    behind = ReplicatedMachine({"Book": Book()})
    told: Told = []
    behind.watch(60.0, lambda index, answers: told.append((index, answers)))

    behind.prepare(list(machine.snapshot())).install()
    behind.apply(log.call(ALICE, 31, "write", "x", wall_now=1031.0))
    behind.apply(log.call(ALICE, 32, "write", "x", wall_now=1081.0))

    assert [(33, None)] == told


def test_of_two_versions_of_a_class_no_more_is_compared_than_is_the_same_in_both() -> None:
    """An attribute is a part of its own, and so is one whose records have got another field."""

    def version(number: int) -> object:
        @dataclass
        class Page:
            text: str

        if number == 2:

            @dataclass
            class Page:  # type: ignore[no-redef]
                text: str
                size: int = 0

        class Book:
            def __init__(self) -> None:
                self.pages: dict[int, Page] = {}
                self.title = "none"
                if number == 2:
                    self.is_closed = False

            def close(self) -> None: ...

        Book.__annotations__ = {"pages": dict[int, Page]}
        return Book()

    parts = [
        {part for part, _ in ReplicatedMachine({"Book": version(number)}).digest_pieces()}
        for number in (1, 1, 2)
    ]

    assert parts[0] == parts[1]
    assert {SESSIONS_PART, "Book.title"} == {each.partition("#")[0] for each in parts[0] & parts[2]}
