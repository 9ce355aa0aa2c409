"""What does not come back as it was is found, named, and refused."""

import enum
from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest

from liferaft.errors import ConfigurationError
from liferaft.replicated.likeness import Likeness, restore_ints


class Colour(enum.Enum):
    RED = "red"


class Rank(enum.IntEnum):
    LOW = 1


class Planet(enum.Enum):
    """Its members have more to them than their values."""

    EARTH = "earth"

    def __init__(self, name: str) -> None:
        self.weight = 5.97


class Point(NamedTuple):
    x: int
    y: float = 0.5


@dataclass
class Item:
    text: str
    tags: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Frozen:
    text: str


class Special(Item):
    pass


class Node(msgspec.Struct):
    items: list[Item]


class Fact(msgspec.Struct, frozen=True):
    text: str


def come_back(value: object, hint: Any) -> None:
    after = msgspec.msgpack.decode(msgspec.msgpack.encode(value), type=hint)
    ints = Likeness().compare(value, after, "Bank.it")

    assert repr(value) == repr(restore_ints(after, ints))


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ({b"k": b"v"}, dict[bytes, bytes]),
        ({(1, "a"): [None, True]}, dict[tuple[int, str], list[bool | None]]),
        ({frozenset({1, 2}): {3, 4}}, dict[frozenset[int], set[int]]),
        ([float("nan"), -0.0], list[float]),
        ([Item("a", {"x"})], list[Item]),
        ({Frozen("a"): Node([Item("b")])}, dict[Frozen, Node]),
        ({Point(1): Point(2, 1.5)}, dict[Point, Point]),
        ([Colour.RED, None], list[Colour | None]),
        ({Rank.LOW: 1}, dict[Rank, int]),
        ([Decimal("1.00"), Decimal("sNaN")], list[Decimal]),
        (UUID(int=7), UUID),
        ([datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1)], list[datetime]),  # noqa: DTZ001 - one without a zone
        ((date(2020, 1, 1), time(1, 2), timedelta(days=-1)), tuple[date, time, timedelta]),
        (bytearray(b"x"), bytearray),
    ],
)
def test_what_msgspec_knows_comes_back(value: object, hint: object) -> None:
    come_back(value, hint)


FROM_ROME = datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("value", "hint", "what"),
    [
        ({"a": defaultdict(int)}, dict[str, dict[str, int]], r"it\['a'\] is of the type defaultd"),
        (OrderedDict({1: 2}), dict[int, int], "Bank.it is of the type OrderedDict"),
        ([{3}], list[set[float]], r"it\[0\] has an int where a float is declared"),
        ((1,), list[int], "of the type tuple, comes back as list"),
        ([Special("a")], list[Item], r"it\[0\] is of the type Special"),
        (Node([Item("a")]), dict[str, Any], "of the type Node"),
        ([FROM_ROME], list[datetime], r"it\[0\] is .*3600.*, comes back as .*utc"),
        (Rank.LOW, float, "of the type Rank, comes back as float"),
        (Rank.LOW, int, "of the type Rank, comes back as int"),
    ],
)
def test_what_would_come_back_as_something_else_is_named(
    value: object, hint: object, what: str
) -> None:
    with pytest.raises(ConfigurationError, match=what):
        come_back(value, hint)


def test_what_was_put_beside_the_fields_is_not_lost() -> None:
    item = Item("a")
    item.note = "remember"  # type: ignore[attr-defined] # this is what is tried

    with pytest.raises(ConfigurationError, match=r"Bank\.it\.note is of the type str"):
        come_back(item, Item)


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ([1], [1, 2], "has 1 elements, comes back with 2"),
        ({1: 1}, {}, "has 1 elements, comes back with 0"),
        ({1: 1, "a": 1}, {"a": 1, 1: 1}, r"the key 1 of Bank\.it is of the type int"),
        ({1, 2}, {1}, "has 2 elements, comes back with 1"),
        ({1, 2}, {1, 3}, "comes back without 2"),
        (Colour.RED, None, "of the type Colour"),
        (Item("a"), Item("a", {"b"}), r"Bank\.it\.tags has 0 elements, comes back with 1"),
    ],
)
def test_differences_in_number_and_order_are_found(
    before: object, after: object, what: str
) -> None:
    with pytest.raises(ConfigurationError, match=what):
        Likeness().compare(before, after, "Bank.it")


SHARED: list[object] = [[1], {1: 1}, {1}, bytearray(), Item("a"), Node([])]


@pytest.mark.parametrize("shared", SHARED, ids=lambda shared: type(shared).__name__)
def test_what_is_reached_from_two_places_would_be_parted(shared: object) -> None:
    """A command that changes it at one place changes the other only where it is one thing."""
    with pytest.raises(ConfigurationError, match=r"it\[1\] is a .* that another part of the state"):
        come_back([shared, shared], list[type(shared)])  # type: ignore[misc] # made at run time


def test_sharing_is_found_between_attributes_and_objects_too() -> None:
    likeness = Likeness()
    shared = [1]
    likeness.compare(shared, [1], "Bank.it")

    with pytest.raises(ConfigurationError, match=r"Shop\.it is a list that another part"):
        likeness.compare(shared, [1], "Shop.it")


@pytest.mark.parametrize("shared", [Frozen("a"), Fact("a"), (1, 2), Point(1), "text", Colour.RED])
def test_what_nobody_can_change_may_be_shared(shared: object) -> None:
    come_back([shared, shared], list[type(shared)])  # type: ignore[misc] # made at run time


class Weights(NamedTuple):
    one: float
    other: float = 0


@dataclass(frozen=True)
class Measured:
    weight: float
    history: list[float] = field(default_factory=list, hash=False)


class Scale(msgspec.Struct, frozen=True):
    limit: float
    by_weight: dict[float, Measured | None]


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (3, float),
        ([0.5, 1, 2.0, 3], list[float]),
        ({1: 2.0, 2.0: 3}, dict[float, float]),
        ([Weights(1, 2.0), Weights(1.5)], list[Weights]),
        ({(1, 2.0): (3.5, 4)}, dict[tuple[int, float], tuple[float, float]]),
        (({1.5, 2.5}, {"a": 1, "b": 2.0}), tuple[set[float], dict[str, float]]),
        (
            {"a": (1.0, Measured(1, [2, 3.0]), {4: None, 5.0: Measured(6.0)})},
            dict[str, tuple[float, Measured, dict[float, Measured | None]]],
        ),
        (Scale(1, {2: Measured(3.5, [4]), 0.25: None, 5.0: Measured(2**60 + 1)}), Scale),
        ({Measured(1): 2, Measured(3.0): 1}, dict[Measured, float]),
        (2**63 + 1, float),
        ([Planet.EARTH, 1], list[Planet | float]),
    ],
)
def test_an_int_where_a_float_is_declared_comes_back_as_an_int(value: Any, hint: Any) -> None:
    """Type checkers allow it, everybody writes it, and replies show which of them it is."""
    come_back(value, hint)


def test_the_floats_of_each_state_are_numbered_from_the_first_on() -> None:
    likeness = Likeness()

    assert {1: 2} == likeness.compare([0.5, 2], [0.5, 2.0], "Bank.it")
    assert {0: 3} == likeness.compare(3, 3.0, "Bank.other")


def test_a_state_whose_class_puts_it_together_again_may_share() -> None:
    shared = [1]

    Likeness(may_share=True).compare([shared, shared], [[1], [1]], "Bank.snapshot()")


@dataclass
class Account:
    owner: str
    balance: float = 0.0


@dataclass
class Closing(Account):
    is_open: bool = field(default=True, init=False)  # stands in the class, until it is set


class Entry(msgspec.Struct):
    text: str
    amount: float = 0.0


class Twin(msgspec.Struct):
    """Has the fields of an entry, and is none."""

    text: str
    amount: float = 0.0


class Single(msgspec.Struct):
    amount: float


PLAIN_RECORDS = (Account, Closing, Entry, Single, Frozen, Fact)


@pytest.mark.parametrize("record", PLAIN_RECORDS)
def test_many_records_of_plain_values_come_back(record: Any) -> None:
    values = [record(0.5 if record is Single else "a") for _ in range(3)]

    come_back(values, list[record])
    come_back(dict(enumerate(values)), dict[int, record])


@pytest.mark.parametrize("record", [Account, Entry])
def test_the_floats_of_many_records_are_numbered_record_by_record(record: Any) -> None:
    come_back([record("a", 0.5), record("b", 1.5), record("c", 2)], list[record])
    come_back(([record("a", 0.5), record("b", 1.5)], [0.5, 3]), tuple[list[record], list[float]])


@pytest.mark.parametrize("record", [Account, Entry, Single])
def test_one_of_many_records_that_is_reached_twice_would_be_parted(record: Any) -> None:
    values = [record(0.5 if record is Single else "a") for _ in range(3)]

    with pytest.raises(ConfigurationError, match=rf"it\[3\] is a {record.__name__} that another"):
        come_back([*values, values[0]], list[record])
    with pytest.raises(
        ConfigurationError, match=rf"it\[1\]\[0\] is a {record.__name__} that anoth"
    ):
        come_back([values, values[1:]], list[list[record]])
    Likeness(may_share=True).compare([values[0], values[0]], values[1:], "Bank.snapshot()")


def test_what_was_put_beside_the_fields_of_one_of_many_records_is_found() -> None:
    accounts = [Account("a"), Account("b")]
    accounts[1].note = "remember"  # type: ignore[attr-defined] # this is what is tried

    with pytest.raises(ConfigurationError, match=r"Bank\.it\[1\]\.note is of the type str"):
        come_back(accounts, list[Account])


def test_what_is_beside_the_fields_is_found_where_a_default_of_the_class_is_left_out() -> None:
    accounts = [Closing("a"), Closing("b")]
    for account in accounts:
        account.note = "remember"  # type: ignore[attr-defined] # this is what is tried

    with pytest.raises(ConfigurationError, match=r"Bank\.it\[0\]\.note is of the type str"):
        come_back(accounts, list[Closing])


def test_a_type_that_one_of_many_records_does_not_keep_is_named() -> None:
    entries, mixed = [Entry("a"), Entry("b")], [Entry("a"), Twin("b")]
    with pytest.raises(
        ConfigurationError, match=r"it\[1\] is of the type Entry, comes back as Twin"
    ):
        Likeness().compare(entries, mixed, "Bank.it")
    with pytest.raises(
        ConfigurationError, match=r"it\[1\] is of the type Twin, comes back as Entry"
    ):
        Likeness().compare(mixed, entries, "Bank.it")
    entries = [Entry("a"), Entry(Rank.LOW)]  # type: ignore[arg-type] # this is what is tried
    with pytest.raises(
        ConfigurationError, match=r"it\[1\]\.text is of the type Rank, comes back as"
    ):
        Likeness().compare(entries, [Entry("a"), Entry("b")], "Bank.it")
