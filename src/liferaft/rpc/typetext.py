"""Types as text, so that two sides can compare what they understand by an annotation.

A user's class is written by its name, and once more with its fields after `where`, so that a field
that was added, renamed or retyped shows as a difference too. The text never holds an address, a
module or anything else that differs between two processes with the same source.

Sees annotations only; it never reads or imports what came over the wire.
"""

import enum
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect

from liferaft.rpc.arrays import ARRAY_NAME, is_array_type
from liferaft.rpc.reference_types import Marker, ReferenceTarget

Fielded = (
    inspect.StructType | inspect.DataclassType | inspect.TypedDictType | inspect.NamedTupleType
)

PLAIN_NAMES: dict[type[inspect.Type], str] = {
    inspect.AnyType: "Any",
    inspect.NoneType: "None",
    inspect.BoolType: "bool",
    inspect.IntType: "int",
    inspect.FloatType: "float",
    inspect.StrType: "str",
    inspect.BytesType: "bytes",
    inspect.ByteArrayType: "bytearray",
    inspect.MemoryViewType: "memoryview",
    inspect.DateTimeType: "datetime",
    inspect.TimeType: "time",
    inspect.DateType: "date",
    inspect.TimeDeltaType: "timedelta",
    inspect.UUIDType: "UUID",
    inspect.DecimalType: "Decimal",
    inspect.RawType: "Raw",
    inspect.ExtType: "Ext",
    inspect.CollectionType: "Collection",
    inspect.ListType: "list",
    inspect.SetType: "set",
    inspect.FrozenSetType: "frozenset",
}
CONSTRAINTS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "tz")


class UnsupportedType(Exception):
    """The type cannot travel; the message says which part of it. Never leaves rpc."""


class TypeWriter:
    """Writes the types of one signature and collects the classes that they name.

    `write_target` writes what a reference must lead to: the methods of an interface, or what a
    function takes and gives.
    """

    def __init__(self, write_target: "Callable[[TypeWriter, ReferenceTarget], str]") -> None:
        self._write_target = write_target
        self._names: dict[Any, str] = {}
        self._definitions: dict[str, str] = {}

    def write(self, annotation: object) -> str:
        """Return `annotation` as text; raises `UnsupportedType` when it cannot travel."""
        try:
            known = inspect.type_info(annotation)
            # Building the decoder finds what reflection alone lets pass, such as a union whose
            # members cannot be told apart.
            msgspec.msgpack.Decoder(annotation)
        except (TypeError, ValueError, NameError, RecursionError) as error:
            raise UnsupportedType(str(error)) from error
        return self._text(known)

    def definitions(self) -> str:
        """Return the ` where ...` part for all classes written so far, or nothing."""
        if not self._definitions:
            return ""
        parts = [f"{name} = {body}" for name, body in sorted(self._definitions.items())]
        return " where " + ", ".join(parts)

    def _text(self, known: inspect.Type) -> str:
        if isinstance(known, inspect.Metadata):
            return self._text(known.type)
        if isinstance(known, inspect.CustomType) and issubclass(known.cls, Marker):
            return self._reference(known.cls.target)
        if isinstance(known, inspect.CustomType) and is_array_type(known.cls):
            return ARRAY_NAME
        if isinstance(known, inspect.CustomType):
            raise UnsupportedType(f"a {known.cls.__qualname__} cannot be sent")
        for kind, write in _WRITERS:
            if isinstance(known, kind):
                return write(self, known) + _constraints(known)
        raise UnsupportedType(f"{known} cannot be sent")

    def _reference(self, target: ReferenceTarget) -> str:
        if target.is_function:
            return self._write_target(self, target)
        cls = target.interface_class
        return f"Ref[{self._named(cls, lambda: self._write_target(self, target))}]"

    def _plain(self, known: Any) -> str:
        name = PLAIN_NAMES[type(known)]
        if not isinstance(known, inspect.CollectionType):
            return name
        return f"{name}[{self._text(known.item_type)}]"

    def _tuple(self, known: Any) -> str:
        items = ", ".join(self._text(item) for item in known.item_types)
        return f"tuple[{items or '()'}]"

    def _any_tuple(self, known: Any) -> str:
        return f"tuple[{self._text(known.item_type)}, ...]"

    def _dict(self, known: Any) -> str:
        return f"dict[{self._text(known.key_type)}, {self._text(known.value_type)}]"

    def _union(self, known: Any) -> str:
        # Sorted, because `int | None` and `None | int` are the same to both sides.
        return " | ".join(sorted(self._text(member) for member in known.types))

    def _literal(self, known: Any) -> str:
        return f"Literal[{', '.join(sorted(map(repr, known.values)))}]"

    def _enum(self, known: Any) -> str:
        members: list[enum.Enum] = list(known.cls)
        values = ", ".join(f"{member.name}={member.value!r}" for member in members)
        return self._named(known.cls, lambda: f"{{{values}}}")

    def _fielded(self, known: Any) -> str:
        return self._named(known.cls, lambda: self._fields(known))

    def _fields(self, known: Any) -> str:
        fields = [
            f"{field.encode_name}: {self._text(field.type)}" + ("" if field.required else " = ...")
            for field in known.fields
        ]
        if getattr(known, "tag", None) is not None:
            fields.insert(0, f"{known.tag_field}: {known.tag!r}")
        if isinstance(known, inspect.NamedTupleType) or getattr(known, "array_like", False):
            return f"({', '.join(fields)})"
        return f"{{{', '.join(fields)}}}"

    def _named(self, cls: Any, write_body: Callable[[], str]) -> str:
        if cls in self._names:
            return self._names[cls]
        name = class_name(cls)
        taken = sum(1 for other in self._names.values() if other.partition("~")[0] == name)
        if taken:
            name = f"{name}~{taken + 1}"
        # Named before its fields are written: a class may hold itself.
        self._names[cls] = name
        self._definitions[name] = write_body()
        return name


def class_name(cls: Any) -> str:
    """Return the name of a class, or of a generic one with its arguments, without modules."""
    origin = getattr(cls, "__origin__", None)
    if origin is None:
        return str(cls.__name__)
    arguments = ", ".join(getattr(part, "__name__", str(part)) for part in cls.__args__)
    return f"{origin.__name__}[{arguments}]"


def _constraints(known: inspect.Type) -> str:
    found = [
        f"{name}={value!r}"
        for name in CONSTRAINTS
        if (value := getattr(known, name, None)) is not None
    ]
    return f"({', '.join(found)})" if found else ""


_WRITERS: tuple[tuple[Any, Callable[[TypeWriter, Any], str]], ...] = (
    (Fielded, TypeWriter._fielded),  # noqa: SLF001 - the class's own table
    (inspect.EnumType, TypeWriter._enum),  # noqa: SLF001
    (inspect.UnionType, TypeWriter._union),  # noqa: SLF001
    (inspect.LiteralType, TypeWriter._literal),  # noqa: SLF001
    (inspect.TupleType, TypeWriter._tuple),  # noqa: SLF001
    (inspect.VarTupleType, TypeWriter._any_tuple),  # noqa: SLF001
    (inspect.DictType, TypeWriter._dict),  # noqa: SLF001
    (tuple(PLAIN_NAMES), TypeWriter._plain),  # noqa: SLF001
)
