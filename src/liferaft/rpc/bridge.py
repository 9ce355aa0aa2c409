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
from typing import Any, ClassVar, Final, TypeVar

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


class Bridge:
    """The process's background loop; `acquire` it, and `release` it once for each time."""

    _shared: ClassVar["Bridge | None"] = None
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._users = 0
        self._is_forked = False
        self._loop = _new_loop()
        self._thread = threading.Thread(target=self._run, name="liferaft-loop", daemon=True)
        self._thread.start()

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

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine on the loop and wait for its result; interrupting cancels it."""
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # KeyboardInterrupt while waiting; no effect on one that has ended
            raise

    def check(self) -> None:
        """Raise `ConfigurationError` on the loop's own thread, and `StubClosed` after a fork."""
        if self._is_forked:
            raise StubClosed(f"the stub {FORKED}")
        if threading.get_ident() == self._thread.ident:
            raise ConfigurationError(OWN_THREAD)

    def submit(self, work: Coroutine[Any, Any, ResultT]) -> concurrent.futures.Future[ResultT]:
        """Run a coroutine on the loop; raises `StubClosed` in a process that was forked since."""
        try:
            self.check()
        except BaseException:
            work.close()
            raise
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def do(self, function: Callable[[], None]) -> None:
        """Have the loop call what returns at once, before whatever this thread runs there next."""
        if self._is_forked:
            raise StubClosed(f"the stub {FORKED}")
        _do(function, self._loop, self._thread.ident)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            if left:
                self._loop.run_until_complete(asyncio.wait(left))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()


class LoopRunner:
    """The same for a loop that somebody else runs; made on its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._process = os.getpid()

    @property
    def is_forked(self) -> bool:
        """See `Bridge`."""
        return self._process != os.getpid()

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a coroutine on the loop and wait for its result; not on the loop's own thread."""
        if threading.get_ident() == self._thread:
            work.close()
            raise ConfigurationError(
                "a blocking call on the loop's own thread would wait for itself: "
                "call an `async def` method, or block in another thread"
            )
        future = self.submit(work)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # as in Bridge
            raise

    def submit(self, work: Coroutine[Any, Any, ResultT]) -> concurrent.futures.Future[ResultT]:
        """Run a coroutine on the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def do(self, function: Callable[[], None]) -> None:
        """See `Bridge`."""
        _do(function, self._loop, self._thread)

    def release(self) -> None:
        """Do nothing: the loop is somebody else's."""


Runner = Bridge | LoopRunner


def _do(function: Callable[[], None], loop: asyncio.AbstractEventLoop, thread: int | None) -> None:
    """Call a function on the loop's thread and wait until it has returned; raises what it does."""
    if threading.get_ident() == thread:
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

    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError as error:  # the loop has ended
        raise StubClosed("the stub is closed") from error
    with done:
        if errors:
            raise errors[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=Bridge.after_fork)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - where it is not installed, asyncio's own loop does
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
