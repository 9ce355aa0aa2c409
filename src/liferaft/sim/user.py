"""A user's own class under simulation, with the user's own workload and invariants.

    class Bank: ...                                      # a plain class, as it will be replicated

    async def workload(bank: Any, random: Random) -> None:
        await bank.transfer("a", "b", random.randint(1, 9))   # one step of one client

    def no_money_lost(bank: Bank) -> None:               # looks at a replica's object itself
        assert sum(bank.balances.values()) == 300

The workload gets a stub whose methods are awaited. A `LiferaftError` that leaves it is an outcome
like any other (a call that timed out, say); so is what the class itself raises. An invariant may
raise, or return False; it is asked of every replica while the run goes on, and at the end.
"""

import asyncio
import inspect
import random as random_module
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from liferaft.errors import ConfigurationError, InvariantViolated, LiferaftError, RemoteError
from liferaft.replicated.loading import find_named, load_objects
from liferaft.rpc.interface import Interface
from liferaft.sim.nodes import in_group
from liferaft.sim.workload import Seat, Workload
from liferaft.sim.world import World

RETRY_INTERVAL: Final = 0.1
"""Virtual seconds between two attempts of the last step; whoever waits for it bounds them."""

Step = Callable[[Any, random_module.Random], Awaitable[None]]
Invariant = Callable[[Any], object]


class UserWorkload:
    """The workload that a user's functions make."""

    def __init__(
        self, target: type, make: Callable[[], object], step: Step, invariants: Sequence[Invariant]
    ) -> None:
        self._target = target
        self._make = make
        self._step = step
        self._invariants = tuple(invariants)
        self._outcomes: Counter[str] = Counter()

    def objects(self) -> Mapping[str, object]:
        """Return what a node hosts."""
        return {self._target.__name__: self._make()}

    async def step(self, seat: Seat) -> None:
        """Let the user's function do one thing."""
        await self._try_step(seat)

    async def _try_step(self, seat: Seat) -> bool:
        """Let the user's function do one thing, and return whether the cluster answered it."""
        stub = seat.stub(self._target.__name__, self._target)
        try:
            await self._step(stub, seat.random)
        except RemoteError:
            self._outcomes["raised by the class"] += 1
        except LiferaftError as error:
            seat.failed(error)
            self._outcomes["without an answer"] += 1
            return False
        except AssertionError as error:
            raise InvariantViolated(f"workload: {error!r}") from error
        except Exception as error:
            if not self._is_declared(error):
                raise InvariantViolated(f"workload: it raised {error!r}") from error
            self._outcomes["raised by the class"] += 1
        else:
            self._outcomes["acknowledged"] += 1
        return True

    def check_now(self, world: World, group: str) -> None:
        """Ask every invariant of every replica of the group that runs."""
        name = in_group(group, self._target.__name__)
        for node_id in world.nodes:
            if group in world.parts(node_id):
                self._check(node_id, world.instances[node_id][name])

    async def check_end(self, judge: Seat, world: World) -> None:
        """Have the cluster go on until it answers one more step, and ask every invariant again."""
        # In virtual time, trying again and again costs nothing.
        while not await self._try_step(judge):  # noqa: ASYNC110
            await asyncio.sleep(RETRY_INTERVAL)
        self.check_now(world, judge.group)

    def outcomes(self) -> Mapping[str, int]:
        """Return how many steps ended how."""
        return dict(self._outcomes)

    def _check(self, node_id: str, instance: object) -> None:
        for invariant in self._invariants:
            try:
                is_kept = invariant(instance) is not False
            except Exception as error:
                name = getattr(invariant, "__name__", repr(invariant))
                raise InvariantViolated(f"{name}: {node_id}: {error!r}") from error
            if not is_kept:
                name = getattr(invariant, "__name__", repr(invariant))
                raise InvariantViolated(f"{name}: it does not hold on {node_id}")

    def _is_declared(self, error: Exception) -> bool:
        methods = Interface.of(self._target).methods.values()
        return any(isinstance(error, codec.cls) for method in methods for codec in method.declared)


def user_workload(target: str, workload: str, invariants: Sequence[str]) -> Callable[[], Workload]:
    """Return a maker of the workload that these names, each `module:name`, stand for.

    Raises `ConfigurationError` when one cannot be found, or is not what it must be.
    """
    found = find_named(target)
    if not isinstance(found, type):
        raise ConfigurationError(f"{target} is no class")
    if not workload:
        raise ConfigurationError(f"a workload is needed for {target}: give --workload module:name")
    step = find_named(workload)
    if not inspect.iscoroutinefunction(step):
        raise ConfigurationError(f"{workload} is no async function of a stub and a random.Random")
    checks: list[Invariant] = []
    for name in invariants:
        check = find_named(name)
        if not callable(check):
            raise ConfigurationError(f"{name} is no function of a {found.__name__}")
        checks.append(check)

    def make() -> object:
        return next(iter(load_objects([target]).values()))

    return lambda: UserWorkload(found, make, step, checks)
