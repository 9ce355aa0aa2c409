"""OpenTelemetry spans of calls, whose trace context travels with them. Needs `liferaft[otel]`.

The span's names and attributes are those of OpenTelemetry's conventions for RPC. Arguments and
results never become part of a span.
"""

from typing import Any, Literal

from opentelemetry import propagate
from opentelemetry.trace import (
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    TracerProvider,
    get_tracer_provider,
)

from liferaft.interceptors.outcome import outcome_of
from liferaft.rpc.interception import Interceptor, Invocation, Proceed


def trace(
    side: Literal["caller", "host"], *, provider: TracerProvider | None = None
) -> Interceptor:
    """Return an interceptor that makes a span of each call.

    At the caller it puts the trace context into the call's metadata, as the configured propagator
    writes it; at the host the span continues that trace. Without a `provider` the global one is
    used.
    """
    tracer = (provider or get_tracer_provider()).get_tracer("liferaft")
    return _caller(tracer) if side == "caller" else _host(tracer)


def _caller(tracer: Tracer) -> Interceptor:
    async def intercept(invocation: Invocation, proceed: Proceed) -> Any:
        with tracer.start_as_current_span(
            _name(invocation),
            kind=SpanKind.CLIENT,
            attributes=_attributes(invocation),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            carrier = dict(invocation.metadata)
            propagate.inject(carrier)
            try:
                return await proceed(invocation.replace(metadata=carrier))
            except BaseException as error:
                _fail(span, error)
                raise

    return intercept


def _host(tracer: Tracer) -> Interceptor:
    async def intercept(invocation: Invocation, proceed: Proceed) -> Any:
        with tracer.start_as_current_span(
            _name(invocation),
            context=propagate.extract(dict(invocation.metadata)),
            kind=SpanKind.SERVER,
            attributes=_attributes(invocation),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await proceed(invocation)
            except BaseException as error:
                _fail(span, error)
                raise

    return intercept


def _name(invocation: Invocation) -> str:
    return f"{invocation.interface}/{invocation.method}"


def _attributes(invocation: Invocation) -> dict[str, str]:
    return {
        "rpc.system": "liferaft",
        "rpc.service": invocation.interface,
        "rpc.method": invocation.method,
        "network.peer.address": invocation.peer,
    }


def _fail(span: Any, error: BaseException) -> None:
    span.set_attribute("error.type", outcome_of(error))
    span.set_status(Status(StatusCode.ERROR))
