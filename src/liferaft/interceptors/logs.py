"""A line in the log for each call, with its parts as fields for structured logging.

Arguments and results are never logged: they may hold secrets.
"""

import logging
import time
from typing import Any

from liferaft.interceptors.outcome import outcome_of
from liferaft.rpc.interception import Interceptor, Invocation, Proceed


def log_calls(
    logger: logging.Logger | None = None,
    *,
    level: int = logging.INFO,
    failure_level: int = logging.WARNING,
) -> Interceptor:
    """Return an interceptor that logs each call when it ends.

    The record has the attributes `rpc_interface`, `rpc_object`, `rpc_method`, `rpc_peer`,
    `rpc_outcome` ("ok", "cancelled" or the name of an exception's class) and `rpc_seconds`, which a
    formatter for JSON takes as fields. Calls that fail are logged at `failure_level`. Without a
    `logger` it is "liferaft.calls".
    """
    target = logger or logging.getLogger("liferaft.calls")

    async def intercept(invocation: Invocation, proceed: Proceed) -> Any:
        began_at = time.perf_counter()
        error: BaseException | None = None
        try:
            return await proceed(invocation)
        except BaseException as raised:
            error = raised
            raise
        finally:
            seconds = time.perf_counter() - began_at
            outcome = outcome_of(error)
            target.log(
                level if error is None else failure_level,
                "%s.%s: %s in %.3f ms",
                invocation.interface,
                invocation.method,
                outcome,
                1000 * seconds,
                extra={
                    "rpc_interface": invocation.interface,
                    "rpc_object": invocation.object,
                    "rpc_method": invocation.method,
                    "rpc_peer": invocation.peer,
                    "rpc_outcome": outcome,
                    "rpc_seconds": seconds,
                },
            )

    return intercept
