"""Prometheus metrics of calls: how many, how long, how many at present.

Needs `liferaft[prometheus]`. Labels have few values: interface, method, outcome; never a peer or
an argument.
"""

import time
from typing import Any, Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from liferaft.interceptors.outcome import outcome_of
from liferaft.rpc.interception import Interceptor, Invocation, Proceed

BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""Seconds: a call over loopback takes some 30 microseconds, one that times out ten seconds."""


def measure(
    side: Literal["caller", "host"], *, registry: CollectorRegistry = REGISTRY
) -> Interceptor:
    """Return an interceptor that counts and times calls in `registry`.

    The metrics are `liferaft_SIDE_calls_total` (labels interface, method, outcome),
    `liferaft_SIDE_call_seconds` and `liferaft_SIDE_calls_in_progress` (labels interface, method).
    Make one for each side and registry, and give it to as many stubs or hosts as there are.
    """
    names = ("interface", "method")
    calls = Counter(
        f"liferaft_{side}_calls", "Calls that ended.", (*names, "outcome"), registry=registry
    )
    seconds = Histogram(
        f"liferaft_{side}_call_seconds",
        "How long calls took.",
        names,
        registry=registry,
        buckets=BUCKETS,
    )
    in_progress = Gauge(
        f"liferaft_{side}_calls_in_progress", "Calls under way.", names, registry=registry
    )

    async def intercept(invocation: Invocation, proceed: Proceed) -> Any:
        labels = (invocation.interface, invocation.method)
        error: BaseException | None = None
        present = in_progress.labels(*labels)
        present.inc()
        began_at = time.perf_counter()
        try:
            return await proceed(invocation)
        except BaseException as raised:
            error = raised
            raise
        finally:
            present.dec()
            seconds.labels(*labels).observe(time.perf_counter() - began_at)
            calls.labels(*labels, outcome_of(error)).inc()

    return intercept
