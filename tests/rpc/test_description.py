"""An interface described, made anew from its description, and written down as source."""

import ast
import dataclasses
import datetime as dt
import enum
import inspect
import sys
import types
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Protocol,
    TypedDict,
    TypeVar,
)

import msgspec
import pytest
from msgspec import Meta

from liferaft.errors import ProtocolError
from liferaft.rpc.description import (
    Description,
    EnumDescription,
    FieldDescription,
    FieldsDescription,
    MethodDescription,
    Named,
    ParameterDescription,
    Plain,
    describe,
)
from liferaft.rpc.interface import Interface, idempotent, oneway, raises
from liferaft.rpc.source import python_source
from liferaft.rpc.synthesis import interface_class

ItemT = TypeVar("ItemT")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Tree:
    """A tree of numbers."""

    value: int
    left: "Tree | None" = None
    tags: list[str] = dataclasses.field(default_factory=list)
    id: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)


class Page(msgspec.Struct, Generic[ItemT], tag="page"):
    items: list[ItemT]


class Renamed(msgspec.Struct, tag="other", rename="camel", forbid_unknown_fields=True):
    the_items: list[int]
    at_most: int = 3


class Point(msgspec.Struct, array_like=True):
    x: int
    y: int = 0


class Options(TypedDict):
    depth: int
    name: NotRequired[str]


class Pair(NamedTuple):
    first: int
    second: str = "y"


@dataclasses.dataclass(kw_only=True)
class Late:
    first: int = 1
    second: str


class Broken(Exception):
    """It does not work."""

    code: int


class Branch(Protocol):
    """A part of a tree, which stays where it is."""

    async def parent(self) -> "Branch | None": ...
    async def visit(self, visitor: "Visitor") -> None: ...


class Visitor(Protocol):
    @oneway
    def seen(self, tree: Tree) -> None: ...


class Everything(Protocol):
    """All that an interface can have.

    With "quotes", a \\ and a second line.
    """

    def plain(
        self, x: int, /, y: Annotated[str, Meta(min_length=2)] = "ab", *, color: Color = Color.RED
    ) -> Tree:
        """Do something plain."""

    @idempotent
    async def union(self, page: Page[str] | Renamed | None = None) -> tuple[int, ...]: ...
    @raises(Broken)
    def classes(
        self,
        options: Options,
        pair: Pair,
        point: Point,
        late: Late,
        tree: Tree = Tree(3),  # noqa: B008
    ) -> Iterator[Tree]: ...
    def containers(  # noqa: PLR0917 - one of each kind
        self,
        one: Literal["a", 3],
        some: set[int],
        fixed: frozenset[str],
        row: tuple[int, str],
        none: tuple[()],
        table: dict[str, list[Level]],
    ) -> Level: ...
    def moments(
        self,
        at: Annotated[dt.datetime, Meta(tz=True)],
        since: dt.date = dt.date(2020, 1, 2),
        price: Decimal = Decimal("1.5"),
    ) -> bytes: ...
    def references(
        self, branches: list[Branch], after: Callable[[int, Tree], Awaitable[None]]
    ) -> dict[str, Branch]: ...
    def functions(self, plain: Callable[[], int] | None = None) -> Callable[[str], Branch]: ...
    def streams(self, numbers: AsyncIterator[int]) -> AsyncIterator[bytes]: ...
    @oneway
    def tell(self, what: Any, number: int | str = 4) -> None: ...


class Simple(Protocol):
    def add(self, text: str, priority: int = 1) -> Tree: ...


def carried(interface: type) -> Description:
    """Return what another process gets of the description."""
    described = describe("thing", Interface.of(interface))
    return msgspec.msgpack.decode(msgspec.msgpack.encode(described), type=Description)


def imported(source: str) -> types.ModuleType:
    module = types.ModuleType("generated_interface")
    sys.modules[module.__name__] = module
    exec(source, module.__dict__)  # noqa: S102 - what a user would import
    return module


def described_by(*methods: MethodDescription, **classes: Any) -> Description:
    return Description("thing", "Thing", "", list(methods), classes)


def method(name: str = "run", *, parameter: str = "x", result: Any = None) -> Any:
    parameters = [ParameterDescription(parameter, "any", Plain("int"))]
    return MethodDescription(
        name,
        "",
        "",
        parameters,
        result or Plain("int"),
        [],
        is_async=False,
        is_oneway=False,
        is_idempotent=False,
    )


def test_an_interface_made_from_its_description_has_the_same_signatures() -> None:
    made = Interface.of(interface_class(carried(Everything)))

    assert Interface.of(Everything).signatures == made.signatures


def test_it_has_the_same_marks_docstrings_and_exceptions() -> None:
    made = interface_class(carried(Everything))
    methods = Interface.of(made).methods

    assert (Everything.__doc__ or "").splitlines()[0] == (made.__doc__ or "").splitlines()[0]
    assert "Do something plain." == methods["plain"].function.__doc__
    assert methods["union"].is_idempotent
    assert methods["union"].is_awaited
    assert methods["tell"].is_oneway
    assert not methods["classes"].is_idempotent
    (codec,) = methods["classes"].declared
    assert ("Broken", "It does not work.") == (codec.name, codec.cls.__doc__)


def test_values_of_its_classes_are_what_the_originals_are_on_the_wire() -> None:
    method = Interface.of(interface_class(carried(Everything))).methods["plain"]
    tree = msgspec.msgpack.encode(Tree(1, Tree(2), ["a"]))

    made = method.decode_result(tree)

    assert ("Tree", 2, ["a"]) == (type(made).__name__, made.left.value, made.tags)
    assert msgspec.msgpack.decode(tree) == msgspec.msgpack.decode(msgspec.msgpack.encode(made))


def test_a_default_that_the_host_makes_is_left_out_when_it_is_not_given() -> None:
    method = Interface.of(interface_class(carried(Everything))).methods["plain"]
    cls = type(method.decode_result(msgspec.msgpack.encode(Tree(1))))

    assert {"value": 1, "left": None, "tags": []} == msgspec.to_builtins(cls(1))


def test_two_classes_of_one_name_stay_two() -> None:
    def inner() -> type:
        @dataclasses.dataclass
        class Tree:
            other: str

        return Tree

    namespace: dict[str, Any] = {}

    def both(self: object, one: Tree, two: Any) -> None: ...

    both.__annotations__["two"] = inner()
    namespace["both"] = both
    interface = type("Both", (), namespace)

    made = Interface.of(interface_class(carried(interface)))

    assert Interface.of(interface).signatures == made.signatures
    assert 2 == len(carried(interface).classes)


def test_the_source_of_an_interface_declares_the_same() -> None:
    source = python_source(carried(Everything))
    module = imported(source)

    made = Interface.of(module.Everything).signatures
    expected = {
        name: text.replace("Page[str]", "Page_str")  # a generic class is written out
        for name, text in Interface.of(Everything).signatures.items()
    }
    assert expected == made
    assert inspect.getdoc(Everything) == ast.get_docstring(ast.parse(source).body[-1])  # type: ignore[arg-type]


def test_the_source_is_what_one_would_write() -> None:
    shown = python_source(carried(Simple))

    assert shown.endswith(
        "class Simple(Protocol):\n    def add(self, text: str, priority: int = 1) -> Tree: ...\n"
    )


def test_an_interface_made_from_a_description_says_that_it_is_none_to_call() -> None:
    made = interface_class(carried(Simple))()

    with pytest.raises(NotImplementedError, match="connect to a host"):
        made.add("milk")


@pytest.mark.parametrize(
    "name", ["not a name", "x: __import__('os')", "class", "__init__", "", "a.b", "x=1,y"]
)
def test_what_is_no_name_is_refused_wherever_it_stands(name: str) -> None:
    field = FieldDescription(name, name, Plain("int"), is_required=True)
    faults = [
        described_by(method(name)),
        described_by(method(parameter=name)),
        described_by(Point=FieldsDescription("Point", "", "struct", [field])),
        described_by(Color=EnumDescription("Color", "", "Enum", {name: 1})),
        described_by(Point=FieldsDescription(name, "", "struct", [])),
        Description("thing", name, "", [method()], {}),
    ]

    for fault in faults:
        with pytest.raises(ProtocolError):
            interface_class(fault)
        with pytest.raises(ProtocolError):
            python_source(fault)


@pytest.mark.parametrize(
    "text", ['innocent """\nimport os\n"""', "a\0b", "a\rb\x0cc", "ends with \\", 'ends with "']
)
def test_a_docstring_cannot_end_itself(text: str) -> None:
    described = Description("thing", "Thing", text, [method()], {})

    tree = ast.parse(python_source(described))

    assert text == ast.get_docstring(tree.body[-1])  # type: ignore[arg-type]
    assert ["ImportFrom", "ClassDef"] == [type(node).__name__ for node in tree.body]


@pytest.mark.parametrize(
    "fault",
    [
        described_by(method(result=Named("Missing"))),
        described_by(method(result=Plain("socket"))),
        described_by(method(result=Plain("int", {"nonsense": 1}))),
        described_by(Color=EnumDescription("Color", "", "Flag", {"A": 1})),
        described_by(Color=EnumDescription("Color", "", "IntEnum", {"A": "x"})),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(fault: Description) -> None:
    with pytest.raises(ProtocolError):
        interface_class(fault)
