"""A class reflected once, and every fault in it named."""

import abc
import asyncio
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import inspect
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Generic, Literal, NamedTuple, Protocol, TypedDict, TypeVar

import msgspec
import pytest

from liferaft.errors import InterfaceError, InvalidArgument
from liferaft.rpc.interface import Interface, idempotent, oneway, raises

T = TypeVar("T")


@dataclasses.dataclass
class Item:
    id: int
    text: str


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Options(TypedDict, total=False):
    depth: int


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Tree(msgspec.Struct):
    value: int
    children: list["Tree"] = []


class Box(msgspec.Struct, Generic[T]):
    content: T


class Todo(Protocol):
    def add(self, text: str, priority: int = 1) -> Item:
        """Add an item."""

    def items(self) -> list[Item]: ...


def test_signatures_show_the_fields_of_the_classes_that_they_name() -> None:
    signatures = Interface.of(Todo).signatures

    assert {
        "add": "add(text: str, priority: int = 1) -> Item where Item = {id: int, text: str}",
        "items": "items() -> list[Item] where Item = {id: int, text: str}",
    } == signatures


def test_the_text_knows_neither_the_class_nor_async_nor_docstrings() -> None:
    class Other(abc.ABC):
        @abc.abstractmethod
        async def items(self) -> list[Item]: ...

        @abc.abstractmethod
        async def add(self, text: str, priority: int = 1) -> Item: ...

    assert Interface.of(Todo).signatures == Interface.of(Other).signatures


def test_inherited_methods_belong_to_the_interface_and_private_ones_do_not() -> None:
    class Base:
        state: dict[str, int]
        limit = 3

        def base(self) -> None: ...
        def _hidden(self, whatever) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001

    class Derived(Base):
        def own(self) -> None: ...

    assert ["base", "own"] == list(Interface.of(Derived).methods)


VALUES: list[tuple[Any, Any, str]] = [
    (None, None, "None"),
    (bool, True, "bool"),
    (int, -5, "int"),
    (float, 1.5, "float"),
    (str, "ä", "str"),
    (bytes, b"\x00\xff", "bytes"),
    (list[int], [1, 2], "list[int]"),
    (set[str], {"a"}, "set[str]"),
    (frozenset[str], frozenset({"a"}), "frozenset[str]"),
    (dict[str, list[int]], {"a": [1]}, "dict[str, list[int]]"),
    (dict[int, str], {1: "a"}, "dict[int, str]"),
    (tuple[int, str], (1, "a"), "tuple[int, str]"),
    (tuple[int, ...], (1, 2), "tuple[int, ...]"),
    (int | None, None, "None | int"),
    (None | int, 4, "None | int"),
    (int | str | list[int], [1], "int | list[int] | str"),
    (Literal["a", 1], "a", "Literal['a', 1]"),
    (Annotated[int, msgspec.Meta(ge=0)], 3, "int(ge=0)"),
    (dt.datetime, dt.datetime(2026, 1, 2, tzinfo=dt.UTC), "datetime"),
    (dt.date, dt.date(2026, 1, 2), "date"),
    (dt.timedelta, dt.timedelta(seconds=1.5), "timedelta"),
    (uuid.UUID, uuid.UUID(int=7), "UUID"),
    (decimal.Decimal, decimal.Decimal("1.10"), "Decimal"),
    (Any, {"a": [1, None]}, "Any"),
    (Item, Item(1, "a"), "Item where Item = {id: int, text: str}"),
    (Point, Point(1.0, 2.0), "Point where Point = (x: float, y: float = ...)"),
    (Options, {"depth": 3}, "Options where Options = {depth: int = ...}"),
    (Color, Color.BLUE, "Color where Color = {RED=1, BLUE=2}"),
    (
        Tree,
        Tree(1, [Tree(2)]),
        "Tree where Tree = {value: int, children: list[Tree] = ...}",
    ),
    (Box[int], Box(3), "Box[int] where Box[int] = {content: int}"),
]


@pytest.mark.parametrize(("annotation", "value", "text"), VALUES, ids=lambda case: str(case)[:30])
def test_every_type_that_msgspec_knows_travels(annotation: Any, value: Any, text: str) -> None:
    class Carrier:
        def carry(self, value: Any) -> Any: ...

    Carrier.carry.__annotations__.update({"value": annotation, "return": annotation})
    method = Interface.of(Carrier).methods["carry"]
    encoded = method.arguments.encode((value,))

    assert (value,) == method.arguments.decode(encoded)
    assert value == method.decode_result(bytes(encoded)[1:])
    head, _, tail = text.partition(" where ")
    assert f"carry(value: {head}) -> {text}" == method.text, tail


class Unannotated:
    def add(self, text) -> None: ...  # type: ignore[no-untyped-def] # noqa: ANN001


class NoReturn:
    def add(self, text: str): ...  # type: ignore[no-untyped-def] # noqa: ANN201


class OpenArguments:
    def add(self, *texts: str) -> None: ...


class OpenKeywords:
    def add(self, **texts: str) -> None: ...


class WithProperty:
    @property
    def size(self) -> int:
        raise NotImplementedError


class WithCachedProperty:
    @functools.cached_property
    def size(self) -> int:
        raise NotImplementedError


class WithStatic:
    @staticmethod
    def add(text: str) -> None: ...


class WithClassMethod:
    @classmethod
    def add(cls, text: str) -> None: ...


class Unresolvable:
    def add(self, item: "Missing") -> None: ...  # type: ignore[name-defined] # noqa: F821


class Plain:
    pass


class UnknownType:
    def add(self, item: Plain) -> None: ...


class UnknownInside:
    def items(self) -> dict[str, list[Plain]]:
        raise NotImplementedError


class Ambiguous:
    def add(self, item: Item | Tree) -> None: ...


class StreamOfPlain:
    def items(self) -> Iterator[Plain]:
        raise NotImplementedError


class StreamInside:
    def items(self) -> list[Iterator[int]]:
        raise NotImplementedError


class Generates:
    def items(self) -> list[int]:  # type: ignore[misc] # that is the fault
        yield 1


class BlocksForAwaited:
    async def items(self) -> Iterator[int]:
        raise NotImplementedError


class AwaitsForBlocking:
    def add(self, items: AsyncIterator[int]) -> None: ...


class OnewayStream:
    @oneway
    def add(self, items: Iterator[int]) -> None: ...


class Open(Generic[T]):
    def add(self, item: T) -> None: ...


class LoudOneway:
    @oneway
    def add(self) -> int:
        raise NotImplementedError


class DefaultOfNothing:
    def add(self, item: Any = object()) -> None: ...  # noqa: B008 - that is the fault


class RaisesNoException:
    @raises(int)  # type: ignore[arg-type]
    def add(self) -> None: ...


class NoSelf:
    def add() -> None: ...  # type: ignore[misc]


FAULTS = [
    (Unannotated, r"Unannotated\.add\(text\): the parameter is not annotated"),
    (NoReturn, r"NoReturn\.add: the return type is not annotated"),
    (OpenArguments, r"OpenArguments\.add\(\*texts\)"),
    (OpenKeywords, r"OpenKeywords\.add\(\*\*texts\)"),
    (WithProperty, r"WithProperty\.size is a property"),
    (WithCachedProperty, r"WithCachedProperty\.size is a cached_property"),
    (WithStatic, r"WithStatic\.add is a staticmethod"),
    (WithClassMethod, r"WithClassMethod\.add is a classmethod"),
    (Unresolvable, r"Unresolvable\.add: an annotation cannot be resolved: name 'Missing'"),
    (UnknownType, r"UnknownType\.add\(item\): a Plain cannot be sent"),
    (UnknownInside, r"UnknownInside\.items -> return: a Plain cannot be sent"),
    (Ambiguous, r"Ambiguous\.add\(item\): Type unions may not contain more than one dict-like"),
    (StreamOfPlain, r"StreamOfPlain\.items -> return: a Plain cannot be sent"),
    (StreamInside, r"StreamInside\.items -> return: a Iterator cannot be sent"),
    (Generates, r"Generates\.items is a generator"),
    (BlocksForAwaited, r"items -> return: this method is awaited: annotate it AsyncIterator"),
    (AwaitsForBlocking, r"add\(items\): this method blocks: annotate it Iterator"),
    (OnewayStream, r"OnewayStream\.add is one-way: .* and take no stream"),
    (Open, r"Open\.add\(item\): ~T leaves a type open"),
    (LoudOneway, r"LoudOneway\.add is one-way: it must return None, not int"),
    (DefaultOfNothing, r"DefaultOfNothing\.add\(item\): the default cannot be sent"),
    (RaisesNoException, r"RaisesNoException\.add declares <class 'int'>"),
    (NoSelf, r"NoSelf\.add has no self parameter"),
    (Plain, r"Plain has no public methods"),
    (len, r"no class"),
]


@pytest.mark.parametrize(("cls", "fault"), FAULTS, ids=lambda case: getattr(case, "__name__", ""))
def test_a_fault_is_named_by_class_method_and_parameter(cls: Any, fault: str) -> None:
    with pytest.raises(InterfaceError, match=fault):
        Interface.of(cls)


class Kinds:
    def call(self, first: int, /, second: int = 2, *, third: int = 3) -> int:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("args", "kwargs", "flat"),
    [
        ((1,), {}, (1, 2, 3)),
        ((1, 5), {}, (1, 5, 3)),
        ((1,), {"third": 9}, (1, 2, 9)),
        ((1,), {"third": 9, "second": 8}, (1, 8, 9)),
    ],
)
def test_arguments_are_put_in_the_order_of_the_signature(
    args: tuple[Any, ...], kwargs: dict[str, Any], flat: tuple[Any, ...]
) -> None:
    assert flat == Interface.of(Kinds).methods["call"].flatten(args, kwargs)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"fourth": 1}), ((), {"first": 1})]
)
def test_a_call_that_does_not_fit_raises_type_error(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match=r"call\(\)"):
        Interface.of(Kinds).methods["call"].flatten(args, kwargs)


def test_an_implementation_is_called_with_the_kinds_of_its_parameters() -> None:
    class Implementation:
        def call(self, first: int, /, second: int, *, third: int) -> int:
            return first * 100 + second * 10 + third

    method = Interface.of(Kinds).methods["call"]

    assert 123 == method.prepare(Implementation().call, (1, 2, 3))()


def test_an_implementation_without_a_method_or_with_another_shape_is_refused() -> None:
    class Lacking:
        def add(self, text: str, priority: int = 1) -> Item:
            raise NotImplementedError

    class Shorter(Lacking):
        def items(self, surplus: int) -> list[Item]:
            raise NotImplementedError

    interface = Interface.of(Todo)
    with pytest.raises(InterfaceError, match=r"Lacking\.items is missing: Todo declares items"):
        interface.check_implementation(Lacking())
    with pytest.raises(InterfaceError, match=r"Shorter\.items: missing a required argument"):
        interface.check_implementation(Shorter())


def test_a_wrong_value_deep_inside_is_found_by_its_path() -> None:
    class Deep:
        def add(self, items: list[Item]) -> None: ...

    arguments = Interface.of(Deep).methods["add"].arguments
    with pytest.raises(InvalidArgument, match=r"Deep\.add\(items\): Expected `int`.*`\[1\]\.id`"):
        arguments.decode(arguments.encode(([Item(1, "a"), {"id": "x", "text": "b"}],)))


def test_too_few_values_are_refused() -> None:
    arguments = Interface.of(Todo).methods["add"].arguments
    with pytest.raises(InvalidArgument, match=r"Todo\.add: Expected `array` of length 2, got 1"):
        arguments.decode(b"\x91\xa1a")


def test_marks_are_found() -> None:
    class Marked:
        @oneway
        def poke(self) -> None: ...

        @idempotent
        async def value(self) -> int:
            raise NotImplementedError

    methods = Interface.of(Marked).methods

    assert (True, False, False) == _marks(methods["poke"])
    assert (False, True, True) == _marks(methods["value"])
    assert "oneway poke() -> None" == methods["poke"].text


def _marks(method: Any) -> tuple[bool, bool, bool]:
    return (method.is_oneway, method.is_idempotent, method.is_async)


def test_exceptions_of_method_and_class_are_declared() -> None:
    class First(Exception):
        pass

    class Second(Exception):
        pass

    @raises(First)
    class Declaring:
        @raises(Second)
        def call(self) -> None: ...

    declared = Interface.of(Declaring).methods["call"].declared

    assert [Second, First] == [codec.cls for codec in declared]


def test_two_classes_of_one_name_stay_apart_in_the_text() -> None:
    first, second = (dataclasses.make_dataclass("Same", [("a", kind)]) for kind in (int, str))

    class Both:
        def call(self, first: Any, second: Any) -> None: ...

    Both.call.__annotations__.update({"first": first, "second": second})
    text = Interface.of(Both).methods["call"].text

    assert (
        "call(first: Same, second: Same~2) -> None where Same = {a: int}, Same~2 = {a: str}" == text
    )


def test_reflection_leaves_the_class_alone() -> None:
    before = dict(vars(Todo))
    Interface.of(Todo)

    assert before == dict(vars(Todo))
    assert not asyncio.iscoroutinefunction(Todo.add)
    assert inspect.signature(Todo.add).parameters.keys() == {"self", "text", "priority"}
