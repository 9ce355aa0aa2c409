"""Remote objects for Python, and the consensus that keeps them alive.

The public names are loaded when they are first used: importing `liferaft` costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from liferaft.api import aclose, aconnect, adescribe, aserve, close, connect, describe, serve
    from liferaft.errors import (
        AddressError,
        ConfigurationError,
        ConnectionLost,
        DamagedLog,
        DamagedSnapshot,
        DataDirectoryError,
        DeadlineExceeded,
        DiskFailed,
        DiskFull,
        InterfaceError,
        InterfaceMismatch,
        InvalidArgument,
        InvariantViolated,
        LiferaftError,
        NoLeader,
        NoSuchObject,
        OutcomeUnknown,
        Overloaded,
        PermissionDenied,
        ProtocolError,
        ReadOnly,
        Refused,
        RemoteError,
        SessionExpired,
        StorageError,
        StubClosed,
        Unauthenticated,
        Unreachable,
    )
    from liferaft.link.tls import Tls
    from liferaft.replicated.determinism import now, random, uuid4
    from liferaft.replicated.machine import query
    from liferaft.rpc.access import Tokens, new_token
    from liferaft.rpc.callee_sessions import Memory
    from liferaft.rpc.caller import CallerStubCreator
    from liferaft.rpc.cancellation import cancelled
    from liferaft.rpc.deadline import deadline
    from liferaft.rpc.description import Description
    from liferaft.rpc.host import CalleeStub
    from liferaft.rpc.interface import Interface, idempotent, oneway, raises, role
    from liferaft.rpc.server import Limits
    from liferaft.rpc.source import python_source
    from liferaft.rpc.synthesis import interface_class
    from liferaft.rpc.views import Within

__all__ = [
    "AddressError",
    "CalleeStub",
    "CallerStubCreator",
    "ConfigurationError",
    "ConnectionLost",
    "DamagedLog",
    "DamagedSnapshot",
    "DataDirectoryError",
    "DeadlineExceeded",
    "Description",
    "DiskFailed",
    "DiskFull",
    "Interface",
    "InterfaceError",
    "InterfaceMismatch",
    "InvalidArgument",
    "InvariantViolated",
    "LiferaftError",
    "Limits",
    "Memory",
    "NoLeader",
    "NoSuchObject",
    "OutcomeUnknown",
    "Overloaded",
    "PermissionDenied",
    "ProtocolError",
    "ReadOnly",
    "Refused",
    "RemoteError",
    "SessionExpired",
    "StorageError",
    "StubClosed",
    "Tls",
    "Tokens",
    "Unauthenticated",
    "Unreachable",
    "Within",
    "aclose",
    "aconnect",
    "adescribe",
    "aserve",
    "cancelled",
    "close",
    "connect",
    "deadline",
    "describe",
    "idempotent",
    "interface_class",
    "new_token",
    "now",
    "oneway",
    "python_source",
    "query",
    "raises",
    "random",
    "role",
    "serve",
    "uuid4",
]

_ELSEWHERE: Final = {
    **dict.fromkeys(
        ("aclose", "aconnect", "adescribe", "aserve", "close", "connect", "describe", "serve"),
        "liferaft.api",
    ),
    **dict.fromkeys(
        ("Interface", "idempotent", "oneway", "raises", "role"), "liferaft.rpc.interface"
    ),
    **dict.fromkeys(("now", "random", "uuid4"), "liferaft.replicated.determinism"),
    "query": "liferaft.replicated.machine",
    "CalleeStub": "liferaft.rpc.host",
    "CallerStubCreator": "liferaft.rpc.caller",
    "Limits": "liferaft.rpc.server",
    "Memory": "liferaft.rpc.callee_sessions",
    "Tls": "liferaft.link.tls",
    "Tokens": "liferaft.rpc.access",
    "new_token": "liferaft.rpc.access",
    "cancelled": "liferaft.rpc.cancellation",
    "deadline": "liferaft.rpc.deadline",
    "Description": "liferaft.rpc.description",
    "interface_class": "liferaft.rpc.synthesis",
    "Within": "liferaft.rpc.views",
    "python_source": "liferaft.rpc.source",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'liferaft' has no attribute {name!r}")
    value = getattr(importlib.import_module(_ELSEWHERE.get(name, "liferaft.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
