"""Calls to two hosts with narrow limits, while links lose frames and the hosts restart.

Whatever happens: a call that does harm is executed once at most, one that was answered was
executed, and one of which a caller was told that nothing was executed was not.
"""

import asyncio
import contextlib
from collections import Counter
from random import Random
from typing import Protocol

import pytest

import liferaft
from liferaft.errors import (
    ConnectionLost,
    DeadlineExceeded,
    OutcomeUnknown,
    Overloaded,
    Refused,
    Unreachable,
)
from liferaft.interceptors import Interceptor, rate_limit, retry
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.balancing import Balance
from tests.rpc.foul_weather import QUIET, foul_weather, leaky

pytestmark = pytest.mark.looptime(noop_cycles=0)

CALLERS = 4
ROUNDS = 25


class Register(Protocol):
    async def once(self, number: int, pause: float) -> int: ...
    @liferaft.idempotent
    async def again(self, number: int, pause: float) -> int: ...


class RegisterObject:
    def __init__(self, executed: Counter[int]) -> None:
        self._executed = executed

    async def once(self, number: int, pause: float) -> int:
        self._executed[number] += 1
        await asyncio.sleep(pause)
        return number

    async def again(self, number: int, pause: float) -> int:
        return await self.once(number, pause)


class Scene:
    """Two hosts, several callers, and what became of each call."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        choose = self.random.choice
        self.inside = MemoryNetwork()
        self.outside = leaky(self.inside, seed, self.random)
        self.limits = liferaft.Limits(in_flight_max=choose((2, 1_000)))
        self.memory = liferaft.Memory(
            executions_max=choose((3, 1_000)),
            replies_max=choose((2, 1_000)),
            sessions_max=choose((2, 1_000)),
        )
        self.balance: Balance = choose(("failover", "round-robin", "least-pending"))
        self.at_host: list[Interceptor] = choose(([], [], [rate_limit(20, burst=3)]))
        self.executed: Counter[int] = Counter()
        self.made = 0
        self.answered: set[int] = set()
        self.refused: set[int] = set()
        self.harmful: set[int] = set()

    async def run(self) -> None:
        hosts = [
            await liferaft.aserve(
                RegisterObject(self.executed),
                Register,
                f"memory:{name}",
                network=self.inside,
                limits=self.limits,
                memory=self.memory,
                interceptors=self.at_host,
            )
            for name in "ab"
        ]
        async with (
            foul_weather(self.outside, hosts[0], self.random, pause=12.0),
            foul_weather(self.outside, hosts[1], self.random, pause=12.0),
        ):
            await asyncio.gather(*(self.call_at_random() for _ in range(CALLERS)))
        await asyncio.sleep(QUIET)
        for host in hosts:
            await host.astop()

    async def connect(self) -> Register:
        interceptors = self.random.choice(([], [], [retry(3, random=self.random)]))
        while True:
            with contextlib.suppress(Unreachable, DeadlineExceeded, Refused):
                return await liferaft.aconnect(
                    Register,
                    "memory:a,memory:b",
                    network=self.outside,
                    balance=self.balance,
                    interceptors=interceptors,
                    timeout=self.random.choice((1.0, 5.0, 20.0)),
                )
            await asyncio.sleep(1.0)

    async def call_at_random(self) -> None:
        choose = self.random.choice
        stub = await self.connect()
        for _ in range(ROUNDS):
            await asyncio.sleep(choose((0.0, 0.0, 0.05, 1.0)))
            await asyncio.gather(*(self.call(stub) for _ in range(choose((1, 1, 4, 12)))))
            if self.random.random() < 0.05:
                await liferaft.aclose(stub)
                stub = await self.connect()
        await liferaft.aclose(stub)

    async def call(self, stub: Register) -> None:
        self.made += 1
        number = self.made
        method = stub.again
        if self.random.random() < 0.5:
            method = stub.once
            self.harmful.add(number)
        pause = self.random.choice((0.0, 0.0, 0.1, 2.0))
        given_up_after = self.random.choice((*(None,) * 5, 0.01, 0.5))
        try:
            async with asyncio.timeout(given_up_after):
                assert number == await method(number, pause)
            self.answered.add(number)
        except (Overloaded, Unreachable):
            self.refused.add(number)
        except (ConnectionLost, OutcomeUnknown, TimeoutError):
            pass


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.usefixtures("one_chance")
async def test_a_call_is_executed_once_at_most_and_what_is_told_of_it_is_true(seed: int) -> None:
    scene = Scene(seed)
    await scene.run()

    assert scene.answered
    assert not [number for number in scene.harmful if scene.executed[number] > 1]
    assert scene.answered <= scene.executed.keys()
    assert not scene.refused & scene.executed.keys()
