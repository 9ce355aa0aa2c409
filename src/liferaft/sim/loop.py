"""An asyncio event loop on a virtual clock: hours pass in seconds, and every run is the same.

When nothing is ready to run, the clock jumps to the next timer. There is no socket, no thread and
no real time in it: what would need one is refused, so that nothing undetermined slips in. What
raises where nobody awaits it ends the run, for in a simulation nothing may be lost in a log line.

The loop carries several machines. What runs in a machine's context (`SimulatedHost.context`) sees
that machine's clock, and stands still while that machine is paused; all else sees true time.
"""

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, ContextVar
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple, Unpack

from typing_extensions import override

from liferaft.errors import LiferaftError
from liferaft.sim.clock import Clock

ResultT = TypeVar("ResultT")
ArgumentsT = TypeVarTuple("ArgumentsT")


class SimulationStuck(LiferaftError):
    """Everybody waits and no timer is set: the code under simulation has come to a deadlock."""


class SimulatedHost:
    """A machine: its clock, and the context in which its code runs."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.name: Final = name
        self.clock: Final = clock
        self._context: Final = contextvars.copy_context()
        self._context.run(_here.set, self)
        self.held: deque[_Handle] = deque()

    @property
    def context(self) -> Context:
        """A fresh copy of the context, so that one task's variables are not another's."""
        return self._context.copy()


_here: ContextVar[SimulatedHost | None] = ContextVar("liferaft_simulated_host", default=None)


class _Handle(asyncio.TimerHandle):
    """A callback that waits for its turn; only what is put off has a `when`."""

    __slots__ = ()
    _when: float

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[object, ...],
        loop: "VirtualLoop",
        context: Context,
    ) -> None:
        # No more than the loop itself asks for: a run makes millions of handles.
        self._context = context
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False

    @override
    def __repr__(self) -> str:
        return f"<callback {self._callback!r}{self._args!r}>"

    @override
    def cancel(self) -> None:
        self._cancelled = True
        self._callback = _nothing
        self._args = ()


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. True time begins at 0 and moves only when nothing else can."""

    def __init__(self) -> None:
        super().__init__()
        self.true_time = 0.0
        self.unhandled: Final[list[dict[str, Any]]] = []
        self._timers: list[tuple[float, int, _Handle]] = []
        self._timer_count = 0
        self._now_ready: deque[_Handle] = deque()
        self._paused: list[SimulatedHost] = []

    # What asyncio's users see.

    @override
    def time(self) -> float:
        """Return the time on the clock of the machine that asks, or true time outside of all."""
        host = _here.get()
        return self.true_time if host is None else host.clock.read(self.true_time)

    @override
    def call_soon(
        self,
        callback: Callable[[Unpack[ArgumentsT]], object],
        *args: *ArgumentsT,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Run the callback after all that is ready already."""
        # An empty context is false, and still a context.
        context = contextvars.copy_context() if context is None else context
        handle = _Handle(callback, args, self, context)
        self._now_ready.append(handle)
        return handle

    @override
    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[ArgumentsT]], object],
        *args: *ArgumentsT,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """Do as `call_soon` does: there is one thread, and Ctrl-C comes between two callbacks."""
        return self.call_soon(callback, *args, context=context)

    @override
    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[ArgumentsT]], object],
        *args: *ArgumentsT,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run the callback when the clock of the machine that asks shows `when`."""
        host = _here.get()
        due = when if host is None else host.clock.due(when)
        handle = self.call_at_true(due, callback, *args, context=context)
        handle._when = when  # noqa: SLF001 - the class is this module's own
        return handle

    @override
    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[ArgumentsT]], object],
        *args: *ArgumentsT,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run the callback after so many seconds of the clock of the machine that asks."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    @override
    def run_in_executor(
        self,
        executor: Executor | None,
        func: Callable[[Unpack[ArgumentsT]], ResultT],
        *args: *ArgumentsT,
    ) -> NoReturn:
        """Refuse: a thread would make the run depend on the machine."""
        raise LiferaftError(
            f"{func!r} with {args!r} asked {executor or 'the default executor'} for a thread, "
            "which a simulation does not have"
        )

    @override
    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what was raised where nobody awaits it; `run_simulated` raises it."""
        self.unhandled.append(context)

    # What the simulation does.

    def call_at_true(
        self,
        when: float,
        callback: Callable[[Unpack[ArgumentsT]], object],
        *args: *ArgumentsT,
        context: Context | None = None,
    ) -> "_Handle":
        """Run the callback at a true time."""
        context = contextvars.copy_context() if context is None else context
        handle = _Handle(callback, args, self, context)
        handle._when = when  # noqa: SLF001 - the class is this module's own
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, handle))
        return handle

    def pause(self, host: SimulatedHost) -> None:
        """Let nothing of that machine run until `resume`; its clock goes on."""
        if host not in self._paused:
            self._paused.append(host)

    def resume(self, host: SimulatedHost) -> None:
        """Let the machine go on with all that has gathered meanwhile, in its order."""
        if host in self._paused:
            self._paused.remove(host)
            self._now_ready.extend(host.held)
            host.held.clear()

    def is_paused(self, host: SimulatedHost) -> bool:
        """Return whether the machine stands still."""
        return host in self._paused

    # What BaseEventLoop.run_forever calls.

    def _run_once(self) -> None:
        """Run rounds until somebody stops the loop; asyncio would call once for each of them."""
        timers, ready = self._timers, self._now_ready
        while True:
            if not ready:
                self._move_on()
            now = self.true_time
            while timers and timers[0][0] <= now:
                ready.append(heapq.heappop(timers)[2])
            for _ in range(len(ready)):
                handle = ready.popleft()
                if handle._cancelled or (self._paused and self._is_held(handle)):  # noqa: SLF001
                    continue
                try:
                    handle._context.run(handle._callback, *handle._args)  # noqa: SLF001
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001 - whatever it is, the run must end
                    message = f"{handle!r} raised {error!r}"
                    self.call_exception_handler({"message": message, "exception": error})
            if self._stopping:  # type: ignore[attr-defined] # BaseEventLoop has it
                return

    def _move_on(self) -> None:
        """Let the clock jump to the next timer, for nothing is ready."""
        timers = self._timers
        while timers and timers[0][2]._cancelled:  # noqa: SLF001 - the module's own class
            heapq.heappop(timers)
        if timers:
            self.true_time = max(self.true_time, timers[0][0])
        elif not self._stopping:  # type: ignore[attr-defined] # BaseEventLoop has it
            raise SimulationStuck("every task waits, and nothing will ever wake one of them")

    def _is_held(self, handle: _Handle) -> bool:
        """Return whether the callback's machine is paused; then it waits there for its end."""
        host = handle._context.get(_here)  # noqa: SLF001
        if host is None or host not in self._paused:
            return False
        host.held.append(handle)
        return True

    def _process_events(self, event_list: list[Any]) -> None:
        """No socket, no event."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a real selector, so nobody needs to be woken."""

    @override
    def close(self) -> None:
        """Close the loop and forget what never ran."""
        self._timers.clear()
        self._now_ready.clear()
        super().close()


def running_loop() -> VirtualLoop:
    """Return the loop of the simulation that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def run_simulated(main: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
    """Run the coroutine function `main` on a fresh virtual loop and return its result.

    Raises what `main` raises, and otherwise `LiferaftError` when a callback or a task that nobody
    awaited raised.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(main())
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        for context in loop.unhandled:
            error = context.get("exception")
            raise LiferaftError(f"nobody handled it: {context['message']}: {error!r}") from error
    return result


def _nothing() -> None:
    """Stand where a cancelled callback stood, and hold nothing alive."""
