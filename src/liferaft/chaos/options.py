"""What a round of chaos can be told."""

from typing import Final

import msgspec

from liferaft.errors import ConfigurationError

NODES_MAX: Final = 9
SECONDS_MAX: Final = 7 * 86_400
ROUND_SECONDS: Final = 120.0
"""The longest round: whoever asks for more gets several, each on a cluster of its own, so that
neither logs nor histories grow for hours."""


class ChaosOptions(msgspec.Struct, frozen=True):
    """The settings of a run.

    `seconds` is how long faults are made, at least: in each round every kind has its turn. `faults`
    are names; none means all.
    """

    seconds: float = 60.0
    nodes: int = 3
    clients: int = 4
    seed: int = 1
    faults: tuple[str, ...] = ()


def checked(options: ChaosOptions) -> ChaosOptions:
    """Return the options as they are, or raise `ConfigurationError`."""
    if not 3 <= options.nodes <= NODES_MAX:
        raise ConfigurationError(
            f"--nodes is {options.nodes}: give 3 to {NODES_MAX}; fewer do not survive a crash"
        )
    if not 0 <= options.seconds <= SECONDS_MAX:
        raise ConfigurationError(f"--seconds is {options.seconds:g}: give 0 to {SECONDS_MAX}")
    if not 1 <= options.clients <= 50:
        raise ConfigurationError(f"--clients is {options.clients}: give 1 to 50")
    return options


def rounds_of(options: ChaosOptions) -> tuple[ChaosOptions, ...]:
    """Return the options of each round, the seconds shared out evenly, each with its own seed."""
    count = max(1, -int(-options.seconds // ROUND_SECONDS))
    return tuple(
        msgspec.structs.replace(
            options, seconds=options.seconds / count, seed=options.seed + number
        )
        for number in range(count)
    )
