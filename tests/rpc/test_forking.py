"""What was made before a fork says so in the child, and goes on in the parent."""

import asyncio
import os
import traceback
from collections.abc import Callable
from typing import Protocol

import pytest

import liferaft
from liferaft.errors import StubClosed
from liferaft.rpc.bridge import Bridge

pytestmark = pytest.mark.processes


class Adder(Protocol):
    def add(self, one: int, other: int) -> int: ...


class AsyncAdder(Protocol):
    async def add(self, one: int, other: int) -> int: ...


class AdderObject:
    def add(self, one: int, other: int) -> int:
        return one + other


def in_a_forked_child(work: Callable[[], str]) -> str:
    """Run `work` in a forked child, and return what it returned or how it failed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            try:
                said = work()
            except BaseException:  # noqa: BLE001 - the parent's test is to see it
                said = traceback.format_exc()
            os.write(writer, said.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told:
        said = told.read().decode()
    os.waitpid(child, 0)
    return said


def test_a_stub_from_before_the_fork_says_so_and_a_new_one_works() -> None:
    with liferaft.serve(AdderObject(), Adder, "127.0.0.1:0") as host:
        stub = liferaft.connect(Adder, host.address)
        assert 3 == stub.add(1, 2)

        def use_it() -> str:
            with pytest.raises(StubClosed, match="connect or serve anew in the child"):
                stub.add(1, 2)
            liferaft.close(stub)
            anew = liferaft.connect(Adder, host.address)
            total = anew.add(3, 4)
            liferaft.close(anew)
            return f"{total}"

        assert "7" == in_a_forked_child(use_it)
        assert 5 == stub.add(2, 3)
        liferaft.close(stub)


def test_a_loop_from_before_the_fork_does_nothing() -> None:
    bridge = Bridge.acquire()

    def use_it() -> str:
        with pytest.raises(StubClosed, match="connect or serve anew in the child"):
            bridge.do(lambda: None)
        return "refused"

    assert "refused" == in_a_forked_child(use_it)
    bridge.release()


def test_a_host_from_before_the_fork_is_left_to_the_parent() -> None:
    with liferaft.serve(AdderObject(), Adder, "127.0.0.1:0") as host:

        def stop_it() -> str:
            host.stop()
            return "stopped"

        assert "stopped" == in_a_forked_child(stop_it)
        with liferaft.serve(AdderObject(), Adder, "127.0.0.1:0") as other:
            stub = liferaft.connect(Adder, f"{host.address},{other.address}")
            assert 3 == stub.add(1, 2)
            liferaft.close(stub)


async def test_an_awaited_stub_says_so_too() -> None:
    async with await liferaft.aserve(AdderObject(), AsyncAdder, "127.0.0.1:0") as host:
        stub = await liferaft.aconnect(AsyncAdder, host.address)

        def use_it() -> str:
            loop = asyncio.new_event_loop()
            asyncio._set_running_loop(None)
            with pytest.raises(StubClosed, match="connect or serve anew in the child"):
                loop.run_until_complete(stub.add(1, 2))
            return "said"

        assert "said" == in_a_forked_child(use_it)
        assert 3 == await stub.add(1, 2)
        await liferaft.aclose(stub)


async def test_a_blocking_stub_works_where_a_loop_runs_as_in_a_notebook() -> None:
    with liferaft.serve(AdderObject(), Adder, "127.0.0.1:0") as host:
        stub = liferaft.connect(Adder, host.address)
        assert 3 == stub.add(1, 2)
        liferaft.close(stub)
        awaited = await liferaft.aconnect(AsyncAdder, host.address)
        assert 3 == await awaited.add(1, 2)
        await liferaft.aclose(awaited)
