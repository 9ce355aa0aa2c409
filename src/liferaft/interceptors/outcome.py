"""How a call ended, in a word that logs, metrics and traces share."""

import asyncio

from liferaft.errors import LiferaftError, RemoteError


def outcome_of(error: BaseException | None) -> str:
    """Return "ok", "cancelled", or the name of the class of what was raised.

    The class of a `RemoteError` is that of the exception at the host, without its module.
    """
    if error is None:
        return "ok"
    if isinstance(error, asyncio.CancelledError):
        return "cancelled"
    if isinstance(error, RemoteError):
        return error.remote_type.rpartition(".")[2]
    return type(error).__name__


def is_ours(error: BaseException) -> bool:
    """Return whether the error is about the way of the call, not about what the method did."""
    return isinstance(error, LiferaftError) and not isinstance(error, RemoteError)
