"""What a caller does while its host says nothing: it asks the others, in virtual time."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import pytest

from liferaft.link.address import Address, parse_address
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.buffers import CallFrame
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.caller import CallerStubCreator
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.dispatch import Redirected
from liferaft.rpc.inquiry import ANSWER_WITHIN, SILENCE_MIN, Inquirer
from liferaft.rpc.interface import Interface
from liferaft.rpc.server import Server
from tests.rpc.objects import Counter, CounterObject, connection_to, hosted

pytestmark = pytest.mark.looptime(noop_cycles=0)

A, B, C = (parse_address(f"memory:{name}") for name in "abc")
SESSION = bytes(16)
INTERFACE = Interface.of(Counter)


class Replica(ObjectDispatcher):
    """Serves a durable counter, or says who does; it keeps what it was asked."""

    def __init__(self, elsewhere: Address | str | None = None) -> None:
        super().__init__(CounterObject(), INTERFACE)
        self.elsewhere = elsewhere
        self.asked: list[tuple[bytes, bool]] = []
        self.thinks_for = 0.0

    @property
    def is_durable(self) -> bool:
        return True

    async def admit(
        self, session: bytes, *, is_resumed: bool, send: Callable[[CallFrame], None]
    ) -> None:
        self.asked.append((session, is_resumed))
        await asyncio.sleep(self.thinks_for)
        if self.elsewhere is not None:
            raise Redirected(str(self.elsewhere))
        await super().admit(session, is_resumed=False, send=send)


@contextlib.asynccontextmanager
async def replicas(
    network: MemoryNetwork, elsewhere: dict[Address, Address | str | None]
) -> AsyncIterator[dict[Address, Replica]]:
    """Serve the counter at each address, or have its host name another."""
    found: dict[Address, Replica] = {}
    async with contextlib.AsyncExitStack() as stack:
        for address, other in elsewhere.items():
            replica = found[address] = Replica(other)
            server = Server(address, network=network, random=Random(1))
            server.host("Counter", replica)
            await server.start()
            stack.push_async_callback(replica.stop)
            stack.push_async_callback(server.stop)
        yield found


@contextlib.asynccontextmanager
async def caller(leaky: LeakyNetwork, addresses: str) -> AsyncIterator[tuple[Any, Any]]:
    connection = connection_to(leaky, Counter, addresses)
    try:
        yield connection, CallerStubCreator(INTERFACE).create(connection)
    finally:
        await connection.aclose()


def inquirer(network: Any, *, name: str = "Counter") -> Inquirer:
    return Inquirer(network, object_name=name, signatures=INTERFACE.signatures, token="")


async def test_a_host_that_serves_the_object_says_so() -> None:
    network = MemoryNetwork()
    async with replicas(network, {A: None}) as found:
        assert A == await inquirer(network).who_serves(A, SESSION)
        assert [(SESSION, True)] == found[A].asked, "or it would open the session"


async def test_a_host_that_does_not_serve_it_says_who_does() -> None:
    network = MemoryNetwork()
    async with replicas(network, {A: B}):
        assert B == await inquirer(network).who_serves(A, SESSION)


async def test_who_cannot_tell_is_no_answer() -> None:
    network = MemoryNetwork()
    async with replicas(network, {A: None}):
        assert await inquirer(network, name="Nothing").who_serves(A, SESSION) is None
        assert await inquirer(network).who_serves(B, SESSION) is None


async def test_what_is_no_answer_is_known_at_once() -> None:
    network, loop = MemoryNetwork(), asyncio.get_running_loop()
    await network.listen(B, lambda link: link.abort())
    async with replicas(network, {A: "nowhere in particular"}):
        assert await inquirer(network).who_serves(A, SESSION) is None
        assert await inquirer(network).who_serves(B, SESSION) is None
        assert loop.time() < ANSWER_WITHIN


async def test_no_link_is_left_of_a_question() -> None:
    network = MemoryNetwork()
    async with hosted(network, CounterObject(), Counter, address="memory:a") as host:
        await inquirer(network).who_serves(A, SESSION)
        await asyncio.sleep(0.1)

        assert 0 == host.server.connection_count


async def test_a_host_that_says_nothing_is_waited_for_in_vain_for_a_second() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1, outgoing=Leak(loss=1.0))
    loop = asyncio.get_running_loop()
    async with replicas(network, {A: None}):
        answer = await inquirer(leaky).who_serves(A, SESSION)

        assert answer is None
        assert ANSWER_WITHIN == pytest.approx(loop.time(), abs=0.01)


async def test_the_question_is_repeated_where_frames_are_lost() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1, outgoing=Leak(loss=0.4))
    async with replicas(network, {A: None}):
        answers = [await inquirer(leaky).who_serves(A, SESSION) for _ in range(20)]

        assert answers.count(A) > 10


async def test_a_silent_host_is_left_when_another_serves_its_object() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    loop = asyncio.get_running_loop()
    async with (
        replicas(network, {A: None, B: C, C: None}),
        caller(leaky, "memory:a,memory:b,memory:c") as (connection, counter),
    ):
        await counter.increment()
        leaky.cut(A)
        cut_at = loop.time()
        await counter.increment()

        assert SILENCE_MIN < loop.time() - cut_at < 0.5
        assert C == connection._book.current


async def test_a_silent_host_is_kept_while_the_others_know_no_better() -> None:
    """It may have much to do: then its callers must not all come again over new links."""
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    async with (
        replicas(network, {A: None, B: A, C: A}) as found,
        caller(leaky, "memory:a,memory:b,memory:c") as (_, counter),
    ):
        await counter.increment()
        leaky.cut(A)
        call = asyncio.ensure_future(counter.increment())
        await asyncio.sleep(2.0)
        leaky.heal(A)
        await call

        assert 1 == len(found[A].asked)
        assert found[B].asked
        assert found[C].asked


async def test_a_host_that_is_heard_again_is_kept_whatever_the_others_say() -> None:
    """It says itself who serves the object, if it does not."""
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    async with (
        replicas(network, {A: None, B: C, C: None}) as found,
        caller(leaky, "memory:a,memory:b") as (connection, counter),
    ):
        await counter.increment()
        found[B].thinks_for = ANSWER_WITHIN / 2
        leaky.cut(A)
        call = asyncio.ensure_future(counter.increment())
        await asyncio.sleep(0.7)
        leaky.heal(A)
        await call
        await asyncio.sleep(5)

        assert found[B].asked
        assert A == connection._book.current
        assert 1 == len(found[A].asked)


async def test_many_calls_ask_no_more_often_than_one() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    async with (
        replicas(network, {A: None, B: A}) as found,
        caller(leaky, "memory:a,memory:b") as (_, counter),
    ):
        await counter.increment()
        leaky.cut(A)
        calls = []
        for _ in range(100):
            calls.append(asyncio.ensure_future(counter.increment()))
            await asyncio.sleep(0.02)
        leaky.heal(A)
        await asyncio.gather(*calls)

        assert 1 <= len(found[B].asked) <= 4


async def test_nobody_else_is_asked_while_the_host_answers() -> None:
    """A call that takes long is no silence: the host says that it works."""
    network = MemoryNetwork()
    async with (
        replicas(network, {A: None, B: A}) as found,
        caller(LeakyNetwork(network, seed=1), "memory:a,memory:b") as (_, counter),
    ):
        call = asyncio.ensure_future(counter.hang())
        await asyncio.sleep(10)
        call.cancel()

        assert not found[B].asked


async def test_a_host_far_away_is_given_the_time_to_answer() -> None:
    network = MemoryNetwork()
    far = LeakyNetwork(network, seed=1, outgoing=Leak(delay_min=0.35, delay_max=0.35))
    async with (
        replicas(network, {A: None, B: A}) as found,
        caller(far, "memory:a,memory:b") as (_, counter),
    ):
        for _ in range(5):
            await counter.increment()
        call = asyncio.ensure_future(counter.hang())
        await asyncio.sleep(10)
        call.cancel()

        assert not found[B].asked


async def test_a_host_that_answers_other_calls_is_not_in_doubt() -> None:
    network = MemoryNetwork()
    async with (
        replicas(network, {A: None, B: A}),
        caller(LeakyNetwork(network, seed=1), "memory:a,memory:b") as (connection, counter),
    ):
        call = asyncio.ensure_future(counter.hang())
        for _ in range(100):
            await counter.increment()
            await asyncio.sleep(0.02)
            assert connection._inquiry is None
        call.cancel()


async def test_an_idle_connection_asks_nobody() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    async with (
        replicas(network, {A: None, B: A}) as found,
        caller(leaky, "memory:a,memory:b") as (_, counter),
    ):
        await counter.increment()
        leaky.cut(A)
        await asyncio.sleep(10)

        assert not found[B].asked


async def test_nobody_else_is_asked_where_the_session_is_the_hosts_own() -> None:
    """There a call that went elsewhere could be executed twice: only the link's end decides."""
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    async with (
        hosted(network, CounterObject(), Counter, address="memory:a"),
        replicas(network, {B: None}) as found,
        caller(leaky, "memory:a,memory:b") as (_, counter),
    ):
        await counter.increment()
        leaky.cut(A)
        call = asyncio.ensure_future(counter.increment())
        await asyncio.sleep(2)
        call.cancel()

        assert not found[B].asked


async def test_closing_ends_the_question() -> None:
    network = MemoryNetwork()
    leaky = LeakyNetwork(network, seed=1)
    async with replicas(network, {A: None, B: A}):
        connection: CallerConnection = connection_to(leaky, Counter, "memory:a,memory:b")
        counter: Any = CallerStubCreator(INTERFACE).create(connection)
        await counter.increment()
        leaky.cut_all()
        call = asyncio.ensure_future(counter.increment())
        await asyncio.sleep(0.5)
        names = {task.get_name() for task in asyncio.all_tasks()}
        await connection.aclose()
        await asyncio.gather(call, return_exceptions=True)

        assert "liferaft inquiry" in names
        assert "liferaft inquiry" not in {task.get_name() for task in asyncio.all_tasks()}
