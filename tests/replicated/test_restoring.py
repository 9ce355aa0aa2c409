"""One object's state, piece by piece: what can come back does, and what cannot is refused early."""

import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import pytest

from liferaft.errors import ConfigurationError, InvariantViolated
from liferaft.replicated.likeness import Likeness
from liferaft.replicated.restoring import ObjectState, OwnState, PlainState, state_of


class Shop:
    """An object as people write them."""

    opened: bool

    def __init__(self) -> None:
        self._stock: dict[bytes, set[int]] = {}
        self.owner: str | None = None
        self.sold = 0
        self.name = "shop"


@dataclass
class Account:
    balance: float = 0
    notes: str = ""


class Careful:
    """Keeps a lock beside its state, and says what the state is."""

    def __init__(self) -> None:
        self.lines: list[str] = ["first"]
        self.lock = threading.Lock()

    def snapshot(self) -> tuple[str, ...]:
        return tuple(self.lines)

    def restore(self, state: tuple[str, ...]) -> None:
        self.lines = list(state)


def pieces_of(state: ObjectState) -> dict[str, bytes]:
    return dict(zip(state.names(), state.pieces(Likeness()), strict=True))


def move(source: object, target: object) -> None:
    """Bring the state of one object to another, as a snapshot does."""
    writer, reader = state_of(source), state_of(target)
    reader.install({name: reader.decode(name, body) for name, body in pieces_of(writer).items()})


def test_the_attributes_come_back_in_their_order_with_their_types() -> None:
    shop, other = Shop(), Shop()
    state = state_of(shop)
    del shop.name
    shop._stock[b"\xff"] = {3, 1}
    shop._stock[b""] = set()
    shop.opened = True
    shop.name = "again"

    reader = state_of(other)
    reader.install({name: reader.decode(name, body) for name, body in pieces_of(state).items()})

    assert list(vars(shop).items()) == list(vars(other).items())
    assert list(shop._stock) == list(other._stock)


def test_whoever_holds_the_object_sees_the_restored_state() -> None:
    shop, other = Shop(), Shop()
    attributes = vars(other)
    shop.owner = "ann"
    other.sold = 7

    move(shop, other)

    assert ("ann", 0) == (attributes["owner"], other.sold)


def test_a_count_without_annotation_may_become_a_fraction() -> None:
    shop, other = Shop(), Shop()
    state = state_of(shop)
    shop.sold = 0.5  # type: ignore[assignment] # nobody checks the types of such a class

    reader = state_of(other)
    reader.install({name: reader.decode(name, body) for name, body in pieces_of(state).items()})

    assert 0.5 == other.sold


def test_a_dataclass_is_an_object_like_any_other() -> None:
    account, other = Account(), Account(3.5, "x")

    move(account, other)

    assert Account() == other
    assert type(other.balance) is int


def test_attributes_that_are_absent_are_told() -> None:
    shop = Shop()
    state = state_of(shop)
    del shop.owner

    assert ("opened", "owner") == state.absent()


def test_an_attribute_that_came_later_is_not_lost_silently() -> None:
    shop = Shop()
    state = state_of(shop)
    shop.surprise = 1  # type: ignore[attr-defined] # this is what is tried

    with pytest.raises(ConfigurationError, match=r"Shop\.surprise came after the object was made"):
        pieces_of(state)


def test_a_value_that_its_type_forbids_is_told_when_the_snapshot_is_taken() -> None:
    shop = Shop()
    state = state_of(shop)
    shop.name = None  # type: ignore[assignment] # this is what is tried

    with pytest.raises(ConfigurationError, match=r"Shop\.name could not be restored .*got `None`"):
        pieces_of(state)


def test_a_number_that_is_too_large_for_msgpack_is_told() -> None:
    shop = Shop()
    state = state_of(shop)
    shop.sold = 2**64

    with pytest.raises(ConfigurationError, match=r"Shop\.sold could not be restored"):
        pieces_of(state)


def test_the_pieces_of_another_class_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"has Shop\.lines, and the class has no such"):
        state_of(Shop()).decode("lines", b"\x90")
    with pytest.raises(ConfigurationError, match=r"has Careful\.sold, and the class has snapshot"):
        state_of(Careful()).decode("sold", b"\x01")
    with pytest.raises(ConfigurationError, match=r"snapshot's Shop\.name does not fit the class"):
        state_of(Shop()).decode("name", b"\x92\x01\x80")


class Untyped:
    def __init__(self) -> None:
        self.items = {}  # type: ignore[var-annotated] # this is what is tried


class Undecided:
    def __init__(self) -> None:
        self.owner = None


class Locked:
    def __init__(self) -> None:
        self.lock: threading.Thread | None = None


class Counting:
    def __init__(self) -> None:
        self.counts: dict[str, int] = defaultdict(int)


class Linked:
    def __init__(self) -> None:
        self.one: list[int] = []
        self.other: list[int] = self.one


class Slotted:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: int = 0


class Board(dict[str, int]):
    pass


class Hollow:
    __slots__ = ()


class Record(msgspec.Struct):
    value: int = 0


class Common:
    accounts: dict[str, int] = {}  # noqa: RUF012 - this is what is tried


class Halfway:
    def snapshot(self) -> int:
        return 1


class OtherHalf:
    def restore(self, state: int) -> None: ...


class Unannotated(Halfway):
    def restore(self, state) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001 - it is tried


class Parameterless(Halfway):
    def restore(self) -> None: ...


class Loose(Halfway):
    def restore(self, state: Any) -> None: ...


class Misfit(Halfway):
    def restore(self, state: str) -> None: ...


class Failing(Halfway):
    def restore(self, state: int) -> None:
        raise ZeroDivisionError("no")


class Silent:
    def snapshot(self) -> int:
        raise ZeroDivisionError("no")

    def restore(self, state: int) -> None: ...


class Forgetful:
    def __init__(self) -> None:
        self.value = 1

    def snapshot(self) -> int:
        return self.value

    def restore(self, state: int) -> None:
        self.value = state + 1


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (Untyped, r"Untyped\.items could not .* it is a dict without annotation: annotate"),
        (Undecided, r"Undecided\.owner could not .* it is a NoneType without annotation"),
        (Locked, r"Locked\.lock could not .* msgspec does not know Thread"),
        (Counting, r"Counting\.counts is of the type defaultdict, comes back as dict"),
        (Linked, r"Linked\.other is a list that another part of the state holds too"),
        (Slotted, "Slotted keeps state in __slots__: take them out, or give the class snapshot"),
        (Board, "Board keeps state in a built-in type"),
        (Hollow, "Hollow keeps state in __slots__"),
        (Record, "Record keeps state in a built-in type"),
        (Common, "Common keeps state in accounts, which all of its objects share"),
        (Halfway, r"Halfway has snapshot\(\) and no restore\(\)"),
        (OtherHalf, r"OtherHalf has restore\(\) and no snapshot\(\)"),
        (Unannotated, r"Unannotated\.restore must be a method .* annotated"),
        (Parameterless, r"Parameterless\.restore must be a method"),
        (Loose, r"Loose\.snapshot\(\) could not .* Any does not say"),
        (Misfit, r"Misfit\.snapshot\(\) could not .* Expected `str`, got `int`"),
        (Failing, r"Failing\.restore\(\) failed .* ZeroDivisionError"),
        (Silent, r"Silent\.snapshot\(\) failed: ZeroDivisionError"),
        (Forgetful, r"Forgetful\.restore\(\) does not bring back"),
    ],
)
def test_what_could_not_be_restored_is_refused_at_once(cls: type, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        state_of(cls())


def test_what_only_vars_would_not_show_may_be_told_by_the_class_itself() -> None:
    class Own(Slotted):
        __slots__ = ()

        def snapshot(self) -> int:
            return self.value

        def restore(self, state: int) -> None:
            self.value = state

    one, other = Own(), Own()
    one.value = 5

    move(one, other)

    assert 5 == other.value


def test_constants_and_immutable_defaults_of_the_class_are_no_state_that_is_shared() -> None:
    class Priced:
        prices: ClassVar[dict[str, int]] = {"salt": 1}
        count: int = 0

    priced, other = Priced(), Priced()
    state = state_of(priced)
    priced.count += 2

    reader = state_of(other)
    reader.install({name: reader.decode(name, body) for name, body in pieces_of(state).items()})

    assert 2 == other.count


def test_slots_that_hold_only_the_attributes_are_fine() -> None:
    class Open:
        __slots__ = "__dict__"  # noqa: PLC0205 - people write so

        def __init__(self) -> None:
            self.value: int = 1

    class Weak:
        __slots__ = ("__dict__", "__weakref__")

    assert ("value",) == state_of(Open()).names()
    assert () == state_of(Weak()).names()


def test_a_default_of_the_class_that_each_object_replaces_is_not_shared() -> None:
    class Own:
        accounts: dict[str, int] = {}  # noqa: RUF012 - this is what is tried

        def __init__(self) -> None:
            self.accounts = {}

    assert ("accounts",) == state_of(Own()).names()


def test_an_annotation_counts_for_more_than_the_first_value() -> None:
    class Owned:
        def __init__(self) -> None:
            self.owner: str | None = ""

    owned = Owned()
    state = state_of(owned)
    owned.owner = None

    assert ["owner"] == list(pieces_of(state))


def test_a_class_s_own_state_comes_back_through_restore() -> None:
    careful, other = Careful(), Careful()
    careful.lines.append("second")
    lock = other.lock

    move(careful, other)

    assert (["first", "second"], lock) == (other.lines, other.lock)
    assert isinstance(state_of(careful), OwnState)
    assert isinstance(state_of(Shop()), PlainState)


def test_what_a_class_s_own_state_shares_is_its_own_business() -> None:
    class Twins:
        def __init__(self) -> None:
            self.both: list[int] = []

        def snapshot(self) -> list[list[int]]:
            return [self.both, self.both]

        def restore(self, state: list[list[int]]) -> None:
            self.both = state[0]

    state = state_of(twins := Twins())
    likeness = Likeness()
    likeness.note(twins.both, "Bank.it")

    assert 1 == len(list(state.pieces(likeness)))


def test_a_restore_that_fails_later_ends_the_node() -> None:
    class Picky(Careful):
        def restore(self, state: tuple[str, ...]) -> None:
            if len(state) > 1:
                raise ValueError("too much")

    state = state_of(Picky())

    with pytest.raises(InvariantViolated, match=r"Picky\.restore\(\) failed .*too much"):
        state.install({"snapshot()": ("a", "b")})
