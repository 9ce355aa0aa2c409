"""Calls again what was refused, or failed in a way that a repeat does not make worse.

A lost packet needs none of this: calls are resent until their deadline anyway. It never repeats a
call that may have been executed, unless its method is marked idempotent, nor one that has streams.
"""

import asyncio
import random as random_module
from random import Random
from typing import Any

from liferaft.errors import ConfigurationError, OutcomeUnknown, Overloaded, Refused, Unreachable
from liferaft.rpc import deadline as ambient
from liferaft.rpc.interception import Interceptor, Invocation, Proceed


def retry(
    attempts: int = 3,
    *,
    first_pause: float = 0.05,
    pause_max: float = 2.0,
    random: Random | None = None,
) -> Interceptor:
    """Return an interceptor for callers that makes up to `attempts` attempts.

    Pauses double from `first_pause` to `pause_max` seconds, each jittered down to its half. What a
    host says by `retry_after` counts where it is longer, jittered up by as much as a half: all that
    were refused together were told the same. Tried again are calls that were refused
    (`Overloaded`, `NoLeader`), and idempotent ones whose outcome is unknown. The deadline bounds
    all attempts together: a pause that would go past it is not begun, and the error is raised as it
    is. Raises `ConfigurationError` for fewer than one attempt.
    """
    if attempts < 1:
        raise ConfigurationError(f"attempts must be 1 or more, not {attempts}")
    source = random or random_module.Random()

    async def intercept(invocation: Invocation, proceed: Proceed) -> Any:
        pause = first_pause
        unknown: OutcomeUnknown | None = None
        for left in range(attempts - 1, -1, -1):
            try:
                return await proceed(invocation)
            except (Refused, OutcomeUnknown, Unreachable) as error:
                share = source.random() / 2
                wait = max(pause * (0.5 + share), _hint(error) * (1.0 + share))
                if isinstance(error, OutcomeUnknown):
                    unknown = error
                if not left or not _may_repeat(error, invocation) or _is_too_late(wait):
                    if unknown is None or unknown is error:
                        raise
                    raise unknown from error  # that nothing was executed holds for the last one
            await asyncio.sleep(wait)
            pause = min(2 * pause, pause_max)
        raise AssertionError("the last attempt returned or raised")

    return intercept


def _hint(error: Exception) -> float:
    return (error.retry_after or 0.0) if isinstance(error, Overloaded) else 0.0


def _may_repeat(error: Exception, invocation: Invocation) -> bool:
    if invocation.has_streams:
        return False
    if isinstance(error, OutcomeUnknown):
        return invocation.is_idempotent
    return isinstance(error, Unreachable) or not isinstance(error, LookupError)


def _is_too_late(wait: float) -> bool:
    left = ambient.time_left()
    return left is not None and wait >= left
