"""What the demonstration can be told."""

from typing import Final

import msgspec

from liferaft.errors import ConfigurationError
from liferaft.link.leak import Leak

NODES_MAX: Final = 9
DURATION_MIN: Final = 2.0
"""Seconds: below this there is no time to elect a leader between the faults."""


class DemoOptions(msgspec.Struct, frozen=True):
    """The settings of one run; times in seconds.

    `loss`, `delay` (the longest) and `duplicate` are for every frame in every direction. `duration`
    is how long the clients write: starting up before and comparing the nodes after come on top.
    """

    nodes: int = 3
    clients: int = 4
    loss: float = 0.1
    delay: float = 0.02
    duplicate: float = 0.02
    duration: float = 25.0
    seed: int = 1

    @property
    def leak(self) -> Leak:
        """What each process does to the frames that it sends."""
        return Leak(loss=self.loss, delay_max=self.delay, duplicate=self.duplicate)


def checked(options: DemoOptions) -> DemoOptions:
    """Return the options as they are, or raise `ConfigurationError`."""
    if not 3 <= options.nodes <= NODES_MAX:
        raise ConfigurationError(
            f"--nodes is {options.nodes}: give 3 to {NODES_MAX}; fewer do not survive a crash"
        )
    if not DURATION_MIN <= options.duration <= 86_400:
        raise ConfigurationError(f"--duration is {options.duration:g}: give 2 to 86400 seconds")
    if not 0 <= options.loss < 1:
        raise ConfigurationError(f"--loss is {options.loss:g}: give 0 up to, not including, 1")
    if not 0 <= options.delay <= 10:
        raise ConfigurationError(f"--delay is {options.delay:g}: give 0 to 10 seconds")
    return options
