"""Each attack against a host in this process: honest calls succeed, and its bounds hold.

How much of their throughput honest callers keep is measured by `python -m liferaft.ops.hostile`;
here nothing depends on how fast the machine is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random

import pytest

from liferaft.link.address import Address, parse_address
from liferaft.link.system import SystemNetwork
from liferaft.ops.hostile.attacks import ATTACKS, Attacker, Target
from liferaft.recipes.kv import KeyValue
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.callee_sessions import Memory
from liferaft.rpc.codec import encode
from liferaft.rpc.connection import CallerConnection
from liferaft.rpc.interface import Interface
from liferaft.rpc.server import Limits, Server

pytestmark = pytest.mark.slow

INTERFACE = Interface.of(KeyValue)
PUT, GET = INTERFACE.methods["put"], INTERFACE.methods["get"]
CONNECTIONS_MAX = 200
LIMITS = Limits(connections_max=CONNECTIONS_MAX)
MEMORY = Memory(sessions_max=500)
ENOUGH = {
    "silent": 1_500,
    "dribble": 2_000,
    "length-bombs": 200,
    "half-frames": 200,
    "garbage": 1_000,
    "cancel-flood": 5_000,
    "never-reads": 20_000,
    "sessions": 600,
}
"""What each attack must have done while honest calls go on."""


class Host:
    """A server with one object, and how to call it."""

    def __init__(self, server: Server, dispatcher: ObjectDispatcher) -> None:
        self.server = server
        self.dispatcher = dispatcher

    @property
    def address(self) -> Address:
        return self.server.address

    @property
    def target(self) -> Target:
        return Target(self.address.host, self.address.port, "KeyValue", "get", encode((b"k",)))

    @contextlib.asynccontextmanager
    async def caller(self, seed: int) -> AsyncIterator[CallerConnection]:
        connection = CallerConnection(
            [self.address],
            interface=INTERFACE,
            network=SystemNetwork(),
            random=Random(seed),
            timeout=60.0,
        )
        connection.open()
        try:
            yield connection
        finally:
            await connection.aclose()


@contextlib.asynccontextmanager
async def hosting() -> AsyncIterator[Host]:
    dispatcher = ObjectDispatcher(KeyValue(), INTERFACE, threads=0, memory=MEMORY)
    server = Server(
        parse_address("127.0.0.1:0"), network=SystemNetwork(), random=Random(1), limits=LIMITS
    )
    server.host("KeyValue", dispatcher)
    await server.start()
    try:
        yield Host(server, dispatcher)
    finally:
        await server.stop()
        await dispatcher.stop()


@contextlib.asynccontextmanager
async def attacked(host: Host, name: str) -> AsyncIterator[Attacker]:
    attacker = Attacker(host.target)
    attacking = asyncio.ensure_future(attacker.run(name))
    try:
        yield attacker
    finally:
        attacking.cancel()
        await asyncio.gather(attacking, return_exceptions=True)


async def call_until(host: Host, attacker: Attacker, enough: int) -> int:
    """Let an honest caller put and get until the attack has done enough; return how often."""
    calls = 0
    async with host.caller(1) as caller:
        while attacker.done < enough or calls < 50:
            value = b"%d" % calls
            await caller.call(PUT, (b"honest", value))
            assert value == await caller.call(GET, (b"honest",))
            calls += 1
            assert host.server.connection_count <= CONNECTIONS_MAX
            assert host.dispatcher.session_count <= MEMORY.sessions_max
            assert host.dispatcher._execution_bytes <= MEMORY.execution_bytes_max
            await asyncio.sleep(0)
    return calls


@pytest.mark.parametrize("name", ENOUGH)
async def test_honest_calls_succeed_under_attack_and_bounds_hold(name: str) -> None:
    async with hosting() as host:
        async with attacked(host, name) as attacker:
            calls = await call_until(host, attacker, ENOUGH[name])
            # A caller that was not there when the attack began gets through, too.
            async with host.caller(2) as late:
                late_answer = await late.call(GET, (b"honest",))
        # And whoever comes afterwards finds a host as if nothing had been.
        async with host.caller(3) as afterwards:
            answer = await afterwards.call(GET, (b"honest",))

    assert calls >= 50
    assert late_answer == answer == b"%d" % (calls - 1)


def test_every_attack_on_a_plain_host_is_tried() -> None:
    assert {name for name, attack in ATTACKS.items() if not attack.is_for_nodes} == set(ENOUGH)
