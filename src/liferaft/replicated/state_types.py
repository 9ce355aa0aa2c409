"""Whether values of a type come back from a snapshot as what they were.

What cannot come back is refused when a node starts, not when the first snapshot is needed.
"""

from collections.abc import Iterator
from typing import Any, Final, get_args

import msgspec
from msgspec import inspect as types

from liferaft.errors import ConfigurationError

WHAT_TO_DO: Final = (
    "annotate the attribute with types that msgspec knows, or give the class snapshot() and "
    "restore(state)"
)

_UNFAITHFUL: Final = (types.RawType, types.ExtType, types.MemoryViewType)


def refuse_unfaithful(where: str, hint: Any) -> None:
    """Raise `ConfigurationError` when values of the type would not come back as what they were.

    They are those of `where`, an attribute or what a class says that its state is.
    """
    try:
        fault = _find_fault(types.type_info(hint))
        msgspec.msgpack.Decoder(hint)
    except (TypeError, RecursionError) as error:
        fault = str(error)
    if fault is not None:
        raise ConfigurationError(
            f"{where} could not be restored from a snapshot, for its type is {_type_text(hint)}: "
            f"{fault}; {WHAT_TO_DO}"
        )


def _type_text(hint: object) -> str:
    """Return the type as its author wrote it, or nearly so."""
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)


def _find_fault(root: types.Type) -> str | None:
    """Return what in the type would not come back as it was, None when all of it would."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        fault = _fault_of(node)
        if fault is not None:
            return fault
        waiting.extend(_parts_of(node))
    return None


def _fault_of(node: types.Type) -> str | None:
    if isinstance(node, types.AnyType):
        return "Any does not say as what a value is to come back"
    if isinstance(node, types.CustomType):
        return f"msgspec does not know {node.cls.__qualname__}"
    if isinstance(node, _UNFAITHFUL):
        return "keep plain bytes instead"
    if isinstance(node, types.DataclassType):
        for field in getattr(node.cls, "__attrs_attrs__", ()):
            if field.name.startswith("_"):
                # It encodes dataclasses whole, but attrs classes without these.
                return f"msgspec leaves out {node.cls.__qualname__}.{field.name}"
    return None


def _parts_of(node: types.Type) -> Iterator[types.Type]:
    """Yield the types that a type is made of: of its elements and of its fields."""
    for name in node.__struct_fields__:
        value = getattr(node, name)
        for part in value if isinstance(value, tuple) else (value,):
            inner = part.type if isinstance(part, types.Field) else part
            if isinstance(inner, types.Type):
                yield inner
