"""Interceptors that are ready to use; each works at the caller and at the host.

Nothing here is needed for a call, and each module may ask for a package of an extra of its own.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from liferaft.interceptors.limiting import rate_limit
    from liferaft.interceptors.logs import log_calls
    from liferaft.interceptors.metrics import measure
    from liferaft.interceptors.retrying import retry
    from liferaft.interceptors.tracing import trace
    from liferaft.rpc.interception import Interceptor, Invocation, Proceed

__all__ = [
    "Interceptor",
    "Invocation",
    "Proceed",
    "log_calls",
    "measure",
    "rate_limit",
    "retry",
    "trace",
]

_MODULES: Final = {
    "Interceptor": "liferaft.rpc.interception",
    "Invocation": "liferaft.rpc.interception",
    "Proceed": "liferaft.rpc.interception",
    "log_calls": "liferaft.interceptors.logs",
    "measure": "liferaft.interceptors.metrics",
    "rate_limit": "liferaft.interceptors.limiting",
    "retry": "liferaft.interceptors.retrying",
    "trace": "liferaft.interceptors.tracing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'liferaft.interceptors' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
