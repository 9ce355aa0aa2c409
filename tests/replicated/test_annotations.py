"""An attribute's type is found wherever its author wrote it."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, TypeVar

import msgspec
import pytest

from liferaft.errors import ConfigurationError
from liferaft.replicated.annotations import declared_types, shared_by_all

if TYPE_CHECKING:
    from decimal import Decimal

ThingT = TypeVar("ThingT")


class Item(msgspec.Struct):
    text: str


class Base:
    limit: int
    names: "ClassVar[list[str]]" = []  # noqa: RUF012 - ruff does not see into quotes

    def __init__(self) -> None:
        self.items: dict[int, Item] = {}
        self._inherited: "list[Item]" = []  # noqa: UP037 - people write so
        self.__hidden: set[int] = set()


class Derived(Base, Generic[ThingT]):
    extra: str = ""

    def __init__(this, count: int) -> None:  # noqa: N805 - any name will do
        super().__init__()
        text = """
this looks like the end of the method
"""
        local: int = len(text)
        if count:
            this.items: dict[int, list[Item]] = {}  # type: ignore[assignment] # the later one wins
        this.size: Final[int] = local
        this.kind: Final = "derived"
        this.bounded: Annotated[int, msgspec.Meta(ge=0)] = 0

        def later(this: Any) -> None:
            this.nothing: int = 1  # type: ignore[misc] # it is not the class's own self

        later(this)


def test_all_ways_of_writing_a_type_are_found() -> None:
    assert {
        "limit": int,
        "extra": str,
        "items": dict[int, list[Item]],
        "_inherited": list[Item],
        "_Base__hidden": set[int],
        "size": int,
        "bounded": Annotated[int, msgspec.Meta(ge=0)],
    } == declared_types(Derived)


def test_a_dataclass_says_all_at_the_class() -> None:
    @dataclasses.dataclass
    class Plain:
        seed: dataclasses.InitVar[int]
        amounts: dict[str, int]

    assert {"amounts": dict[str, int]} == declared_types(Plain)


def test_names_of_the_functions_around_a_class_are_seen() -> None:
    class Local:
        pass

    class Holder:
        def __init__(self) -> None:
            self.it: list[Local] = []

    assert {"it": list[Local]} == declared_types(Holder)


def made_without_source() -> type:
    names: dict[str, Any] = {}
    exec("class Made:\n    def __init__(self):\n        self.it: int = 1\n", names)  # noqa: S102 - no file has it
    made: type = names["Made"]
    return made


def test_where_there_is_no_source_only_the_class_can_say() -> None:
    assert {} == declared_types(made_without_source())


def in_init() -> type:
    class Holder:
        def __init__(self) -> None:
            self.it: Decimal | None = None

    return Holder


def at_class() -> type:
    class Holder:
        it: "Decimal"

    return Holder


def too_early() -> type:
    class Holder:
        def __init__(self) -> None:
            self.it: Decimal | None = None

    declared_types(Holder)

    class Decimal:
        pass

    return Holder


@pytest.mark.parametrize("make", [in_init, at_class, too_early])
def test_a_name_that_is_not_there_at_run_time_is_told(make: Callable[[], type]) -> None:
    with pytest.raises(ConfigurationError, match=r"Holder.* cannot be evaluated: .*'Decimal'"):
        declared_types(make())


def test_what_all_objects_share_is_told_from_constants_and_immutable_defaults() -> None:
    class Holder:
        prices: ClassVar[dict[str, int]] = {}
        table: Final[dict[str, int]] = {}
        unannotated = {"a": 1}  # noqa: RUF012 - people write so
        count: int = 0
        accounts: dict[str, int] = {}  # noqa: RUF012 - the trap itself

    assert {"accounts"} == shared_by_all(Holder)
