"""Whether the call that is being executed is still wanted, for methods that block.

A method that is awaited is cancelled by asyncio's own means. A thread cannot be: it must look.
"""

import weakref
from contextvars import ContextVar
from typing import Protocol

from liferaft.rpc import deadline as ambient


class Interruptible(Protocol):
    """What is being executed; `interruption` is set when it is no longer wanted."""

    interruption: BaseException | None


_current: ContextVar[weakref.ref[Interruptible] | None] = ContextVar("liferaft_call", default=None)
"""Weak: a timer or a task that is begun during a call keeps this context, and may outlive it."""


def executing(what: Interruptible) -> None:
    """Say what is being executed in this context."""
    _current.set(weakref.ref(what))


def cancelled() -> bool:
    """Return whether nobody waits any more for the call that this thread executes.

    The caller cancelled it or gave it up, its deadline passed, or the host stops. A blocking method
    that takes long should look now and then, and return or raise: its result is dropped. False
    outside of a call.
    """
    current = _current.get()
    what = None if current is None else current()
    if what is not None and what.interruption is not None:
        return True
    left = ambient.time_left()
    return left is not None and left <= 0
