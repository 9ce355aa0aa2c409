"""A description as Python source, for people to read and to keep.

What is written can be imported, and declares the very interface that it was made from; but for
generic classes, which are written out for each argument under a name of their own. The source is
text only: nothing here runs it.
"""

import dataclasses
import enum
import keyword
import re
import textwrap
from collections.abc import Iterable, Mapping
from datetime import date, time
from typing import Any, Final

import msgspec

from liferaft.rpc.description import (
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
    ParameterDescription,
    Plain,
    Reference,
    Row,
    Stream,
    Type,
    Union,
)
from liferaft.rpc.synthesis import Classes, default_of, interface_class, is_mixed

_MODULES: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        ("AsyncIterator", "Awaitable", "Callable", "Collection", "Iterator"), "collections.abc"
    ),
    **dict.fromkeys(("dataclass", "field"), "dataclasses"),
    **dict.fromkeys(("date", "datetime", "time", "timedelta"), "datetime"),
    **dict.fromkeys(("Enum", "IntEnum", "StrEnum"), "enum"),
    **dict.fromkeys(
        ("Annotated", "Any", "Literal", "NamedTuple", "NotRequired", "Protocol", "TypedDict"),
        "typing",
    ),
    "Decimal": "decimal",
    "UUID": "uuid",
}
"""Where the names come from that the source uses without a prefix."""

_HEADS: Final[Mapping[str, str]] = {
    "dataclass": "",
    "struct": "msgspec.Struct",
    "typed_dict": "TypedDict",
    "named_tuple": "NamedTuple",
}


def python_source(description: Description) -> str:
    """Return a module that declares the interface, with the classes that it names.

    Raises `ProtocolError` when the description makes no sense; no host can write code into it.
    """
    interface_class(description)
    return _Writer(description).module()


class _Writer:
    """Writes one module; collects what it must import."""

    def __init__(self, description: Description) -> None:
        self._description = description
        self._classes = Classes(description.classes)
        self._imported: dict[str, None] = {}
        self._modules: dict[str, None] = {}

    def module(self) -> str:
        described = self._description
        blocks = [self._class(key) for key in self._in_order()]
        exceptions = {each.name: each for method in described.methods for each in method.raises}
        blocks += [self._exception(each) for each in exceptions.values()]
        blocks.append(self._interface())
        return "\n\n\n".join([self._imports(), *blocks]) + "\n"

    def _imports(self) -> str:
        by_module: dict[str, list[str]] = {}
        for name in self._imported:
            by_module.setdefault(_MODULES[name], []).append(name)
        froms = [
            f"from {module} import {', '.join(sorted(names))}"
            for module, names in sorted(by_module.items())
        ]
        others = [f"import {module}" for module in sorted(self._modules)]
        return "\n\n".join("\n".join(part) for part in (froms, others) if part)

    def _in_order(self) -> list[str]:
        """Return the keys so that defaults find the classes that they are made of."""
        order: dict[str, None] = {}

        def visit(key: str, within: tuple[str, ...]) -> None:
            described = self._description.classes[key]
            if isinstance(described, FieldsDescription):
                for field in described.fields:
                    for used, _ in _names_in(field.type):
                        if used not in order and used not in within:
                            visit(used, (*within, used))
            order[key] = None

        for key in self._description.classes:
            if key not in order:
                visit(key, (key,))
        return list(order)

    # Classes.

    def _class(self, key: str) -> str:
        described = self._description.classes[key]
        name = _python_name(key)
        if isinstance(described, EnumDescription):
            lines = [f"{member} = {value!r}" for member, value in described.members.items()]
            return self._body(f"class {name}({self._use(described.kind)}):", described.doc, lines)
        if isinstance(described, InterfaceDescription):
            return self._protocol(name, described.doc, described.methods)
        head = self._head(name, described)
        lines = [self._field(described, field) for field in described.fields]
        return self._body(head, described.doc, lines)

    def _head(self, name: str, described: FieldsDescription) -> str:
        keyword_only = "kw_only=True" if is_mixed(described) else ""
        if described.kind == "dataclass":
            options = f"({keyword_only})" if keyword_only else ""
            return f"@{self._use('dataclass')}{options}\nclass {name}:"
        base = _HEADS[described.kind]
        if described.kind != "struct":
            return f"class {name}({self._use(base)}):"
        self._modules["msgspec"] = None
        rename = {f.name: f.encode_name for f in described.fields if f.name != f.encode_name}
        given = [
            *(["array_like=True"] if described.is_array else []),
            *([f"tag={described.tag!r}"] if described.tag is not None else []),
            *([f"tag_field={described.tag_field!r}"] if _has_tag_field(described) else []),
            *([f"rename={rename!r}"] if rename else []),
            *(["forbid_unknown_fields=True"] if described.forbids_unknown else []),
            *([keyword_only] if keyword_only and not described.is_array else []),
        ]
        return f"class {name}({', '.join([base, *given])}):"

    def _field(self, described: FieldsDescription, field: FieldDescription) -> str:
        hint = self._type(field.type, is_quoted=True)
        if field.is_required:
            return f"{field.name}: {hint}"
        if described.kind == "typed_dict":
            return f"{field.name}: {self._use('NotRequired')}[{hint}]"
        if field.default is msgspec.UNSET:
            self._modules["msgspec"] = None
            return f"{field.name}: {hint} = msgspec.UNSET  # the host makes it when it is left out"
        return f"{field.name}: {hint} = {self._field_default(described, field)}"

    def _field_default(self, described: FieldsDescription, field: FieldDescription) -> str:
        value = default_of(field.default, self._classes.type_of(field.type))
        text = self._value(value)
        is_mutable = not isinstance(value, (type(None), int, float, str, bytes, tuple, enum.Enum))
        if not is_mutable or described.kind == "named_tuple":
            return text
        if described.kind == "struct":
            if text in ("[]", "{}", "set()"):
                return text
            return f"msgspec.field(default_factory=lambda: {text})"
        factory = type(value).__name__ if value in ([], {}, set()) else f"lambda: {text}"
        return f"{self._use('field')}(default_factory={factory})"

    def _exception(self, described: ExceptionDescription) -> str:
        lines = [f"{name}: {self._type(kind)}" for name, kind in described.fields.items()]
        return self._body(f"class {_python_name(described.name)}(Exception):", described.doc, lines)

    # The interface.

    def _interface(self) -> str:
        described = self._description
        return self._protocol(_python_name(described.interface), described.doc, described.methods)

    def _protocol(self, name: str, doc_text: str, described: list[MethodDescription]) -> str:
        methods = [self._method(method) for method in described]
        head = f"class {name}({self._use('Protocol')}):"
        doc = [_docstring(doc_text)] if doc_text else []
        return "\n".join([head, textwrap.indent("\n\n".join([*doc, *methods]), "    ")])

    def _method(self, method: MethodDescription) -> str:
        marks = [f"@{mark}" for mark in self._marks(method)]
        start = "async def" if method.is_async else "def"
        parameters = ", ".join(["self", *self._parameters(method.parameters)])
        head = f"{start} {method.name}({parameters}) -> {self._type(method.result)}:"
        if method.doc:
            return "\n".join([*marks, head, textwrap.indent(_docstring(method.doc), "    ")])
        return "\n".join([*marks, f"{head} ..."])

    def _marks(self, method: MethodDescription) -> Iterable[str]:
        if method.is_oneway or method.is_idempotent or method.raises:
            self._modules["liferaft"] = None
        if method.is_oneway:
            yield "liferaft.oneway"
        if method.is_idempotent:
            yield "liferaft.idempotent"
        if method.raises:
            yield f"liferaft.raises({', '.join(_python_name(each.name) for each in method.raises)})"

    def _parameters(self, parameters: list[ParameterDescription]) -> Iterable[str]:
        positional = sum(1 for each in parameters if each.kind == "positional")
        is_starred = False
        for place, each in enumerate(parameters):
            if place == positional and positional:
                yield "/"
            if each.kind == "keyword" and not is_starred:
                is_starred = True
                yield "*"
            default = ""
            if each.default is not msgspec.UNSET:
                value = default_of(each.default, self._classes.type_of(each.type))
                default = f" = {self._value(value)}"
            yield f"{each.name}: {self._type(each.type)}{default}"
        if positional and positional == len(parameters):
            yield "/"

    # Types and values.

    def _use(self, name: str) -> str:
        """Return a name, and import it."""
        if name in _MODULES:
            self._imported[name] = None
        return name

    def _type(self, described: Type, *, is_quoted: bool = False) -> str:
        """Return an annotation; quoted where it may name a class that is defined further down."""
        text = self._unquoted(described)
        is_late = any(is_reference or is_quoted for _, is_reference in _names_in(described))
        return f'"{text}"' if is_late else text

    def _unquoted(self, described: Type) -> str:  # noqa: C901, PLR0911, PLR0912 - one each
        match described:
            case Plain(name="Raw"):
                self._modules["msgspec"] = None
                return "msgspec.Raw"
            case Plain(name="ndarray"):
                self._modules["numpy"] = None
                return "numpy.ndarray"
            case Plain(name="Ext"):
                self._modules["msgspec"] = None
                return "msgspec.msgpack.Ext"
            case Plain():
                return self._annotated(self._use(described.name), described.constraints)
            case Items(name="tuple"):
                text = f"tuple[{self._unquoted(described.item)}, ...]"
                return self._annotated(text, described.constraints)
            case Items():
                text = f"{self._use(described.name)}[{self._unquoted(described.item)}]"
                return self._annotated(text, described.constraints)
            case Row():
                return f"tuple[{', '.join(map(self._unquoted, described.items)) or '()'}]"
            case Mapped():
                key, value = self._unquoted(described.key), self._unquoted(described.value)
                return self._annotated(f"dict[{key}, {value}]", described.constraints)
            case Union():
                return " | ".join(map(self._unquoted, described.members))
            case Literal():
                return f"{self._use('Literal')}[{', '.join(map(repr, described.values))}]"
            case Named() | Reference():
                return _python_name(described.key)
            case Function():
                taken = ", ".join(map(self._unquoted, described.parameters))
                result = self._unquoted(described.result)
                if described.is_async:
                    result = f"{self._use('Awaitable')}[{result}]"
                return f"{self._use('Callable')}[[{taken}], {result}]"
            case Stream():
                iterator = self._use("AsyncIterator" if described.is_async else "Iterator")
                return f"{iterator}[{self._unquoted(described.item)}]"

    def _annotated(self, text: str, constraints: Mapping[str, Any]) -> str:
        if not constraints:
            return text
        self._modules["msgspec"] = None
        values = ", ".join(f"{name}={value!r}" for name, value in constraints.items())
        return f"{self._use('Annotated')}[{text}, msgspec.Meta({values})]"

    def _value(self, value: Any) -> str:
        """Return an expression that makes a default anew."""
        if isinstance(value, enum.Enum):
            return f"{_python_name(type(value).__name__)}.{value.name}"
        if isinstance(value, (date, time)):
            return f"{self._use(type(value).__name__)}.fromisoformat({value.isoformat()!r})"
        if isinstance(value, list):
            return f"[{', '.join(map(self._value, value))}]"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{k!r}: {self._value(v)}' for k, v in value.items())}}}"
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
        elif isinstance(value, msgspec.Struct):
            names = list(value.__struct_fields__)
        else:
            self._use(type(value).__name__)
            return repr(value)
        known = ((name, getattr(value, name)) for name in names)
        given = [f"{n}={self._value(v)}" for n, v in known if v is not msgspec.UNSET]
        return f"{_python_name(type(value).__name__)}({', '.join(given)})"

    def _body(self, head: str, doc: str, lines: list[str]) -> str:
        doc_lines = [_docstring(doc), *([""] if lines else [])] if doc else []
        body = "\n".join([*doc_lines, *lines] or ["pass"])
        return f"{head}\n{textwrap.indent(body, '    ')}"


def _names_in(described: Type) -> Iterable[tuple[str, bool]]:
    """Yield the keys of the classes that a type names, and whether that is by reference."""
    match described:
        case Named():
            yield described.key, False
        case Reference():
            yield described.key, True
        case _:
            for part in _parts_of(described):
                yield from _names_in(part)


def _parts_of(described: Type) -> Iterable[Type]:
    match described:
        case Items() | Stream():
            return [described.item]
        case Row():
            return described.items
        case Mapped():
            return [described.key, described.value]
        case Union():
            return described.members
        case Function():
            return [*described.parameters, described.result]
        case _:
            return []


def _docstring(text: str) -> str:
    r"""Return the text between triple quotes; what would end them, or mean more, is escaped."""
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    # What is no character to print ends no line and no file.
    pieces = (each if each == "\n" or each.isprintable() else _escaped(each) for each in escaped)
    escaped = "".join(pieces)
    if escaped.endswith('"') and not escaped.endswith('\\"'):
        escaped = f'{escaped[:-1]}\\"'
    return f'"""{escaped}\n"""' if "\n" in escaped else f'"""{escaped}"""'


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _python_name(key: str) -> str:
    """Return a key as an identifier: `Page[int]` as `Page_int`."""
    name = re.sub(r"\W+", "_", key).strip("_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _has_tag_field(described: FieldsDescription) -> bool:
    return described.tag is not None and described.tag_field != "type"
