"""Finds the classes that a user names on the command line, and makes the objects to host.

The names come from whoever starts the process, never from the network.
"""

import importlib
from collections.abc import Sequence

from liferaft.errors import ConfigurationError


def load_objects(specs: Sequence[str]) -> dict[str, object]:
    """Return a fresh object for each `NAME=module:Class` or `module:Class`, by name.

    Raises `ConfigurationError` when one cannot be found or made, or when two have one name.
    """
    objects: dict[str, object] = {}
    for spec in specs:
        name, _, path = spec.rpartition("=")
        found = _find_class(spec, path)
        name = name or found.__name__
        if name in objects:
            raise ConfigurationError(f"two objects are called {name!r}: give each its own name")
        if name.startswith("_"):
            raise ConfigurationError(f"{name!r} begins with _, which is kept for liferaft's own")
        objects[name] = _make(found)
    if not objects:
        raise ConfigurationError("no object is named: give one as NAME=module:Class")
    return objects


def find_named(path: str) -> object:
    """Return what `module:name` names; raises `ConfigurationError` where there is no such thing."""
    module_name, colon, name = path.partition(":")
    if not (module_name and colon and name):
        raise ConfigurationError(f"{path!r} is not of the form module:name")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{path!r}: there is no module {error.name!r} in the current directory or installed"
        ) from error
    except Exception as error:
        # Whatever the user's own module raises while it is imported is the user's to read.
        raise ConfigurationError(
            f"{path!r}: importing {module_name} raised {type(error).__name__}: {error}"
        ) from error
    if not hasattr(module, name):
        raise ConfigurationError(f"{path!r}: module {module_name} has no {name!r}")
    found: object = getattr(module, name)
    return found


def _find_class(spec: str, path: str) -> type:
    if ":" not in path:
        raise ConfigurationError(f"{spec!r} is not of the form NAME=module:Class")
    found = find_named(path)
    if not isinstance(found, type):
        raise ConfigurationError(f"{spec!r}: {path} is no class")
    return found


def _make(found: type) -> object:
    try:
        return found()
    except Exception as error:
        raise ConfigurationError(
            f"{found.__name__}() raised {type(error).__name__}: {error}; "
            "a replicated class is made without arguments, the same on every node"
        ) from error
