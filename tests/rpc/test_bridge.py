"""The background loop: shared, counted, and gone with its last user."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from liferaft.errors import ConfigurationError, StubClosed
from liferaft.rpc import bridge as bridge_module
from liferaft.rpc.bridge import Bridge, LoopRunner


async def thread_name() -> str:
    return threading.current_thread().name


def test_its_users_share_one_thread_that_ends_with_the_last() -> None:
    before = threading.enumerate()
    first, second = Bridge.acquire(), Bridge.acquire()
    names = [first.run(thread_name()), second.run(thread_name())]
    first.release()
    name_after_one = second.run(thread_name())
    second.release()

    assert first is second
    assert ["liferaft-loop"] * 3 == [*names, name_after_one]
    assert before == threading.enumerate()


def test_a_new_user_after_the_last_gets_a_new_thread() -> None:
    Bridge.acquire().release()
    bridge = Bridge.acquire()
    name = bridge.run(thread_name())
    bridge.release()

    assert "liferaft-loop" == name


def test_an_exception_comes_back_to_who_asked() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    bridge = Bridge.acquire()
    with pytest.raises(ValueError, match="broken"):
        bridge.run(fail())
    bridge.release()


def test_its_own_thread_cannot_wait_for_itself() -> None:
    bridge = Bridge.acquire()

    async def ask() -> None:
        bridge.run(thread_name())

    with pytest.raises(ConfigurationError, match="wait for itself"):
        bridge.run(ask())
    bridge.release()


def test_what_still_runs_when_the_last_user_goes_is_cancelled() -> None:
    bridge = Bridge.acquire()
    ended = threading.Event()

    async def linger() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    future = bridge.submit(linger())
    bridge.run(thread_name())  # one turn of the loop, so that it has begun
    bridge.release()

    assert (True, True) == (ended.is_set(), future.cancelled())


def test_what_it_is_to_do_is_done_before_what_is_run_next() -> None:
    bridge = Bridge.acquire()
    done: list[int] = []

    async def count() -> int:
        return len(done)

    counts = []
    for number in range(100):
        bridge.do(lambda number=number: done.append(number))  # type: ignore[misc] # of its default
        counts.append(bridge.run(count()))
    bridge.release()

    assert list(range(1, 101)) == counts


def test_an_exception_of_what_it_did_comes_back_too() -> None:
    def fail() -> None:
        raise ValueError("broken")

    bridge = Bridge.acquire()
    with pytest.raises(ValueError, match="broken"):
        bridge.do(fail)
    bridge.release()


def test_its_own_thread_does_it_at_once() -> None:
    bridge = Bridge.acquire()
    names: list[str] = []

    async def ask() -> None:
        bridge.do(lambda: names.append(threading.current_thread().name))

    bridge.run(ask())
    bridge.release()

    assert ["liferaft-loop"] == names


async def test_the_same_holds_for_a_loop_of_somebody_else() -> None:
    runner = LoopRunner(asyncio.get_running_loop())
    names: list[str] = []

    def do() -> None:
        runner.do(lambda: names.append(threading.current_thread().name))

    do()
    await asyncio.to_thread(do)

    assert [threading.current_thread().name] * 2 == names


def test_a_loop_that_has_ended_does_nothing_more() -> None:
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as pool:
        runner = pool.submit(LoopRunner, loop).result()
    loop.close()

    with pytest.raises(StubClosed, match="is closed"):
        runner.do(lambda: None)


class SlowToEnd(asyncio.SelectorEventLoop):
    """A loop that is given something when it has just ended, and when it is about to be closed."""

    late: Callable[[], object] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.closing = threading.Event()
        self.may_close = threading.Event()

    def run_forever(self) -> None:
        super().run_forever()
        late, self.late = self.late, None
        if late is not None:
            self.call_soon(late)

    def close(self) -> None:
        self.closing.set()
        self.may_close.wait()
        super().close()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowToEnd:
    loop = SlowToEnd()
    monkeypatch.setattr(bridge_module, "_new_loop", lambda: loop)
    return loop


def test_what_comes_too_late_is_told_so_and_waits_for_nothing(slow: SlowToEnd) -> None:
    bridge = Bridge.acquire()
    work = thread_name()
    with ThreadPoolExecutor(1) as pool:
        released = pool.submit(bridge.release)
        slow.closing.wait()
        for late in (lambda: bridge.run(work), lambda: bridge.do(lambda: None)):
            with pytest.raises(StubClosed, match="is closed"):
                late()
        slow.may_close.set()
        released.result()
    work.close()


def test_what_just_comes_in_time_is_begun_and_cancelled(slow: SlowToEnd) -> None:
    """So whoever waits for it goes on."""
    begun: list[asyncio.Task[None]] = []

    async def linger() -> None:
        await slow.create_future()

    bridge = Bridge.acquire()
    slow.late = lambda: begun.append(slow.create_task(linger()))
    slow.may_close.set()
    bridge.release()

    assert [True] == [task.cancelled() for task in begun]
