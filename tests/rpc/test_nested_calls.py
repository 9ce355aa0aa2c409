"""What is told of a call is true of this call, whatever its method heard of calls of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Protocol

import pytest

import liferaft
from liferaft.errors import (
    InvalidArgument,
    NoSuchObject,
    Overloaded,
    PermissionDenied,
    Refused,
    RemoteError,
)
from liferaft.interceptors import retry
from liferaft.link.base import FRAME_BYTES_MAX
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.interception import Invocation, Proceed

pytestmark = pytest.mark.looptime(noop_cycles=0)


class Back(Protocol):
    async def work(self, amount: int) -> int: ...


class Front(Protocol):
    async def charge(self, amount: int) -> int: ...
    async def refuse(self, pause: float) -> None: ...
    async def miscall(self, how: str) -> None: ...
    @liferaft.raises(Overloaded)
    async def pass_on(self, amount: int) -> int: ...


class BackObject:
    async def work(self, amount: int) -> int:
        return amount


class FrontObject:
    def __init__(self, back: Back, error: type[Refused]) -> None:
        self._back: Any = back
        self._error = error
        self.charged = 0

    async def charge(self, amount: int) -> int:
        self.charged += amount
        return int(await self._back.work(amount))

    async def refuse(self, pause: float) -> None:
        await asyncio.sleep(pause)
        raise self._error("not to you")

    async def miscall(self, how: str) -> None:
        deep: list[Any] = []
        for _ in range(700):
            deep = [deep]
        wrong = {"text": "much", "object": object(), "large": bytes(FRAME_BYTES_MAX), "deep": deep}
        await self._back.work(wrong[how])

    async def pass_on(self, amount: int) -> int:
        return int(await self._back.work(amount))


async def _refuse(_: Invocation, __: Proceed) -> Any:
    raise Overloaded("come later", 0.5)


@asynccontextmanager
async def fronted(*, error: type[Refused] = Overloaded) -> AsyncIterator[tuple[Front, FrontObject]]:
    """Give a stub of one that calls another, which refuses what fits."""
    network = MemoryNetwork()
    async with await liferaft.aserve(
        BackObject(), Back, "memory:back", network=network, interceptors=[_refuse]
    ):
        back = await liferaft.aconnect(Back, "memory:back", network=network)
        implementation = FrontObject(back, error)
        async with await liferaft.aserve(implementation, Front, "memory:front", network=network):
            front = await liferaft.aconnect(
                Front,
                "memory:front",
                network=network,
                interceptors=[retry(3, random=Random(1))],
                timeout=20,
            )
            yield front, implementation
            await liferaft.aclose(front)
        await liferaft.aclose(back)


async def test_a_refusal_of_a_call_that_a_method_made_is_none_of_the_method() -> None:
    """It was executed: whoever repeats what was refused must not repeat this."""
    async with fronted() as (front, implementation):
        with pytest.raises(RemoteError, match=r"Overloaded: come later"):
            await front.charge(5)

    assert 5 == implementation.charged


@pytest.mark.parametrize("how", ["text", "object", "large", "deep"])
async def test_arguments_that_a_method_got_wrong_are_not_its_caller_s(how: str) -> None:
    async with fronted() as (front, _):
        with pytest.raises(RemoteError, match=r"InvalidArgument: .*work"):
            await front.miscall(how)


async def test_an_object_that_a_method_misses_is_not_the_one_that_its_caller_called() -> None:
    network = MemoryNetwork()
    there = await liferaft.aserve(BackObject(), Back, "memory:back", network=network)
    back = await liferaft.aconnect(Back, "memory:back", name="Back", network=network)
    implementation = FrontObject(back, Overloaded)
    await there.astop()
    async with (
        await liferaft.aserve(BackObject(), Back, "memory:back", name="Else", network=network),
        await liferaft.aserve(implementation, Front, "memory:front", network=network),
    ):
        front = await liferaft.aconnect(Front, "memory:front", network=network)
        await asyncio.sleep(5)  # it has connected again, and been told
        with pytest.raises(RemoteError, match="NoSuchObject"):
            await front.charge(5)
        await liferaft.aclose(front)
        await liferaft.aclose(back)


async def test_a_refusal_that_is_declared_is_passed_on() -> None:
    async with fronted() as (front, _):
        with pytest.raises(Overloaded, match="come later") as refused:
            await front.pass_on(5)

    assert 0.5 == refused.value.retry_after


@pytest.mark.parametrize("error", [NoSuchObject, PermissionDenied, Overloaded])
@pytest.mark.parametrize("pause", [0.0, 3.0])
async def test_a_method_may_refuse_by_itself(error: type[Refused], pause: float) -> None:
    """Also when its caller has asked again meanwhile: this is the answer."""
    async with fronted(error=error) as (front, _):
        with pytest.raises(error, match="not to you"):
            await front.refuse(pause)


async def test_an_argument_of_one_s_own_that_does_not_fit_is_told_as_such() -> None:
    async with fronted() as (front, _):
        wrong: Any = "much"
        with pytest.raises(InvalidArgument, match=r"Front\.charge\(amount\)"):
            await front.charge(wrong)
