"""What goes wrong around a host in tests that draw at random: lossy links, cuts, restarts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Final

from liferaft.errors import (
    ConnectionLost,
    DeadlineExceeded,
    NoSuchObject,
    OutcomeUnknown,
    SessionExpired,
    StubClosed,
    Unreachable,
)
from liferaft.link.leak import Leak
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.host import CalleeStub

TOLD: Final = (
    ConnectionLost,
    DeadlineExceeded,
    NoSuchObject,
    OutcomeUnknown,
    SessionExpired,
    StubClosed,
    Unreachable,
)
"""What a caller may be told then; above all not that its arguments are wrong."""
QUIET: Final = 100.0
"""Seconds, more than any lease."""


def leaky(inside: MemoryNetwork, seed: int, random: Random) -> LeakyNetwork:
    """Return the network of callers: a good one, or one that loses and repeats."""
    leak = Leak(
        loss=random.choice((0.0, 0.1, 0.3)),
        duplicate=random.choice((0.0, 0.2)),
        delay_max=random.choice((0.0, 0.02, 0.3)),
    )
    return LeakyNetwork(inside, seed=seed, outgoing=leak, incoming=leak)


@contextlib.asynccontextmanager
async def foul_weather(
    network: LeakyNetwork,
    host: CalleeStub,
    random: Random,
    *,
    pause: float,
    before_restart: Callable[[], None] = lambda: None,
) -> AsyncIterator[None]:
    """Cut links and restart the host every `pause` seconds or so; at the end all is well."""
    trouble = asyncio.create_task(_make_trouble(network, host, random, pause, before_restart))
    try:
        yield
    finally:
        trouble.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await trouble
        network.heal_all()
        if not host.is_running:
            await host.astart()


async def _make_trouble(
    network: LeakyNetwork,
    host: CalleeStub,
    random: Random,
    pause: float,
    before_restart: Callable[[], None],
) -> None:
    while True:
        await asyncio.sleep(random.expovariate(1 / pause))
        if random.random() < 0.5:
            before_restart()
            await host.astop()
            await asyncio.sleep(random.choice((0.0, 0.5, 5.0)))
            await host.astart()
        else:
            outgoing, incoming = random.choice(((True, True), (True, False), (False, True)))
            network.cut_all(outgoing=outgoing, incoming=incoming)
            await asyncio.sleep(random.choice((0.5, 5.0, 40.0, QUIET)))
            network.heal_all()
