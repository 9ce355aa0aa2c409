"""A limit to how many calls a second come through: a bucket of tokens, or one for each peer.

What is beyond the limit is refused before any work is done, with a hint when to come again. It
never delays a call.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from liferaft.errors import ConfigurationError, Overloaded
from liferaft.rpc.interception import Interceptor, Invocation, Proceed

KEYS_MAX: Final = 10_000
"""Buckets kept. The one that was not used for longest goes first, and is full if it comes again."""


class _Bucket:
    """Tokens that come back at a steady rate, up to a number."""

    __slots__ = ("at", "tokens")

    def __init__(self, tokens: float, at: float) -> None:
        self.tokens = tokens
        self.at = at


def rate_limit(
    per_second: float,
    *,
    burst: float | None = None,
    key: Callable[[Invocation], str] | None = None,
) -> Interceptor:
    """Return an interceptor that lets `per_second` calls through, and up to `burst` at once.

    `burst` is `per_second` if not given, but at least 1. With `key` each value that it returns,
    such as `lambda call: call.peer`, has a limit of its own. Beyond the limit a call raises
    `Overloaded`, with `retry_after`. Raises `ConfigurationError` for a rate that is not above 0.
    """
    if not per_second > 0:
        raise ConfigurationError(f"per_second must be above 0, not {per_second}")
    size = max(1.0, per_second if burst is None else burst)
    buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def intercept(invocation: Invocation, proceed: Proceed) -> Any:
        now = asyncio.get_running_loop().time()
        name = "" if key is None else key(invocation)
        bucket = buckets.get(name)
        if bucket is None:
            bucket = buckets[name] = _Bucket(size, now)
            if len(buckets) > KEYS_MAX:
                buckets.popitem(last=False)
        buckets.move_to_end(name)
        bucket.tokens = min(size, bucket.tokens + (now - bucket.at) * per_second)
        bucket.at = now
        if bucket.tokens < 1:
            raise Overloaded(
                f"more than {per_second:g} calls a second", (1 - bucket.tokens) / per_second
            )
        bucket.tokens -= 1
        return await proceed(invocation)

    return intercept
