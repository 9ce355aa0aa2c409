"""What a class says of the types of its attributes, in the ways in which people say it.

An attribute's type is looked for in the annotations of the class and of its bases, then in the
annotated assignments to `self` in their own `__init__`, `self._items: dict[int, Item] = {}`, which
Python itself forgets: they are read from the source. Nothing is executed but the annotation.
"""

import ast
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import ClassVar, Final, get_args, get_origin, get_type_hints

from liferaft.errors import ConfigurationError


def declared_types(cls: type) -> dict[str, object]:
    """Return the declared type of each attribute of the objects of `cls`, by its name in `vars`.

    Raises `ConfigurationError` for an annotation that cannot be evaluated.
    """
    hints: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        hints.update(_hints_in_init(base))
    # A class and its own __init__ that differ are no concern of ours: type checkers refuse them.
    hints.update(_evaluated(cls, cls.__qualname__, None))
    return _only_attributes(hints)


def shared_by_all(cls: type) -> set[str]:
    """Return the names that the class declares as attributes of its objects, and holds itself.

    They are of values that can be changed, so a change for one object is one for all.
    """
    hints = _evaluated(cls, cls.__qualname__, None)
    return {
        name
        for name, hint in hints.items()
        if isinstance(getattr(cls, name, None), dict | list | set | bytearray)
        and not any(mark in (hint, get_origin(hint)) for mark in (ClassVar, Final))
    }


def _hints_in_init(cls: type) -> dict[str, object]:
    hints: dict[str, object] = {}
    init = inspect.unwrap(vars(cls).get("__init__", object.__init__))
    if not isinstance(init, FunctionType):
        return hints
    names = _names_seen_by(init)
    for attribute, annotation in _annotated_assignments(init):
        name = _mangled(cls, attribute)
        holder = type(cls.__name__, (), {"__annotations__": {name: annotation}})
        hints.update(_evaluated(holder, f"{cls.__qualname__}.{attribute}", names))
    return hints


def _evaluated(holder: type, where: str, names: dict[str, object] | None) -> dict[str, object]:
    try:
        return get_type_hints(holder, globalns=names, include_extras=True)
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise ConfigurationError(
            f"the annotation of {where} cannot be evaluated: {error}; it is needed to restore the "
            "state from a snapshot, so its names must be there at run time, not only under "
            "TYPE_CHECKING"
        ) from error


def _only_attributes(hints: dict[str, object]) -> dict[str, object]:
    """Return the hints without what is none of an attribute, and without `Final` around them."""
    found: dict[str, object] = {}
    for name, hint in hints.items():
        is_final = get_origin(hint) is Final
        if hint is Final or ClassVar in (hint, get_origin(hint)):
            continue
        if not isinstance(hint, dataclasses.InitVar):
            found[name] = get_args(hint)[0] if is_final else hint
    return found


def _names_seen_by(function: FunctionType) -> dict[str, object]:
    """Return the globals, and what the function sees of the functions around it."""
    names = dict(function.__globals__)
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            names[name] = cell.cell_contents
        except ValueError:  # it is not assigned yet
            continue
    return names


def _annotated_assignments(init: Callable[..., object]) -> Iterator[tuple[str, str]]:
    """Yield the attribute and the annotation of each `self.attribute: annotation` in the source."""
    try:
        source = inspect.getsource(init)
        # A method's source is indented; textwrap.dedent would stumble over long strings in it.
        tree = ast.parse(f"if True:\n{source}" if source[:1].isspace() else source)
    except (OSError, SyntaxError):
        return  # made by a decorator, or by exec: then only the class can say
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == "__init__":
            arguments = [*function.args.posonlyargs, *function.args.args]
            for node in function.body if arguments else ():
                yield from _assignments_in(node, arguments[0].arg)
            return


def _assignments_in(node: ast.AST, self_name: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
        owner = node.target.value
        if isinstance(owner, ast.Name) and owner.id == self_name:
            yield node.target.attr, ast.unparse(node.annotation)
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from _assignments_in(child, self_name)


def _mangled(cls: type, attribute: str) -> str:
    """Return the attribute's name in `vars`: Python writes `__name` as `_Class__name`."""
    is_private = attribute.startswith("__") and not attribute.endswith("__")
    owner = cls.__name__.lstrip("_")
    return f"_{owner}{attribute}" if is_private and owner else attribute
