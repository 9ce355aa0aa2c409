"""A class made from a description, at run time, as if it had been written.

Its methods raise when called: it is an interface, for `connect`. What came over the wire becomes
types, names and values only; nothing of it is evaluated or imported, and a name that is no
identifier is refused. The signatures of what is made are compared with the host's like any other.
"""

import copy
import dataclasses
import enum
import inspect
import keyword
import types as python_types
import typing
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from liferaft.errors import ProtocolError
from liferaft.rpc.arrays import array_type
from liferaft.rpc.description import (
    PARAMETER_KINDS,
    ClassDescription,
    Description,
    EnumDescription,
    ExceptionDescription,
    FieldDescription,
    FieldsDescription,
    Function,
    InterfaceDescription,
    Items,
    Literal,
    Mapped,
    MethodDescription,
    Named,
    Plain,
    Reference,
    Row,
    Stream,
    Type,
    Union,
)
from liferaft.rpc.interface import idempotent, oneway, raises

MODULE: Final = "liferaft.described"
"""What the classes made here say of where they are from; there is no such module."""

_PLAIN: Final[Mapping[str, Any]] = {
    "Any": Any,
    "None": type(None),
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "datetime": datetime,
    "time": time,
    "date": date,
    "timedelta": timedelta,
    "UUID": UUID,
    "Decimal": Decimal,
    "Raw": msgspec.Raw,
    "Ext": msgspec.msgpack.Ext,
}
_ITEMS: Final[Mapping[str, Any]] = {
    "list": list,
    "set": set,
    "frozenset": frozenset,
    "Collection": abc.Collection,
}
_ENUMS: Final[Mapping[str, type[enum.Enum]]] = {
    "Enum": enum.Enum,
    "IntEnum": enum.IntEnum,
    "StrEnum": enum.StrEnum,
}


def interface_class(description: Description) -> type:
    """Return a class that declares what `description` describes.

    Raises `ProtocolError` when the description makes no sense.
    """
    classes = Classes(description.classes)
    classes.make_all()
    made = _empty_interface(description.interface, description.doc)
    return _fill_interface(made, classes, description.methods)


def _empty_interface(name: str, doc: str) -> type:
    return type(_class_name(name), (), {"__module__": MODULE, "__doc__": doc or None})


def _fill_interface(made: type, classes: "Classes", methods: Sequence[MethodDescription]) -> type:
    """Give a class its methods. Afterwards, as they may speak of the class itself."""
    for method in methods:
        setattr(made, _identifier(method.name), _method(classes, made.__name__, method))
    return made


class Classes:
    """The classes of a description, each made when it is first asked for."""

    def __init__(self, described: Mapping[str, ClassDescription]) -> None:
        self._described = described
        self._made: dict[str, Any] = {}

    def make_all(self) -> None:
        """Make every class, so that none with a fault is left; raises `ProtocolError`."""
        for key in self._described:
            self._named(key)

    def type_of(self, described: Type) -> Any:  # noqa: C901, PLR0911 - one each
        """Return the annotation that `described` describes."""
        match described:
            case Plain(name="ndarray"):
                return _array_type()
            case Plain():
                return _constrained(_known(_PLAIN, described.name), described.constraints)
            case Items(name="tuple"):
                item = self.type_of(described.item)
                return _constrained(_of(tuple, item, ...), described.constraints)
            case Items():
                made = _of(_known(_ITEMS, described.name), self.type_of(described.item))
                return _constrained(made, described.constraints)
            case Row():
                return _of(tuple, *(self.type_of(item) for item in described.items))
            case Mapped():
                key, value = self.type_of(described.key), self.type_of(described.value)
                return _constrained(_of(dict, key, value), described.constraints)
            case Union():
                return typing.Union[tuple(map(self.type_of, described.members))]  # noqa: UP007 - so many
            case Literal():
                return typing.Literal[tuple(described.values)]
            case Named() | Reference():
                return self._named(described.key)
            case Function():
                return self._function(described)
            case Stream():
                iterator: Any = abc.AsyncIterator if described.is_async else abc.Iterator
                return _of(iterator, self.type_of(described.item))

    def _function(self, described: Function) -> Any:
        result = self.type_of(described.result)
        if described.is_async:
            result = _of(abc.Awaitable, result)
        taken = [self.type_of(each) for each in described.parameters]
        generic: Any = abc.Callable
        return generic[taken, result]

    def _named(self, key: str) -> Any:
        if key not in self._made:
            described = self._described.get(key)
            if described is None:
                raise ProtocolError(f"the description names {key!r}, which it does not describe")
            if isinstance(described, EnumDescription):
                self._made[key] = _make_enum(described)
            elif isinstance(described, InterfaceDescription):
                interface = self._made[key] = _empty_interface(described.name, described.doc)
                _fill_interface(interface, self, described.methods)
            else:
                hints: dict[str, Any] = {}
                made = self._made[key] = _make_fields(described, hints)
                # Afterwards, as a class may hold itself.
                hints.update((f.name, self._field(described, f)) for f in described.fields)
                made.__annotations__.update(hints)
        return self._made[key]

    def _field(self, described: FieldsDescription, field: FieldDescription) -> Any:
        made = self.type_of(field.type)
        if described.kind == "typed_dict" and not field.is_required:
            return typing.NotRequired[made]
        return made


def _method(classes: Classes, interface: str, method: MethodDescription) -> Callable[..., Any]:
    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)]
    for described in method.parameters:
        kind = _known(PARAMETER_KINDS, described.kind)
        hint = classes.type_of(described.type)
        default = inspect.Parameter.empty
        if described.default is not msgspec.UNSET:
            default = default_of(described.default, hint)
        name = _identifier(described.name)
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=hint))
    result = classes.type_of(method.result)
    function = _awaited_function() if method.is_async else _blocking_function()
    function.__name__ = method.name
    function.__qualname__ = f"{interface}.{method.name}"
    function.__module__ = MODULE
    function.__doc__ = method.doc or None
    try:
        signature = inspect.Signature(parameters, return_annotation=result)
    except ValueError as error:
        raise ProtocolError(f"{function.__qualname__} is described wrongly: {error}") from error
    function.__signature__ = signature  # type: ignore[attr-defined] # inspect reads it
    hints = {parameter.name: parameter.annotation for parameter in parameters[1:]}
    function.__annotations__ = hints | {"return": result}
    if method.is_oneway:
        oneway(function)
    if method.is_idempotent:
        idempotent(function)
    return raises(*(_exception(classes, each) for each in method.raises))(function)


def _awaited_function() -> Callable[..., Any]:
    async def described(self: object, /, *_args: object, **_kwargs: object) -> Any:
        raise _no_implementation(self)

    return described


def _blocking_function() -> Callable[..., Any]:
    def described(self: object, /, *_args: object, **_kwargs: object) -> Any:
        raise _no_implementation(self)

    return described


def _no_implementation(instance: object) -> NotImplementedError:
    name = type(instance).__name__
    return NotImplementedError(f"{name} is an interface: connect to a host to call its methods")


def _exception(classes: Classes, described: ExceptionDescription) -> type[Exception]:
    annotations = {_identifier(n): classes.type_of(t) for n, t in described.fields.items()}
    namespace = {
        "__module__": MODULE,
        "__doc__": described.doc or None,
        "__annotations__": annotations,
    }
    return type(_class_name(described.name), (Exception,), namespace)


def _make_enum(described: EnumDescription) -> type[enum.Enum]:
    members = [(_identifier(name), value) for name, value in described.members.items()]
    try:
        name = _class_name(described.name)
        made = _known(_ENUMS, described.kind)(name, members, module=MODULE)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"{described.name} is described wrongly: {error}") from error
    made.__doc__ = described.doc or None
    return typing.cast("type[enum.Enum]", made)


def _make_fields(described: FieldsDescription, hints: Mapping[str, Any]) -> Any:
    """Return the class, its fields annotated as `Any` until `hints` has what they are."""
    for field in described.fields:
        _identifier(field.name)
    name = _class_name(described.name)
    try:
        made = _known(_MAKERS, described.kind)(name, described, hints)
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"{described.name} is described wrongly: {error}") from error
    made.__doc__ = described.doc or None
    return made


def _make_dataclass(name: str, described: FieldsDescription, hints: Mapping[str, Any]) -> Any:
    fields = [
        (field.name, Any, dataclasses.field(default_factory=_factory(field, hints)))
        if not field.is_required
        else (field.name, Any)
        for field in described.fields
    ]
    kw_only = any(not field.is_required for field in described.fields[:-1])
    made = dataclasses.make_dataclass(name, fields, kw_only=kw_only and is_mixed(described))
    made.__module__ = MODULE
    return made


def _make_struct(name: str, described: FieldsDescription, hints: Mapping[str, Any]) -> Any:
    fields: list[Any] = [
        (field.name, Any)
        if field.is_required
        else (field.name, Any, msgspec.field(default_factory=_factory(field, hints)))
        for field in described.fields
    ]
    return msgspec.defstruct(
        name,
        fields,
        module=MODULE,
        rename={field.name: field.encode_name for field in described.fields},
        tag=described.tag,
        tag_field=described.tag_field,
        array_like=described.is_array,
        forbid_unknown_fields=described.forbids_unknown,
        kw_only=is_mixed(described) and not described.is_array,
    )


def _make_typed_dict(name: str, described: FieldsDescription, _hints: Mapping[str, Any]) -> Any:
    annotations: dict[str, Any] = {
        field.name: Any if field.is_required else typing.NotRequired[Any]
        for field in described.fields
    }
    namespace = {"__annotations__": annotations, "__module__": MODULE}
    return python_types.new_class(name, (typing.TypedDict,), {}, lambda new: new.update(namespace))


def _make_named_tuple(name: str, described: FieldsDescription, hints: Mapping[str, Any]) -> Any:
    namespace: dict[str, Any] = {
        "__annotations__": {field.name: Any for field in described.fields},
        "__module__": MODULE,
    }
    for field in described.fields:
        if not field.is_required:
            namespace[field.name] = _factory(field, hints)()
    return python_types.new_class(name, (typing.NamedTuple,), {}, lambda new: new.update(namespace))


_MAKERS: Final[Mapping[str, Callable[[str, FieldsDescription, Mapping[str, Any]], Any]]] = {
    "dataclass": _make_dataclass,
    "struct": _make_struct,
    "typed_dict": _make_typed_dict,
    "named_tuple": _make_named_tuple,
}


def is_mixed(described: FieldsDescription) -> bool:
    """Return whether a field without a default follows one with a default."""
    required = [field.is_required for field in described.fields]
    return required != sorted(required, reverse=True)


def _factory(field: FieldDescription, hints: Mapping[str, Any]) -> Callable[[], Any]:
    """Return what makes the default anew each time; one that is not known is not sent."""

    def make() -> Any:
        if field.default is msgspec.UNSET:
            return msgspec.UNSET
        return default_of(copy.deepcopy(field.default), hints.get(field.name, Any))

    return make


def default_of(value: Any, hint: Any) -> Any:
    """Return a default as its annotation has it, or as it is: None may stand for anything."""
    try:
        return msgspec.convert(value, type=hint)
    except (msgspec.ValidationError, TypeError):
        return value


def _constrained(made: Any, constraints: Mapping[str, Any]) -> Any:
    if not constraints:
        return made
    try:
        return typing.Annotated[made, msgspec.Meta(**constraints)]
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"a type is described wrongly: {error}") from error


def _array_type() -> Any:
    try:
        return array_type()
    except ImportError as error:
        raise ProtocolError("the object takes or gives arrays: pip install numpy") from error


def _of(generic: Any, *arguments: Any) -> Any:
    return generic.__class_getitem__(arguments[0] if len(arguments) == 1 else arguments)


def _known(table: Mapping[str, Any], name: str) -> Any:
    if name not in table:
        raise ProtocolError(f"the description has {name!r}, which this version does not know")
    return table[name]


def _identifier(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("__"):
        raise ProtocolError(f"the description has {name!r} where a name must be")
    return name


def _class_name(name: str) -> str:
    """Return the name of a class, which may be generic: `Page[int]`."""
    _identifier(name.partition("[")[0])
    return name
