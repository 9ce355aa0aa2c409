"""Time and chance that are the same on every replica, because the log carries them.

A command that reads a clock or draws a number would leave the replicas with different states. So
the leader reads the clock and draws a seed once, when it proposes; `now`, `random` and `uuid4` take
from there while a command runs. Outside a command they are the ordinary ones, so that the same
class works behind plain RPC too.
"""

import random as random_module
import time
import uuid
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self

_outside_generator = random_module.SystemRandom()


class CommandContext:
    """While it is entered, `now`, `random` and `uuid4` give what the log carries.

    `wall_now` is in seconds since 1970. The generator is made from `seed` only when a command
    draws from it: seeding costs more than most commands do.
    """

    __slots__ = ("_generator", "_token", "seed", "wall_now")

    def __init__(self, wall_now: float, seed: int) -> None:
        self.wall_now = wall_now
        self.seed = seed
        self._generator: random_module.Random | None = None
        self._token: Token[CommandContext] | None = None

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._token is not None, "a context is entered before it is left"
        _current.reset(self._token)

    @property
    def generator(self) -> random_module.Random:
        """The command's own source of chance."""
        if self._generator is None:
            self._generator = random_module.Random(self.seed)
        return self._generator


_current: ContextVar[CommandContext] = ContextVar("liferaft_command")


def now() -> float:
    """Return the wall time in seconds since 1970, as the leader read it for this command.

    It never falls from one command to the next, also when another node leads.
    """
    context = _current.get(None)
    return time.time() if context is None else context.wall_now


def random() -> float:
    """Return a number in [0, 1), the same on every replica."""
    return _generator().random()


def uuid4() -> uuid.UUID:
    """Return a random UUID, the same on every replica."""
    return uuid.UUID(int=_generator().getrandbits(128), version=4)


def _generator() -> random_module.Random:
    context = _current.get(None)
    return _outside_generator if context is None else context.generator
