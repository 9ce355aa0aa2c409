"""Remote objects for Python, and the consensus that keeps them alive.

The public names are loaded when they are first used: importing `liferaft` costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from liferaft.api import aclose, aconnect, aserve, close, connect, serve
    from liferaft.errors import (
        AddressError,
        ConfigurationError,
        ConnectionLost,
        DamagedLog,
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
        ProtocolError,
        Refused,
        RemoteError,
        SessionExpired,
        StorageError,
        StubClosed,
        Unreachable,
    )
    from liferaft.replicated.determinism import now, random, uuid4
    from liferaft.replicated.machine import query
    from liferaft.rpc.callee import CalleeStub
    from liferaft.rpc.caller import CallerStubCreator
    from liferaft.rpc.cancellation import cancelled
    from liferaft.rpc.deadline import deadline
    from liferaft.rpc.interface import Interface, idempotent, oneway, raises

__all__ = [
    "AddressError",
    "CalleeStub",
    "CallerStubCreator",
    "ConfigurationError",
    "ConnectionLost",
    "DamagedLog",
    "DataDirectoryError",
    "DeadlineExceeded",
    "DiskFailed",
    "DiskFull",
    "Interface",
    "InterfaceError",
    "InterfaceMismatch",
    "InvalidArgument",
    "InvariantViolated",
    "LiferaftError",
    "NoLeader",
    "NoSuchObject",
    "OutcomeUnknown",
    "Overloaded",
    "ProtocolError",
    "Refused",
    "RemoteError",
    "SessionExpired",
    "StorageError",
    "StubClosed",
    "Unreachable",
    "aclose",
    "aconnect",
    "aserve",
    "cancelled",
    "close",
    "connect",
    "deadline",
    "idempotent",
    "now",
    "oneway",
    "query",
    "raises",
    "random",
    "serve",
    "uuid4",
]

_ELSEWHERE: Final = {
    **dict.fromkeys(("aclose", "aconnect", "aserve", "close", "connect", "serve"), "liferaft.api"),
    **dict.fromkeys(("Interface", "idempotent", "oneway", "raises"), "liferaft.rpc.interface"),
    **dict.fromkeys(("now", "random", "uuid4"), "liferaft.replicated.determinism"),
    "query": "liferaft.replicated.machine",
    "CalleeStub": "liferaft.rpc.callee",
    "CallerStubCreator": "liferaft.rpc.caller",
    "cancelled": "liferaft.rpc.cancellation",
    "deadline": "liferaft.rpc.deadline",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'liferaft' has no attribute {name!r}")
    value = getattr(importlib.import_module(_ELSEWHERE.get(name, "liferaft.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
