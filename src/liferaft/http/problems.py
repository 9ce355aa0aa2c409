"""What goes wrong, as problem details. Source: RFC 9457.

What the method did not mean to tell stays here: an error that no interface declares becomes a
status and no text.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from liferaft.errors import (
    DeadlineExceeded,
    InvalidArgument,
    LiferaftError,
    NoLeader,
    NoSuchObject,
    OutcomeUnknown,
    Overloaded,
    PermissionDenied,
    ReadOnly,
    Refused,
    Unauthenticated,
    Unreachable,
)
from liferaft.rpc.interface import MethodSignature

CONTENT_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 1


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of every answer that is an error."""

    title: str
    status: int
    detail: str = ""
    exception: str = ""
    """The name of the exception that the interface declares, with what it holds in `fields`."""
    fields: dict[str, Any] = {}


TITLES: Final[Mapping[int, str]] = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "The object raised an exception that its interface declares",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "The arguments do not fit",
    500: "Internal Server Error",
    502: "The object's host cannot be reached",
    503: "Try again later",
    504: "The time was up",
}
_STATUSES: Final[tuple[tuple[type[LiferaftError], int], ...]] = (
    (InvalidArgument, 422),
    (NoSuchObject, 404),
    (Unauthenticated, 502),
    (PermissionDenied, 403),
    (ReadOnly, 403),
    (NoLeader, 503),
    (Overloaded, 503),
    (Refused, 503),
    (OutcomeUnknown, 502),
    (Unreachable, 502),
)
_FOR_GOOD: Final = (NoSuchObject, PermissionDenied, ReadOnly)
"""What coming again does not mend."""


def problem(status: int, detail: str = "") -> Problem:
    """Return a problem with the usual title of its status."""
    return Problem(TITLES[status], status, detail)


def problem_of(error: BaseException, method: MethodSignature) -> Problem:
    """Return what is told of an exception that a call ended with."""
    for ancestor in type(error).__mro__:
        for codec in method.declared:
            if codec.cls is ancestor:
                return _declared(error, codec.name, codec.fields)
    if isinstance(error, DeadlineExceeded) or type(error) is TimeoutError:
        return problem(504)
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return problem(status, str(error))
    return problem(500)


def retry_after(error: BaseException) -> int | None:
    """Return after how many whole seconds a client may come again, if it may."""
    if not isinstance(error, Refused) or isinstance(error, _FOR_GOOD):
        return None
    hint = error.retry_after if isinstance(error, Overloaded) else None
    return max(RETRY_AFTER_SECONDS, math.ceil(hint or 0))


def _declared(error: BaseException, name: str, fields: Mapping[str, Any]) -> Problem:
    found = {field: getattr(error, field, None) for field in fields}
    try:
        plain: dict[str, Any] = msgspec.to_builtins(found)
    except (TypeError, ValueError):
        plain = {}
    return Problem(TITLES[409], 409, str(error), name, plain)
