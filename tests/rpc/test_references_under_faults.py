"""Objects and functions that are passed around while links lose frames and hosts restart.

Several callers pass their own objects, each other's and the host's through one hub, and call what
they get. Whatever happens to the network and the host: a call is answered with its own answer or
with an error that says what went wrong, none is executed twice, and in the end nobody holds
anything.
"""

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Protocol

import pytest

import liferaft
from liferaft.errors import DeadlineExceeded, Overloaded, RemoteError, Unreachable
from liferaft.interceptors import Interceptor, retry
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.host import CalleeStub
from liferaft.rpc.interception import Invocation, Proceed
from tests.rpc.foul_weather import QUIET, TOLD, foul_weather, leaky
from tests.rpc.objects import connection_of

pytestmark = pytest.mark.looptime(noop_cycles=0)

CALLERS = 3
CALLS = 40
SLOTS = 4


class Cell(Protocol):
    async def name(self) -> str: ...
    async def add(self, number: int) -> int: ...


class Hub(Protocol):
    async def apply(self, function: Callable[[int], Awaitable[int]], to: int) -> int: ...
    async def keep(self, slot: int, cell: Cell) -> None: ...
    async def kept(self, slot: int) -> Cell | None: ...
    async def poke(self, slot: int, number: int) -> int: ...
    async def cell(self, name: str) -> Cell: ...
    async def names(self, one: Cell, other: Cell) -> list[str]: ...


class CellObject:
    def __init__(self, name: str, executed: Counter[tuple[str, int]], pause: float = 0.0) -> None:
        self._name = name
        self._executed = executed
        self._pause = pause

    async def name(self) -> str:
        return self._name

    async def add(self, number: int) -> int:
        self._executed[self._name, number] += 1
        await asyncio.sleep(self._pause)
        return number


class HubObject:
    def __init__(self, executed: Counter[tuple[str, int]]) -> None:
        self.executed = executed
        self.slots: dict[int, Cell] = {}
        self.cells: dict[str, CellObject] = {}

    async def apply(self, function: Callable[[int], Awaitable[int]], to: int) -> int:
        return await function(to)

    async def keep(self, slot: int, cell: Cell) -> None:
        self.slots[slot] = cell

    async def kept(self, slot: int) -> Cell | None:
        return self.slots.get(slot)

    async def poke(self, slot: int, number: int) -> int:
        cell = self.slots.get(slot)
        return number if cell is None else await cell.add(number)

    async def cell(self, name: str) -> CellObject:
        return self.cells.setdefault(name, CellObject(name, self.executed))

    async def names(self, one: Cell, other: Cell) -> list[str]:
        return [await one.name(), await other.name()]


async def _slow(invocation: Invocation, proceed: Proceed) -> Any:
    await asyncio.sleep(0.05)
    return await proceed(invocation)


class Scene:
    """A hub, its callers, and what goes wrong between them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.inside = MemoryNetwork()
        self.outside = leaky(self.inside, seed, self.random)
        self.executed: Counter[tuple[str, int]] = Counter()
        self.answered = 0
        self.wrong: list[int] = []
        self.hub = HubObject(self.executed)
        self.host: CalleeStub
        self.callers = [HubCaller(self, number) for number in range(CALLERS)]

    async def run(self) -> None:
        self.host = await liferaft.aserve(
            self.hub,
            Hub,
            "memory:hub",
            network=self.inside,
            interceptors=self.interceptors(),
            callback_interceptors=self.interceptors(),
        )
        async with foul_weather(
            self.outside, self.host, self.random, pause=15.0, before_restart=self.hub.slots.clear
        ):
            await asyncio.gather(*(caller.run() for caller in self.callers))

    def interceptors(self) -> list[Interceptor]:
        async def moody(invocation: Invocation, proceed: Proceed) -> Any:
            if self.random.random() < 0.2:
                raise Overloaded("not now")
            return await proceed(invocation)

        several: list[Interceptor] = [_slow, moody, retry(3, random=self.random)]
        return self.random.sample(several, self.random.randrange(4))

    async def end(self) -> None:
        """Let go of everything, check that nobody holds anything, and close."""
        await asyncio.sleep(QUIET)
        self.hub.slots.clear()  # not before: a call that was given up may have been on its way
        gc.collect()  # errors hold their frames, and those what lay in them
        await asyncio.sleep(QUIET)
        held = [caller.references.export_count for caller in self.callers]
        (dispatcher,) = self.host._dispatchers.values()
        held += [table.export_count for table in dispatcher.references._tables.values()]
        assert not any(held)
        for caller in self.callers:
            await liferaft.aclose(caller.stub)
        await self.host.astop()


class HubCaller:
    """Passes things to and fro, at random."""

    def __init__(self, scene: Scene, number: int) -> None:
        self.scene = scene
        self.number = number
        self.random = scene.random
        pauses = (0.0, 0.0, 0.5, 5.0)
        self.own = [
            CellObject(f"own {number}.{each}", scene.executed, self.random.choice(pauses))
            for each in range(3)
        ]
        self.held: list[Cell] = []
        self.stub: Hub

    @property
    def references(self) -> Any:
        return connection_of(self.stub).references

    async def run(self) -> None:
        await self.connect()
        for number in range(CALLS):
            await asyncio.sleep(self.random.choice((0.0, 0.0, 0.1, 1.0, 5.0)))
            step = self.random.choice(
                (self.apply, self.keep, self.fetch, self.poke, self.borrow, self.name, self.add)
            )
            with contextlib.suppress(*TOLD, Overloaded, RemoteError):
                await step(CALLS * self.number + number)
                self.scene.answered += 1
            if self.random.random() < 0.2:
                del self.held[:-2]
            if self.random.random() < 0.05:
                self.held.clear()
                await liferaft.aclose(self.stub)
                await self.connect()
        self.held.clear()

    async def connect(self) -> None:
        timeout = self.random.choice((2.0, 20.0, 60.0))
        while True:
            with contextlib.suppress(Unreachable, DeadlineExceeded):
                self.stub = await liferaft.aconnect(
                    Hub,
                    "memory:hub",
                    network=self.scene.outside,
                    timeout=timeout,
                    interceptors=self.scene.interceptors(),
                    callback_interceptors=self.scene.interceptors(),
                )
                return
            await asyncio.sleep(1.0)

    async def apply(self, number: int) -> None:
        async def plain(value: int) -> int:
            return 7 * value + self.number

        async def nested(value: int) -> int:
            cell = await self.stub.cell("nested")
            if "nested" != await cell.name():
                self.scene.wrong.append(value)
            return await plain(value)

        function = self.random.choice((plain, nested))
        assert 7 * number + self.number == await self.stub.apply(function, number)

    async def keep(self, _: int) -> None:
        cell = self.random.choice([*self.own, *self.held])
        await self.stub.keep(self.random.randrange(SLOTS), cell)

    async def fetch(self, _: int) -> None:
        cell = await self.stub.kept(self.random.randrange(SLOTS))
        if cell is not None and cell not in self.own:
            self.held.append(cell)

    async def poke(self, number: int) -> None:
        assert number == await self.stub.poke(self.random.randrange(SLOTS), number)

    async def borrow(self, _: int) -> None:
        name = f"hub {self.random.randrange(3)}"
        cell = await self.stub.cell(name)
        self.held.append(cell)
        assert name == await cell.name()

    async def name(self, _: int) -> None:
        mine = self.random.choice(self.own)
        other = self.random.choice([*self.own, *self.held])
        names = await self.stub.names(mine, other)
        assert await mine.name() == names[0]
        # One that nobody else holds goes home while its stub is collected.
        assert ["hub 0", names[0]] == await self.stub.names(await self.stub.cell("hub 0"), mine)

    async def add(self, number: int) -> None:
        if self.held:
            assert number == await self.random.choice(self.held).add(number)


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.usefixtures("one_chance")
async def test_every_answer_is_the_call_s_own_and_nothing_is_left(seed: int) -> None:
    scene = Scene(seed)
    await scene.run()

    assert scene.answered > 0
    assert {1} >= set(scene.executed.values())
    assert not scene.wrong
    await scene.end()
