"""Stubs that are used now and then, over links that lose a little: no link is taken for dead."""

import asyncio
from random import Random
from typing import Protocol

import pytest

import liferaft
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork

pytestmark = pytest.mark.looptime(noop_cycles=0)

CALLS = 40
PAUSES = (0.0, 1.0, 2.5, 3.0, 4.9, 5.1, 14.0, 16.0, 70.0)
DURATIONS = (0.0, 0.3, 1.0, 3.5, 20.0)


class Account(Protocol):
    async def deposit(self, amount: int) -> int: ...


class Bank(Protocol):
    async def account(self) -> Account: ...
    async def audit(self, seconds: float) -> float: ...


class AccountObject:
    def __init__(self) -> None:
        self._balance = 0

    async def deposit(self, amount: int) -> int:
        self._balance += amount
        return self._balance


class BankObject:
    async def account(self) -> AccountObject:
        return AccountObject()

    async def audit(self, seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds


@pytest.mark.parametrize("seed", range(4))
async def test_a_stub_keeps_its_link_and_its_references_however_long_it_rests(seed: int) -> None:
    random = Random(seed)
    leak = Leak(loss=0.1, duplicate=0.1, delay_max=0.1)
    inside = MemoryNetwork()
    network = LeakyNetwork(inside, seed=seed, outgoing=leak, incoming=leak)
    hosts = [
        await liferaft.aserve(BankObject(), Bank, f"memory:{name}", network=inside) for name in "ab"
    ]
    bank = await liferaft.aconnect(Bank, "memory:a,memory:b", network=network, timeout=100)
    links = network.links
    account = await bank.account()

    for number in range(1, CALLS + 1):
        await asyncio.sleep(random.choice(PAUSES))
        seconds = random.choice(DURATIONS)
        assert seconds == await bank.audit(seconds)
        assert number == await account.deposit(1)

    assert links == network.links
    await liferaft.aclose(bank)
    for host in hosts:
        await host.astop()
