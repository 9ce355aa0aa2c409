"""The interceptors that ship, around real calls."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random
from typing import Protocol

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

import liferaft
from liferaft.errors import (
    ConfigurationError,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    RemoteError,
)
from liferaft.interceptors import (
    Interceptor,
    Invocation,
    Proceed,
    log_calls,
    measure,
    rate_limit,
    retry,
    trace,
)
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.host import CalleeStub

pytestmark = pytest.mark.looptime(noop_cycles=0)


class Work(Protocol):
    async def do(self, word: str) -> int: ...
    async def hang(self) -> None: ...
    @liferaft.idempotent
    async def look(self) -> int: ...
    @liferaft.idempotent
    async def total(self, numbers: AsyncIterator[int]) -> int: ...


class WorkObject:
    def __init__(self) -> None:
        self.done = 0
        self.refusals = 0
        self.hanging = asyncio.Event()

    async def do(self, word: str) -> int:
        if word == "wrong":
            raise ValueError("no")
        self.done += 1
        return self.done

    async def hang(self) -> None:
        self.hanging.set()
        await asyncio.get_running_loop().create_future()

    async def look(self) -> int:
        return self.done

    async def total(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])


@contextlib.asynccontextmanager
async def working(
    *, at_host: Sequence[Interceptor] = (), at_caller: Sequence[Interceptor] = ()
) -> AsyncIterator[tuple[Work, WorkObject, CalleeStub]]:
    network, work = MemoryNetwork(), WorkObject()
    host = await liferaft.aserve(work, Work, "memory:host", network=network, interceptors=at_host)
    stub = await liferaft.aconnect(Work, "memory:host", network=network, interceptors=at_caller)
    try:
        yield stub, work, host
    finally:
        await liferaft.aclose(stub)
        await host.astop()


async def test_each_call_is_a_line_in_the_log_with_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with working(at_host=[log_calls()]) as (stub, _, _):
        await stub.do("hunter2")
        with pytest.raises(RemoteError):
            await stub.do("wrong")

    records = [record for record in caplog.records if record.name == "liferaft.calls"]
    assert [("do", "ok", "INFO"), ("do", "ValueError", "WARNING")] == [
        (record.rpc_method, record.rpc_outcome, record.levelname)  # type: ignore[attr-defined]
        for record in records
    ]
    assert all(record.rpc_seconds >= 0 for record in records)  # type: ignore[attr-defined]
    assert "hunter2" not in caplog.text


async def test_a_call_that_is_cancelled_is_logged_as_such(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logger = logging.getLogger("tests.calls")
    async with working(at_caller=[log_calls(logger)]) as (stub, work, _):
        call = asyncio.ensure_future(stub.hang())
        await work.hanging.wait()
        call.cancel()
        await asyncio.wait([call])

    assert "Work.hang: cancelled" in caplog.text


async def test_calls_are_counted_and_timed() -> None:
    registry = CollectorRegistry()
    async with working(
        at_host=[measure("host", registry=registry)],
        at_caller=[measure("caller", registry=registry)],
    ) as (stub, work, _):
        for _ in range(3):
            await stub.do("x")
        with pytest.raises(RemoteError):
            await stub.do("wrong")
        hanging = asyncio.ensure_future(stub.hang())
        await work.hanging.wait()
        labels = {"interface": "Work", "method": "hang"}
        assert 1 == registry.get_sample_value("liferaft_host_calls_in_progress", labels)
        hanging.cancel()
        await asyncio.sleep(0.1)
        assert 0 == registry.get_sample_value("liferaft_host_calls_in_progress", labels)

    for side in ("host", "caller"):
        for outcome, count in (("ok", 3), ("ValueError", 1)):
            labels = {"interface": "Work", "method": "do", "outcome": outcome}
            assert count == registry.get_sample_value(f"liferaft_{side}_calls_total", labels)
        labels = {"interface": "Work", "method": "do"}
        assert 4 == registry.get_sample_value(f"liferaft_{side}_call_seconds_count", labels)


async def test_the_spans_of_both_sides_are_of_one_trace() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with working(
        at_host=[trace("host", provider=provider)], at_caller=[trace("caller", provider=provider)]
    ) as (stub, _, _):
        await stub.do("hunter2")
        with pytest.raises(RemoteError):
            await stub.do("wrong")

    host, caller, failed_host, failed_caller = exporter.get_finished_spans()
    assert ["SERVER", "CLIENT"] == [host.kind.name, caller.kind.name]
    assert "Work/do" == host.name == caller.name
    assert context_of(host).trace_id == context_of(caller).trace_id
    assert host.parent is not None
    assert host.parent.span_id == context_of(caller).span_id
    assert "hunter2" not in str([span.to_json() for span in exporter.get_finished_spans()])
    for span in (failed_host, failed_caller):
        assert span.attributes is not None
        assert ("ERROR", "ValueError") == (
            span.status.status_code.name,
            span.attributes["error.type"],
        )


def context_of(span: ReadableSpan):  # type: ignore[no-untyped-def] # noqa: ANN201 - what it is is the package's
    return span.get_span_context()


async def test_a_trace_goes_on_through_a_link_that_loses_and_repeats() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    leak = Leak(loss=0.3, duplicate=0.3, delay_max=0.02)
    network = LeakyNetwork(MemoryNetwork(), seed=5, outgoing=leak, incoming=leak)
    async with await liferaft.aserve(
        WorkObject(),
        Work,
        "memory:host",
        network=network,
        interceptors=[trace("host", provider=provider)],
    ):
        stub = await liferaft.aconnect(
            Work,
            "memory:host",
            network=network,
            timeout=60,
            interceptors=[trace("caller", provider=provider)],
        )
        for _ in range(20):
            await stub.do("x")
        await liferaft.aclose(stub)

    spans = exporter.get_finished_spans()
    assert 40 == len(spans)
    assert 20 == len({context_of(span).trace_id for span in spans})


async def test_beyond_the_rate_calls_are_refused_with_a_hint() -> None:
    async with working(at_host=[rate_limit(10, burst=3)]) as (stub, work, _):
        assert [1, 2, 3] == [await stub.do("x") for _ in range(3)]
        with pytest.raises(Overloaded, match="more than 10 calls a second") as refused:
            await stub.do("x")
        assert 3 == work.done
        assert refused.value.retry_after == pytest.approx(0.1)
        await asyncio.sleep(0.1)
        assert 4 == await stub.do("x")


async def test_each_key_has_a_rate_of_its_own() -> None:
    limit = rate_limit(1, key=lambda call: call.method)
    async with working(at_host=[limit]) as (stub, _, _):
        await stub.do("x")
        await stub.look()
        with pytest.raises(Overloaded):
            await stub.look()


async def test_what_is_refused_is_tried_again_when_the_host_says() -> None:
    async with working(at_host=[rate_limit(1)], at_caller=[retry(5, random=Random(1))]) as (
        stub,
        work,
        _,
    ):
        loop = asyncio.get_running_loop()
        began_at = loop.time()

        assert [1, 2, 3] == [await stub.do("x") for _ in range(3)]
        assert 2.0 <= loop.time() - began_at < 3.0
        assert 3 == work.done


async def test_those_who_were_told_the_same_do_not_come_again_at_once_together() -> None:
    async def waited(seed: int) -> float:
        async with working(at_host=[rate_limit(1)], at_caller=[retry(2, random=Random(seed))]) as (
            stub,
            _,
            _,
        ):
            await stub.do("x")
            began_at = asyncio.get_running_loop().time()
            await stub.do("x")
            return asyncio.get_running_loop().time() - began_at

    first, second, third = sorted([await waited(seed) for seed in range(3)])
    assert 1.0 <= first < second - 0.01 < third - 0.02
    assert third < 1.6


async def test_no_attempt_is_made_past_the_deadline() -> None:
    async with working(at_host=[rate_limit(0.01)], at_caller=[retry(5, random=Random(1))]) as (
        stub,
        _,
        _,
    ):
        await stub.do("x")
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        with pytest.raises(Overloaded), liferaft.deadline(5):
            await stub.do("x")
        assert loop.time() == began_at


async def test_attempts_end() -> None:
    attempts = 0

    async def refuse(invocation: Invocation, proceed: Proceed) -> int:
        nonlocal attempts
        attempts += 1
        raise Overloaded("never")

    async with working(at_host=[refuse], at_caller=[retry(4, random=Random(1))]) as (stub, _, _):
        with pytest.raises(Overloaded):
            await stub.do("x")
    assert 4 == attempts


async def test_a_call_that_may_have_been_executed_is_not_repeated() -> None:
    async with working(at_caller=[retry(3, random=Random(1))]) as (stub, work, host):
        call = asyncio.ensure_future(stub.hang())
        await work.hanging.wait()
        await host.astop()
        await host.astart()

        with pytest.raises(OutcomeUnknown):
            await call


async def test_what_one_attempt_may_have_executed_is_not_said_to_be_nothing_by_the_last() -> None:
    outcomes = [OutcomeUnknown("the host restarted"), Overloaded("come later")]

    async def fail(invocation: Invocation, proceed: Proceed) -> int:
        raise outcomes.pop(0)

    async with working(at_caller=[retry(2, random=Random(1)), fail]) as (stub, _, _):
        with pytest.raises(OutcomeUnknown, match="restarted") as raised:
            await stub.look()
    assert isinstance(raised.value.__cause__, Overloaded)


async def test_a_call_that_has_streams_is_not_repeated_for_what_was_read_is_gone() -> None:
    attempts = 0

    async def refuse_once(invocation: Invocation, proceed: Proceed) -> object:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise Overloaded("not now")
        return await proceed(invocation)

    async def numbers() -> AsyncIterator[int]:
        for number in range(10):
            yield number

    async with working(at_host=[refuse_once], at_caller=[retry(3)]) as (stub, _, _):
        with pytest.raises(Overloaded):
            await stub.total(numbers())
        assert 45 == await stub.total(numbers())


async def test_a_deadline_that_passed_is_not_tried_again() -> None:
    async with working(at_caller=[retry(3, random=Random(1))]) as (stub, _, _):
        with pytest.raises(DeadlineExceeded), liferaft.deadline(1):
            await stub.hang()


@pytest.mark.parametrize("make", [lambda: rate_limit(0), lambda: retry(0)])
def test_settings_that_make_no_sense_are_refused(make: Callable[[], Interceptor]) -> None:
    with pytest.raises(ConfigurationError):
        make()
