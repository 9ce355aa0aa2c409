"""An asyncio event loop on a virtual clock: hours pass in seconds, and every run is the same.

When nothing is ready to run, the clock jumps to the next timer. There is no socket, no thread and
no real time in it: what would need one is refused, so that nothing undetermined slips in.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, NoReturn, TypeVar, TypeVarTuple, Unpack

from liferaft.errors import LiferaftError

ResultT = TypeVar("ResultT")
ArgumentsT = TypeVarTuple("ArgumentsT")


class SimulationStuck(LiferaftError):
    """Everybody waits and no timer is set: the code under simulation has come to a deadlock."""


class _VirtualSelector:
    """Stands where the loop waits for sockets, and lets time pass instead."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise SimulationStuck("every task waits, and nothing will ever wake one of them")
        self.now += timeout
        return []

    def close(self) -> None:
        """Nothing is held."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. `time()` begins at 0 and moves only when nothing else can."""

    def __init__(self) -> None:
        self._selector = _VirtualSelector()
        super().__init__()

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._selector.now

    def close(self) -> None:
        """Close the loop."""
        super().close()
        self._selector.close()

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

    def _process_events(self, event_list: list[Any]) -> None:
        """No socket, no event."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a real selector, so nobody needs to be woken."""


def run_simulated(main: Callable[[], Coroutine[Any, Any, ResultT]]) -> ResultT:
    """Run the coroutine function `main` on a fresh virtual loop and return its result."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())
