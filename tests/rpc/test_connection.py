"""Calls end to end over memory links and leaky ones, in virtual time."""

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Any, Protocol

import pytest

from liferaft.errors import (
    ConfigurationError,
    DeadlineExceeded,
    InterfaceMismatch,
    InvalidArgument,
    NoSuchObject,
    OutcomeUnknown,
    Overloaded,
    RemoteError,
    SessionExpired,
    StubClosed,
    Unreachable,
)
from liferaft.link.address import Address, parse_address
from liferaft.link.base import Link, Listener
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryLink, MemoryNetwork
from liferaft.rpc import driving as driving_module
from liferaft.rpc.addresses import BACKOFF_FIRST, CONNECT_TIMEOUT_FIRST
from liferaft.rpc.callee_sessions import Memory
from liferaft.rpc.deadline import deadline
from liferaft.rpc.server import Limits
from tests.rpc.objects import (
    Counter,
    CounterObject,
    Host,
    NotFound,
    connected,
    connection_to,
    hosted,
)

# Without the idle cycles that looptime runs before each step of time: 10 times faster.
pytestmark = pytest.mark.looptime(noop_cycles=0)


async def test_a_call_returns_what_the_method_returned() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter), connected(network, Counter) as counter:
        await counter.increment()

        assert 6 == await counter.increment(by=5)


async def test_calls_in_flight_are_answered_out_of_order() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter), connected(network, Counter) as counter:
        slow = asyncio.ensure_future(counter.hang())
        fast = await counter.increment()
        is_slow_done = slow.done()
        slow.cancel()

        assert (1, False) == (fast, is_slow_done)


async def test_a_declared_exception_arrives_as_itself_with_its_fields() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter), connected(network, Counter) as counter:
        with pytest.raises(NotFound, match="no milk") as caught:
            await counter.find("milk")

        assert ("milk", 1) == (caught.value.key, caught.value.tries)


async def test_another_exception_arrives_as_remote_error_with_its_traceback() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter), connected(network, Counter) as counter:
        with pytest.raises(RemoteError) as caught:
            await counter.fail("broken")

        error = caught.value
        assert ("ValueError", "broken") == (error.remote_type, error.remote_message)
        assert "raise ValueError(text)" in error.remote_traceback


async def test_a_wrong_argument_is_named_and_nothing_is_executed() -> None:
    network, object_ = MemoryNetwork(), CounterObject()
    async with hosted(network, object_, Counter), connected(network, Counter) as counter:
        with pytest.raises(InvalidArgument, match=r"Counter\.increment\(by\): Expected `int`"):
            await counter.increment("one")

    assert 0 == object_.count


async def test_an_argument_that_cannot_be_encoded_is_named_at_the_caller() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter), connected(network, Counter) as counter:
        with pytest.raises(InvalidArgument, match=r"Counter\.increment\(by\)"):
            await counter.increment(object())

        assert 1 == await counter.increment()


async def test_arguments_too_large_for_a_frame_are_refused_at_the_caller() -> None:
    network = MemoryNetwork()
    limits = Limits(frame_bytes_max=1000)
    async with (
        hosted(network, CounterObject(), Counter, limits=limits),
        connected(network, Counter) as counter,
    ):
        with pytest.raises(InvalidArgument, match="1000 are allowed"):
            await counter.fail("x" * 2000)

        assert 1 == await counter.increment()


async def test_a_result_too_large_for_a_frame_is_an_error_for_that_call_only() -> None:
    network = MemoryNetwork()
    limits = Limits(frame_bytes_max=600)
    async with (
        hosted(network, CounterObject(), Counter, limits=limits),
        connected(network, Counter) as counter,
    ):
        with pytest.raises(RemoteError, match="600 are allowed"):
            await counter.fail("x" * 500)  # its traceback makes it longer

        assert 1 == await counter.increment()


class Knocking:
    """A network that counts how often a link was asked for."""

    def __init__(self, inner: MemoryNetwork) -> None:
        self._inner = inner
        self.frame_bytes_max = inner.frame_bytes_max
        self.knocks = 0

    async def connect(self, address: Address) -> Link:
        self.knocks += 1
        return await self._inner.connect(address)

    async def listen(self, address: Address, accept: Callable[[Link], None]) -> Listener:
        return await self._inner.listen(address, accept)


class Abyss(Knocking):
    """A network at which some machines are gone: nobody takes a link, and nobody refuses one."""

    def __init__(self, inner: MemoryNetwork, *gone: str) -> None:
        super().__init__(inner)
        self.gone = gone

    async def connect(self, address: Address) -> Link:
        if str(address) in self.gone:
            await asyncio.get_running_loop().create_future()
        return await super().connect(address)


async def test_a_machine_that_is_gone_does_not_hold_up_the_first_call_for_long() -> None:
    network = Abyss(MemoryNetwork(), "memory:gone", "memory:gone-too")
    addresses = "memory:gone,memory:gone-too,memory:host"
    began = asyncio.get_running_loop().time()
    async with (
        hosted(network, CounterObject(), Counter),
        connected(network, Counter, addresses) as counter,
    ):
        assert 1 == await counter.increment()

    passed = asyncio.get_running_loop().time() - began
    assert passed < 2 * (CONNECT_TIMEOUT_FIRST + BACKOFF_FIRST) + 0.1


class Nest(Protocol):
    async def build(self, levels: int) -> Any: ...
    async def measure(self, nest: Any) -> int: ...


class NestObject:
    async def build(self, levels: int) -> Any:
        nest: Any = 0
        for _ in range(levels):
            nest = [nest]
        return nest

    async def measure(self, nest: Any) -> int:
        return len(str(nest))


async def test_what_is_nested_too_deep_is_an_error_for_that_call_only() -> None:
    """A host would end the connection over it, and the caller would send it again and again."""
    network = MemoryNetwork()
    deep = await NestObject().build(900)
    async with hosted(network, NestObject(), Nest), connected(network, Nest) as nest:
        with pytest.raises(InvalidArgument, match="nested more than 256 deep"):
            await nest.measure(deep)
        with pytest.raises(RemoteError, match="nested more than 256 deep"):
            await nest.build(900)

        assert 3 == await nest.measure([0])


async def test_a_oneway_call_is_executed_and_not_answered() -> None:
    network, object_ = MemoryNetwork(), CounterObject()
    async with hosted(network, object_, Counter), connected(network, Counter) as counter:
        await counter.increment()
        await counter.poke()
        await counter.increment()

    assert 1 == object_.poked


@pytest.mark.slow
async def test_ten_thousand_increments_through_loss_and_repeats_are_executed_once_each() -> None:
    """At most once, and with a deadline that is long enough exactly once (DESIGN section 3)."""
    leak = Leak(loss=0.3, duplicate=0.1, delay_max=0.02)
    network = LeakyNetwork(MemoryNetwork(), seed=7, outgoing=leak, incoming=leak)
    object_ = CounterObject()

    async def increment_often(seed: int) -> int:
        async with connected(network, Counter, seed=seed, timeout=600.0) as counter:
            for _ in range(1250):
                await counter.increment()
            return 1250

    async with hosted(network, object_, Counter):
        acknowledged = await asyncio.gather(*[increment_often(seed) for seed in range(8)])

    assert (10_000, 10_000) == (sum(acknowledged), object_.count)


@pytest.mark.parametrize("seed", range(5))
async def test_reordering_and_lost_links_never_run_a_call_twice(seed: int) -> None:
    leak = Leak(loss=0.2, duplicate=0.2, reorder=0.3, delay_max=0.05)
    network = LeakyNetwork(MemoryNetwork(), seed=seed, outgoing=leak, incoming=leak)
    object_ = CounterObject()
    chance = Random(seed)
    async with (
        hosted(network, object_, Counter),
        connected(network, Counter, timeout=600.0) as counter,
    ):
        calls = []
        for number in range(300):
            calls.append(asyncio.ensure_future(counter.increment()))
            if number % 60 == 30:
                chance.choice(network.links).abort()
            await asyncio.sleep(0.01)
        results = await asyncio.gather(*calls)

    assert list(range(1, 301)) == sorted(results)
    assert 300 == object_.count


async def test_a_call_that_was_under_way_when_the_host_restarted_has_an_unknown_outcome() -> None:
    network, object_ = MemoryNetwork(), CounterObject()
    host = await Host(network, object_, Counter).start()
    async with connected(network, Counter) as counter:
        await counter.increment()
        under_way = asyncio.ensure_future(counter.hang())
        await asyncio.sleep(0.1)
        # The host dies without a word: its answers are lost with it.
        for served in list(host.server._links):
            served.link.abort()
        await host.stop()
        host = await host.start()
        with pytest.raises(OutcomeUnknown, match="hang may have been executed"):
            await under_way

        assert 2 == await counter.increment()
    await host.stop()


async def test_an_idempotent_call_is_sent_again_to_the_restarted_host() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    host = await Host(network, CounterObject(), Counter).start()
    async with connected(leaky, Counter) as counter:
        await counter.increment()
        leaky.set(incoming=Leak(loss=1.0))
        under_way = asyncio.ensure_future(counter.value())
        await asyncio.sleep(0.1)
        await host.stop()
        leaky.set(incoming=Leak())
        host = await host.start()

        assert 1 == await under_way
    await host.stop()


async def test_calls_wait_for_a_host_that_comes_later() -> None:
    network = MemoryNetwork()
    async with connected(network, Counter) as counter:
        waiting = asyncio.ensure_future(counter.increment())
        await asyncio.sleep(2)
        async with hosted(network, CounterObject(), Counter):
            assert 1 == await waiting


async def test_the_default_timeout_bounds_a_call() -> None:
    network = MemoryNetwork()
    loop = asyncio.get_running_loop()
    async with (
        hosted(network, CounterObject(), Counter),
        connected(network, Counter, timeout=3.0) as counter,
    ):
        begin = loop.time()
        with pytest.raises(DeadlineExceeded):
            await counter.hang()

        assert pytest.approx(3.0, abs=0.1) == loop.time() - begin


async def test_the_ambient_deadline_bounds_a_call_and_stops_it_at_the_host() -> None:
    network, object_ = MemoryNetwork(), CounterObject()
    async with hosted(network, object_, Counter), connected(network, Counter) as counter:
        with deadline(0.5), pytest.raises(DeadlineExceeded):
            await counter.hang()
        await counter.increment()

        assert (1, 1) == (object_.hanging, object_.cancelled)


async def test_a_deadline_that_has_passed_sends_nothing() -> None:
    network, object_ = MemoryNetwork(), CounterObject()
    async with hosted(network, object_, Counter), connected(network, Counter) as counter:
        with deadline(0.0), pytest.raises(DeadlineExceeded, match="had passed before"):
            await counter.increment()

    assert 0 == object_.count


class Front(Protocol):
    async def ask(self) -> None: ...


async def test_a_deadline_bounds_nested_calls_over_two_hosts() -> None:
    """The outer caller gives 0.5 s; the front's own timeout of 60 s does not matter."""
    network, object_ = MemoryNetwork(), CounterObject()
    async with (
        hosted(network, object_, Counter, address="memory:back"),
        connected(network, Counter, "memory:back", timeout=60.0) as back,
    ):

        class FrontObject:
            async def ask(self) -> None:
                await back.hang()

        async with hosted(network, FrontObject(), Front), connected(network, Front) as front:
            with deadline(0.5), pytest.raises(DeadlineExceeded):
                await front.ask()
            await asyncio.sleep(0.5)

            assert 1 == object_.cancelled


async def test_cancelling_the_caller_cancels_the_callee() -> None:
    network, object_ = MemoryNetwork(), CounterObject()
    async with hosted(network, object_, Counter), connected(network, Counter) as counter:
        await counter.increment()
        call = asyncio.ensure_future(counter.hang())
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.sleep(0.1)

        assert (1, 1) == (object_.hanging, object_.cancelled)


class OtherCounter(Protocol):
    async def increment(self, by: str) -> int: ...


OtherCounter.__name__ = "Counter"


async def test_a_mismatch_names_the_method_and_both_signatures() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter):
        connection = connection_to(network, OtherCounter)
        with pytest.raises(InterfaceMismatch) as caught:
            await connection.wait_bound()
        await connection.aclose()

    assert (
        "Counter.increment differs: the caller has `increment(by: str) -> int`, "
        "the host has `increment(by: int = 1) -> int`"
    ) == str(caught.value)


async def test_calls_to_a_host_that_differs_fail_at_once() -> None:
    network = MemoryNetwork()
    loop = asyncio.get_running_loop()
    async with hosted(network, CounterObject(), Counter), connected(network, OtherCounter) as other:
        with pytest.raises(InterfaceMismatch):
            await other.increment("x")

        assert loop.time() < 1.0


async def test_an_object_that_is_not_there_is_reported_with_those_that_are() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter):
        connection = connection_to(network, Counter, object="Todo")
        with pytest.raises(NoSuchObject, match=r"no object 'Todo'.*it has Counter"):
            await connection.wait_bound()
        await connection.aclose()


async def test_nobody_at_the_address_is_reported_within_the_deadline() -> None:
    loop = asyncio.get_running_loop()
    connection = connection_to(MemoryNetwork(), Counter, "memory:a,memory:b", timeout=2.0)
    with pytest.raises(Unreachable, match="nobody answers at memory:a,memory:b"):
        await connection.wait_bound()
    await connection.aclose()

    assert pytest.approx(2.0, abs=0.1) == loop.time()


async def test_what_went_wrong_is_told_with_the_address_at_which_it_did() -> None:
    class Careless(MemoryNetwork):
        async def connect(self, address: Address) -> MemoryLink:
            raise ConfigurationError("no certificate is there")

    connection = connection_to(Careless(), Counter, "memory:a", timeout=2.0)
    with pytest.raises(Unreachable, match=r"^memory:a: no certificate is there$"):
        await connection.wait_bound()
    await connection.aclose()


async def test_a_call_that_was_never_sent_says_that_nothing_was_executed() -> None:
    async with connected(MemoryNetwork(), Counter, timeout=1.0) as counter:
        with pytest.raises(Unreachable):
            await counter.increment()


async def test_the_next_address_is_tried_when_a_host_does_not_answer() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    silent = await Host(network, CounterObject(), Counter, address="memory:a").start()
    async with (
        hosted(network, CounterObject(), Counter, address="memory:b"),
        connected(leaky, Counter, "memory:a,memory:b") as counter,
    ):
        await counter.increment()
        leaky.cut(parse_address("memory:a"))
        with pytest.raises(OutcomeUnknown):
            await counter.increment()

        assert 1 == await counter.increment()
    await silent.stop()


async def test_calls_that_give_up_do_not_have_it_connect_more_often() -> None:
    network = Knocking(MemoryNetwork())
    async with connected(network, Counter) as counter:
        for _ in range(200):
            with pytest.raises(Unreachable), deadline(0.05):
                await counter.increment()

    assert network.knocks < 25, "it is a second from one to the next after some"


async def test_a_closed_stub_is_refused_at_once() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter):
        async with connected(network, Counter) as counter:
            await counter.increment()
        with pytest.raises(StubClosed):
            await counter.increment()


async def test_closing_ends_the_calls_under_way() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter):
        async with connected(network, Counter) as counter:
            call = asyncio.ensure_future(counter.hang())
            await asyncio.sleep(0.1)
        with pytest.raises(StubClosed):
            await call


async def test_a_session_that_was_dropped_while_away_is_expired_and_a_new_one_begins() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=3)
    memory = Memory(sessions_max=1, session_idle_max=5.0)
    object_ = CounterObject()
    async with (
        hosted(network, object_, Counter, memory=memory),
        connected(leaky, Counter, timeout=60.0) as counter,
    ):
        await counter.increment()
        leaky.set(incoming=Leak(loss=1.0))
        under_way = asyncio.ensure_future(counter.increment())
        await asyncio.sleep(0.2)
        leaky.cut(parse_address("memory:host"))
        await asyncio.sleep(20)
        async with connected(network, Counter, seed=9) as other:
            await other.increment()
        leaky.set(incoming=Leak())
        leaky.heal(parse_address("memory:host"))
        with pytest.raises(OutcomeUnknown) as caught:
            await under_way

        assert SessionExpired is type(caught.value)


async def test_too_many_calls_in_flight_are_turned_away() -> None:
    network, limits = MemoryNetwork(), Limits(in_flight_max=2)
    async with (
        hosted(network, CounterObject(), Counter, limits=limits),
        connected(network, Counter) as counter,
    ):
        hanging = [asyncio.ensure_future(counter.hang()) for _ in range(2)]
        await asyncio.sleep(0.1)
        with pytest.raises(Overloaded):
            await counter.increment()
        for call in hanging:
            call.cancel()
        await asyncio.sleep(0.1)

        assert 1 == await counter.increment()


async def test_an_idle_connection_stays_up_and_a_dead_host_is_noticed() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    async with hosted(network, CounterObject(), Counter):
        connection = connection_to(leaky, Counter)
        await connection.wait_bound()
        await asyncio.sleep(300)
        was_bound = connection.is_bound
        leaky.cut(parse_address("memory:host"))
        await asyncio.sleep(20)

        assert (True, False) == (was_bound, connection.is_bound)
        await connection.aclose()


async def test_a_call_costs_no_timer_of_its_own() -> None:
    """A thousand calls in flight share one timer."""
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter):
        connection = connection_to(network, Counter)
        await connection.wait_bound()
        hang = connection.interface.methods["hang"]
        for _ in range(2):  # the first round trip shortens the interval, and so moves the timer
            await connection.call(connection.interface.methods["value"], ())
        armed_before = connection._timer
        calls = [asyncio.ensure_future(connection.call(hang, ())) for _ in range(1000)]
        await asyncio.sleep(0)

        assert armed_before is connection._timer
        for call in calls:
            call.cancel()
        await connection.aclose()


async def test_a_frame_that_makes_no_sense_ends_that_link_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter), connected(network, Counter) as counter:
        await counter.increment()
        link = await network.connect(parse_address("memory:host"))

        class Deaf:
            def frames_received(self, frames: list[bytes]) -> None: ...
            def link_closed(self, reason: Exception | None) -> None: ...
            def bytes_received(self) -> None: ...
            def sending_paused(self) -> None: ...
            def sending_resumed(self) -> None: ...

        with caplog.at_level(logging.WARNING, "liferaft.rpc"):
            link.start(Deaf())
            link.send(b"\xc1garbage\n")
            await asyncio.sleep(0.1)
        ended = link.is_closed

        assert (True, 1) == (ended, len(caplog.records))
        assert 2 == await counter.increment()


async def test_a_silent_connection_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter) as host:
        await network.connect(parse_address("memory:host"))
        await asyncio.sleep(1)
        before = host.server.connection_count
        with caplog.at_level(logging.ERROR, "liferaft.rpc"):
            await asyncio.sleep(5)

        assert (1, 0) == (before, host.server.connection_count)


async def test_nothing_is_left_when_all_is_closed() -> None:
    network = MemoryNetwork()
    before = asyncio.all_tasks()
    async with hosted(network, CounterObject(), Counter), connected(network, Counter) as counter:
        await counter.increment()
        call = asyncio.ensure_future(counter.hang())
        await asyncio.sleep(0.1)
        call.cancel()
    await asyncio.wait([call])

    assert before == asyncio.all_tasks()


async def test_a_caller_without_a_brake_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving_module, "UNANSWERED_MAX", 2)
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter), connected(network, Counter) as counter:
        calls = [asyncio.ensure_future(counter.hang()) for _ in range(2)]
        await asyncio.sleep(0.1)
        with pytest.raises(Overloaded, match="unanswered") as refused:
            await counter.increment()
        assert refused.value.is_of_a_call
        for call in calls:
            call.cancel()
        await asyncio.sleep(0.1)

        assert 1 == await counter.increment()
