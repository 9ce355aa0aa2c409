"""The ambient deadline: set around calls, sent with them as time left, bounding nested ones.

It is kept with the clock that it was measured on: the event loop's inside one (which a simulator
replaces), the system's monotonic clock elsewhere. Between two clocks only the time left crosses.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar, Token

import msgspec


class _Deadline(msgspec.Struct, frozen=True):
    clock: Callable[[], float]
    at: float


_current: ContextVar[_Deadline | None] = ContextVar("liferaft_deadline", default=None)


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Bound every call made inside to `seconds` from now; of nested bounds the earlier counts.

    A call that is not answered by then raises `DeadlineExceeded`. Code that makes no call is not
    interrupted.
    """
    token = set_time_left(seconds)
    try:
        yield
    finally:
        _current.reset(token)


def time_left() -> float | None:
    """Return the seconds until the ambient deadline, below 0 when it passed, None without one."""
    current = _current.get()
    return None if current is None else current.at - current.clock()


def set_time_left(seconds: float | None) -> Token[_Deadline | None]:
    """Set the ambient deadline of this context, never later than the one it has."""
    outer = time_left()
    if outer is not None and (seconds is None or outer <= seconds):
        return _current.set(_current.get())
    clock = _clock()
    return _current.set(None if seconds is None else _Deadline(clock, clock() + seconds))


def set_deadline(clock: Callable[[], float], at: float | None) -> None:
    """Set the ambient deadline of this context to the instant `at` of `clock`, whatever it was."""
    _current.set(None if at is None else _Deadline(clock, at))


def clear() -> None:
    """Forget the ambient deadline of this context."""
    _current.set(None)


def _clock() -> Callable[[], float]:
    try:
        return asyncio.get_running_loop().time
    except RuntimeError:
        return time.monotonic  # outside of every loop no other clock can be meant
