"""One background thread with an event loop, for whoever calls or serves without a loop.

It is started by its first user and has ended when its last user released it. Nothing here knows of
calls: it runs coroutines for other threads. Used from its own thread it would wait for itself, so
that is an error. A process that was forked has no such thread: there the bridge says so, and a new
one is made for whoever connects anew.
"""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final, NoReturn, TypeVar

from liferaft.errors import ConfigurationError, StubClosed

ResultT = TypeVar("ResultT")

FORKED: Final = (
    "was made before the process was forked, and works in the parent process only: "
    "connect or serve anew in the child"
)


OWN_THREAD: Final = (
    "a blocking call on liferaft's own loop thread would wait for itself: "
    "make it from an `async def` through an async interface, or from another thread"
)


class _Runner:
    """What runs things on a loop for other threads. Whoever waits for one learns its outcome."""

    _loop: asyncio.AbstractEventLoop
    _thread_id: int | None
    _is_ending = False

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine on the loop and wait for its result; interrupting cancels it."""
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # KeyboardInterrupt while waiting; no effect on one that has ended
            raise

    def submit(self, work: Coroutine[Any, Any, ResultT]) -> concurrent.futures.Future[ResultT]:
        """Run a coroutine on the loop; raises `StubClosed` when that has ended."""
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:
            work.close()
            _raise_closed(error)
        self._check_in_time()
        return future

    def call_soon(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have the loop call a function; raises `StubClosed` when that has ended."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError as error:
            _raise_closed(error)
        self._check_in_time()

    def do(self, function: Callable[[], None]) -> None:
        """Have the loop call what returns at once, before whatever this thread runs there next.

        Raises what the function does, and `StubClosed` when the loop has ended.
        """
        if threading.get_ident() == self._thread_id:
            function()
            return
        errors: list[BaseException] = []
        done = threading.Lock()
        done.acquire()

        def call() -> None:
            try:
                function()
            except BaseException as error:  # noqa: BLE001 - it is for the thread that waits
                errors.append(error)
            finally:
                done.release()

        self.call_soon(call)
        with done:
            if errors:
                raise errors[0]

    def _check_in_time(self) -> None:
        """Raise `StubClosed` for what the loop may have got too late to do it at all."""
        if self._is_ending:
            _raise_closed(None)


def _raise_closed(cause: BaseException | None) -> NoReturn:
    raise StubClosed("the stub is closed") from cause


class Bridge(_Runner):
    """The process's background loop; `acquire` it, and `release` it once for each time."""

    _shared: ClassVar["Bridge | None"] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._users = 0
        self._is_forked = False
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._run, name="liferaft-loop", daemon=True)
        self._thread.start()
        self._thread_id = self._thread.ident

    @classmethod
    def acquire(cls) -> "Bridge":
        """Return the running bridge; it stays until `release` was called as often."""
        with cls._lock:
            if cls._shared is None:
                cls._shared = cls()
            bridge = cls._shared
            bridge._users += 1  # noqa: SLF001 - of its own class
            return bridge

    @property
    def is_forked(self) -> bool:
        """Whether it belongs to the process that this one was forked from."""
        return self._is_forked

    @classmethod
    def after_fork(cls) -> None:
        """Know, in a process that was just forked, that the thread is not here."""
        cls._lock = threading.Lock()  # another thread may have held it, which is not here either
        bridge, cls._shared = cls._shared, None
        if bridge is not None:
            bridge._is_forked = True  # noqa: SLF001 - of its own class

    def release(self) -> None:
        """Give the bridge up; the last user to do so waits until its thread has ended."""
        if self._is_forked:
            return
        with self._lock:
            self._users -= 1
            if self._users:
                return
            Bridge._shared = None
        self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def check(self) -> None:
        """Raise `ConfigurationError` on the loop's own thread, and `StubClosed` after a fork."""
        if self._is_forked:
            raise StubClosed(f"the stub {FORKED}")
        if threading.get_ident() == self._thread.ident:
            raise ConfigurationError(OWN_THREAD)

    def submit(self, work: Coroutine[Any, Any, ResultT]) -> concurrent.futures.Future[ResultT]:
        """Run a coroutine on the loop; raises `StubClosed`, also in a process forked since."""
        try:
            self.check()
        except BaseException:
            work.close()
            raise
        return super().submit(work)

    def do(self, function: Callable[[], None]) -> None:
        """See `_Runner`; raises `StubClosed` in a process that was forked since, too."""
        if self._is_forked:
            raise StubClosed(f"the stub {FORKED}")
        super().do(function)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            # What has come so far is still begun; for what comes from now on it may be too late.
            self._is_ending = True
            self._loop.run_until_complete(asyncio.sleep(0))
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()


class LoopRunner(_Runner):
    """The same for a loop that somebody else runs; made on its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread_id = threading.get_ident()
        self._process = os.getpid()

    @property
    def is_forked(self) -> bool:
        """See `Bridge`."""
        return self._process != os.getpid()

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine on the loop and wait for its result; not on the loop's own thread."""
        if threading.get_ident() == self._thread_id:
            work.close()
            raise ConfigurationError(
                "a blocking call on the loop's own thread would wait for itself: "
                "call an `async def` method, or block in another thread"
            )
        return super().run(work)

    def release(self) -> None:
        """Do nothing: the loop is somebody else's."""


Runner = Bridge | LoopRunner


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Bridge.after_fork)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - where it is not installed, asyncio's own loop does
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
