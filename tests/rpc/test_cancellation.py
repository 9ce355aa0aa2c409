"""Who waits no longer is known at the other end, also through a host in between."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import pytest

import liferaft
from liferaft.errors import DeadlineExceeded
from tests.rpc import chain as chains

BLINK = 0.002


class Work(Protocol):
    """One method that blocks for as long as its caller waits, and one that passes it on."""

    async def toil(self) -> str:
        """Work until nobody wants it any more."""
        ...

    async def rest(self) -> str:
        """Return at once."""
        ...


class Worker:
    """Blocks in a worker thread; remembers what it saw."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.was_cancelled_at_first = True

    def toil(self) -> str:
        self.was_cancelled_at_first = liferaft.cancelled()
        self.begun.set()
        while not liferaft.cancelled():
            self.ended.wait(BLINK)
        self.ended.set()
        return "for nothing"

    def rest(self) -> str:
        return "rested"


class Foreman:
    """Awaits another host, within the deadline and the life of its own call."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    async def toil(self) -> str:
        return str(await self._worker.toil())

    async def rest(self) -> str:
        return str(await self._worker.rest())


async def waited(event: threading.Event) -> bool:
    """Return whether the event came about; the loop goes on meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(None, event.wait, 30)


async def test_a_blocking_method_sees_that_its_caller_gave_up_and_its_thread_is_not_lost() -> None:
    worker = Worker()
    async with await liferaft.aserve(worker, Work, "127.0.0.1:0", threads=1) as host:
        stub = await liferaft.aconnect(Work, host.address)
        call = asyncio.ensure_future(stub.toil())
        await waited(worker.begun)
        call.cancel()

        assert await waited(worker.ended)
        assert not worker.was_cancelled_at_first
        assert "rested" == await stub.rest()
        await liferaft.aclose(stub)


async def test_a_blocking_method_sees_that_its_deadline_has_passed() -> None:
    worker = Worker()
    async with await liferaft.aserve(worker, Work, "127.0.0.1:0") as host:
        stub = await liferaft.aconnect(Work, host.address)
        with pytest.raises(DeadlineExceeded), liferaft.deadline(0.05):
            await stub.toil()

        assert await waited(worker.ended)
        await liferaft.aclose(stub)


async def test_a_host_that_stops_tells_its_blocking_methods() -> None:
    worker = Worker()
    async with await liferaft.aserve(worker, Work, "127.0.0.1:0") as host:
        stub = await liferaft.aconnect(Work, host.address)
        call = asyncio.ensure_future(stub.toil())
        await waited(worker.begun)
        await host.astop()
        call.cancel()
        await asyncio.wait([call])
        await liferaft.aclose(stub)

        assert worker.ended.is_set()


@pytest.mark.parametrize("way", ["cancelled", "deadline"])
async def test_it_goes_through_a_host_in_between(way: str) -> None:
    worker = Worker()
    async with await liferaft.aserve(worker, Work, "127.0.0.1:0") as far:
        to_far = await liferaft.aconnect(Work, far.address)
        async with await liferaft.aserve(Foreman(to_far), Work, "127.0.0.1:0") as near:
            stub = await liferaft.aconnect(Work, near.address)
            if way == "cancelled":
                call = asyncio.ensure_future(stub.toil())
                await waited(worker.begun)
                call.cancel()
            else:
                with pytest.raises(DeadlineExceeded), liferaft.deadline(0.1):
                    await stub.toil()

            assert await waited(worker.ended)
            await liferaft.aclose(stub)
        await liferaft.aclose(to_far)


class Chain:
    """Three processes: this one calls one between, and that the one which works."""

    def __init__(self) -> None:
        self.far, address = self._start()
        self.between, self.address = self._start(address)

    @staticmethod
    def _start(*addresses: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.rpc.chain", *addresses],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    def wait_begun(self) -> None:
        assert self.far.stdout is not None
        assert "begun\n" == self.far.stdout.readline()

    def stop(self) -> None:
        for process in (self.between, self.far):
            process.communicate()


@pytest.fixture
def chain() -> Iterator[Chain]:
    chain = Chain()
    yield chain
    chain.stop()


@pytest.mark.slow
@pytest.mark.processes
async def test_a_cancelled_call_is_seen_by_what_blocks_two_processes_away(chain: Chain) -> None:
    """Its thread, the only one, is free again: or the last call would not be answered."""
    worker = await liferaft.aconnect(chains.Worker, chain.address)
    call = asyncio.ensure_future(worker.work())
    await asyncio.to_thread(chain.wait_begun)
    call.cancel()

    assert (1, 1) == await worker.counts()
    await liferaft.aclose(worker)


@pytest.mark.slow
@pytest.mark.processes
async def test_a_deadline_bounds_what_is_called_two_processes_away(chain: Chain) -> None:
    worker = await liferaft.aconnect(chains.Worker, chain.address)
    with liferaft.deadline(60):
        left = await worker.time_left()
    with pytest.raises(DeadlineExceeded), liferaft.deadline(0.5):
        await worker.work()
    begun, ended = await worker.counts()

    assert left is not None
    assert 0 < left <= 60
    assert begun == ended
    await liferaft.aclose(worker)


class Tally(Protocol):
    """A stream that is made in a thread."""

    def count(self) -> AsyncIterator[int]:
        """Give numbers until nobody wants them any more."""
        ...


class TallyObject:
    """Makes its second number only once nobody waits for it."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def count(self) -> Iterator[int]:
        yield 1
        while not liferaft.cancelled():
            self.ended.wait(BLINK)
        self.ended.set()
        yield 2


async def test_a_blocking_generator_sees_that_its_reader_left() -> None:
    tally = TallyObject()
    async with await liferaft.aserve(tally, Tally, "127.0.0.1:0") as host:
        stub = await liferaft.aconnect(Tally, host.address)
        numbers = stub.count()
        assert 1 == await anext(numbers)
        await numbers.aclose()  # type: ignore[attr-defined] # a stub's stream has it
        assert await waited(tally.ended)
        await liferaft.aclose(stub)


def test_outside_of_a_call_nothing_is_cancelled() -> None:
    assert not liferaft.cancelled()
