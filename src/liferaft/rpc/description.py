"""What a host tells of an object to whoever has not its interface: names, types and docstrings.

A description is plain data that travels like any other result. It is made from an `Interface`
(`describe`); a class is made from it again in `liferaft.rpc.synthesis`, Python source in
`liferaft.rpc.source`. It never holds code, nor a name that anyone imports.
"""

import enum
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from liferaft.errors import InterfaceError
from liferaft.rpc.arrays import ARRAY_NAME, is_array_type
from liferaft.rpc.interface import Interface, MethodSignature, StreamType
from liferaft.rpc.reference_types import Marker, ReferenceTarget, replaced
from liferaft.rpc.typetext import CONSTRAINTS, PLAIN_NAMES, Fielded, class_name


class Plain(msgspec.Struct, frozen=True, tag="plain"):
    """A type without parts, by its name: "int", "str", "datetime", "Any", "None" ..."""

    name: str
    constraints: dict[str, Any] = {}


class Items(msgspec.Struct, frozen=True, tag="items"):
    """Many of one type: "list", "set", "frozenset", "Collection", or "tuple" of any length."""

    name: str
    item: "Type"
    constraints: dict[str, Any] = {}


class Row(msgspec.Struct, frozen=True, tag="row"):
    """A tuple with a type for each place."""

    items: list["Type"]


class Mapped(msgspec.Struct, frozen=True, tag="dict"):
    """A dictionary."""

    key: "Type"
    value: "Type"
    constraints: dict[str, Any] = {}


class Union(msgspec.Struct, frozen=True, tag="union"):
    """Any one of several types."""

    members: list["Type"]


class Literal(msgspec.Struct, frozen=True, tag="literal"):
    """Any one of these values."""

    values: list[int | str | None]


class Named(msgspec.Struct, frozen=True, tag="named"):
    """A class that the description defines, by its key in `Description.classes`."""

    key: str


class Reference(msgspec.Struct, frozen=True, tag="reference"):
    """An object that stays where it is, by the key of its interface in `Description.classes`."""

    key: str


class Function(msgspec.Struct, frozen=True, tag="function"):
    """A function that stays where it is: what it takes, by place, and what it gives."""

    parameters: list["Type"]
    result: "Type"
    is_async: bool


class Stream(msgspec.Struct, frozen=True, tag="stream"):
    """Items that come one by one; whether they are awaited."""

    item: "Type"
    is_async: bool


Type = Plain | Items | Row | Mapped | Union | Literal | Named | Reference | Function | Stream


class FieldDescription(msgspec.Struct, frozen=True):
    """A field of a class. `default` is unset where there is none, or where it is made anew."""

    name: str
    encode_name: str
    type: Type
    is_required: bool
    default: Any = msgspec.UNSET


class FieldsDescription(msgspec.Struct, frozen=True, tag="fields"):
    """A class with fields. `kind` is "dataclass", "struct", "typed_dict" or "named_tuple".

    It travels as a map, or as an array if `is_array`. `tag` tells it from others of a union.
    """

    name: str
    doc: str
    kind: str
    fields: list[FieldDescription]
    is_array: bool = False
    tag_field: str | None = None
    tag: int | str | None = None
    forbids_unknown: bool = False


class EnumDescription(msgspec.Struct, frozen=True, tag="enum"):
    """An enumeration, of "Enum", "IntEnum" or "StrEnum"."""

    name: str
    doc: str
    kind: str
    members: dict[str, int | str]


class ParameterDescription(msgspec.Struct, frozen=True):
    """A parameter. `kind` is "positional", "any" or "keyword"; `default` may be unset."""

    name: str
    kind: str
    type: Type
    default: Any = msgspec.UNSET


class ExceptionDescription(msgspec.Struct, frozen=True):
    """An exception that a method declares, with its annotated attributes."""

    name: str
    doc: str
    fields: dict[str, Type]


class MethodDescription(msgspec.Struct, frozen=True):
    """One method. `signature` is the text that both sides compare when they bind."""

    name: str
    doc: str
    signature: str
    parameters: list[ParameterDescription]
    result: Type
    raises: list[ExceptionDescription]
    is_async: bool
    is_oneway: bool
    is_idempotent: bool


class InterfaceDescription(msgspec.Struct, frozen=True, tag="interface"):
    """The interface of objects that travel by reference."""

    name: str
    doc: str
    methods: list[MethodDescription]


ClassDescription = FieldsDescription | EnumDescription | InterfaceDescription


class Description(msgspec.Struct, frozen=True):
    """A hosted object: its name, and the interface through which it is called.

    `classes` has every class that a signature names, under a key that is unique in it.
    """

    object: str
    interface: str
    doc: str
    methods: list[MethodDescription]
    classes: dict[str, ClassDescription]


PARAMETER_KINDS: Final[Mapping[str, Any]] = {
    "positional": inspect.Parameter.POSITIONAL_ONLY,
    "any": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "keyword": inspect.Parameter.KEYWORD_ONLY,
}
_KIND_NAMES: Final = {kind: name for name, kind in PARAMETER_KINDS.items()}
_FIELDED_KINDS: Final[Sequence[tuple[type, str]]] = (
    (types.StructType, "struct"),
    (types.TypedDictType, "typed_dict"),
    (types.NamedTupleType, "named_tuple"),
    (types.DataclassType, "dataclass"),
)


def describe(name: str, interface: Interface) -> Description:
    """Return the description of an object that is hosted under `name`."""
    writer = _TypeDescriber()
    methods = [_describe_method(writer, method) for method in interface.methods.values()]
    return Description(
        object=name,
        interface=interface.name,
        doc=_doc(interface.cls),
        methods=methods,
        classes=writer.classes,
    )


def _describe_method(writer: "_TypeDescriber", method: MethodSignature) -> MethodDescription:
    return MethodDescription(
        name=method.name,
        doc=_doc(method.function),
        signature=method.text,
        parameters=[
            ParameterDescription(
                parameter.name,
                _KIND_NAMES[parameter.kind],
                writer.annotation(parameter.annotation),
                msgspec.UNSET
                if parameter.default is parameter.empty
                else _plain(parameter.default),
            )
            for parameter in method.signature.parameters.values()
        ],
        result=writer.annotation(method.signature.return_annotation),
        raises=[
            ExceptionDescription(
                codec.name,
                _doc(codec.cls),
                {name: writer.annotation(hint) for name, hint in codec.fields.items()},
            )
            for codec in method.declared
        ],
        is_async=method.is_awaited,
        is_oneway=method.is_oneway,
        is_idempotent=method.is_idempotent,
    )


def _describe_parameter(
    writer: "_TypeDescriber", parameter: inspect.Parameter
) -> ParameterDescription:
    has_default = parameter.default is not parameter.empty
    return ParameterDescription(
        parameter.name,
        _KIND_NAMES[parameter.kind],
        writer.annotation(parameter.annotation),
        _plain(parameter.default) if has_default else msgspec.UNSET,
    )


class _TypeDescriber:
    """Describes types, and collects the classes that they name."""

    def __init__(self) -> None:
        self.classes: dict[str, ClassDescription] = {}
        self._keys: dict[Any, str] = {}

    def annotation(self, hint: Any) -> Type:
        """Return what describes an annotation that an interface has."""
        stream = StreamType.of(hint)
        if stream is not None:
            return Stream(self.known(types.type_info(stream.item)), stream.is_async)
        return self.known(types.type_info(replaced(hint, lambda target: target.marker)))

    def _reference(self, target: ReferenceTarget) -> Type:
        interface = Interface.of_target(target)
        if target.is_function:
            call = _describe_method(self, interface.methods["call"])
            types_taken = [parameter.type for parameter in call.parameters]
            return Function(types_taken, call.result, call.is_async)
        return Reference(self._key(target.interface_class, self._interface, interface))

    def _interface(self, name: str, interface: Any) -> InterfaceDescription:
        methods = [_describe_method(self, method) for method in interface.methods.values()]
        return InterfaceDescription(name, _doc(interface.cls), methods)

    def known(self, info: types.Type) -> Type:  # noqa: C901, PLR0911 - one each
        """Return what describes a type that msgspec has reflected."""
        match info:
            case types.Metadata():
                return self.known(info.type)
            case types.CustomType(cls=cls) if is_array_type(cls):
                return Plain(ARRAY_NAME)
            case types.CustomType(cls=marker) if issubclass(marker, Marker):
                return self._reference(marker.target)
            case types.EnumType():
                return Named(self._key(info.cls, self._enum, info))
            case types.UnionType():
                return Union([self.known(member) for member in info.types])
            case types.LiteralType():
                return Literal(list(info.values))
            case types.TupleType():
                return Row([self.known(item) for item in info.item_types])
            case types.VarTupleType():
                return Items("tuple", self.known(info.item_type), _constraints(info))
            case types.DictType():
                key, value = self.known(info.key_type), self.known(info.value_type)
                return Mapped(key, value, _constraints(info))
            case types.CollectionType():
                name = PLAIN_NAMES[type(info)]
                return Items(name, self.known(info.item_type), _constraints(info))
            case _ if isinstance(info, Fielded):
                return Named(self._key(info.cls, self._fields, info))
            case _:
                return Plain(PLAIN_NAMES[type(info)], _constraints(info))

    def _key(self, cls: Any, describe_class: Any, info: Any) -> str:
        if cls in self._keys:
            return self._keys[cls]
        name = class_name(cls)
        key, number = name, 1
        while key in self._keys.values():
            number += 1
            key = f"{name}~{number}"
        # Kept before its fields are described: a class may hold itself.
        self._keys[cls] = key
        self.classes[key] = describe_class(name, info)
        return key

    def _enum(self, name: str, info: Any) -> EnumDescription:
        members: list[enum.Enum] = list(info.cls)
        kind = "Enum"
        if issubclass(info.cls, int):
            kind = "IntEnum"
        elif issubclass(info.cls, str):
            kind = "StrEnum"
        return EnumDescription(
            name, _doc(info.cls), kind, {member.name: member.value for member in members}
        )

    def _fields(self, name: str, info: Any) -> FieldsDescription:
        kind = next(kind for cls, kind in _FIELDED_KINDS if isinstance(info, cls))
        return FieldsDescription(
            name=name,
            doc=_doc(info.cls),
            kind=kind,
            fields=[
                FieldDescription(
                    field.name,
                    field.encode_name,
                    self.known(field.type),
                    field.required,
                    _field_default(field),
                )
                for field in info.fields
            ],
            is_array=kind == "named_tuple" or getattr(info, "array_like", False),
            tag_field=getattr(info, "tag_field", None),
            tag=getattr(info, "tag", None),
            forbids_unknown=getattr(info, "forbid_unknown_fields", False),
        )


def _field_default(field: Any) -> Any:
    """Return the default. One that is made anew counts when it is an empty container."""
    if field.default_factory in (list, dict, set, tuple, frozenset):
        return _plain(field.default_factory())
    return msgspec.UNSET if field.default is msgspec.NODEFAULT else _plain(field.default)


def _plain(value: object) -> Any:
    try:
        return msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview))
    except (TypeError, ValueError, OverflowError) as error:
        raise InterfaceError(f"the default {value!r} cannot be sent: {error}") from error


def _constraints(info: types.Type) -> dict[str, Any]:
    found = {name: getattr(info, name, None) for name in CONSTRAINTS}
    return {name: value for name, value in found.items() if value is not None}


def _doc(described: Any) -> str:
    """Return the docstring, but not one that a base class or a decorator made up."""
    text = vars(described).get("__doc__") if isinstance(described, type) else described.__doc__
    if not text:
        return ""
    is_made_up = isinstance(described, type) and text.startswith(f"{described.__name__}(")
    return "" if is_made_up else inspect.cleandoc(text)
