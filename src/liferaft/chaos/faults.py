"""All kinds of faults by name, which of them this machine can make, and when each has its turn."""

import random as random_module
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from liferaft.chaos import disk_faults, member_faults, network_faults, process_faults
from liferaft.chaos.needs import lacking
from liferaft.chaos.stage import Fault
from liferaft.errors import ConfigurationError

FAULTS: Final[Mapping[str, Fault]] = {
    fault.name: fault
    for fault in (
        *process_faults.FAULTS,
        *member_faults.FAULTS,
        *network_faults.FAULTS,
        *disk_faults.FAULTS,
    )
}


def chosen(names: Sequence[str]) -> tuple[Fault, ...]:
    """Return the faults of these names, all without any; raises `ConfigurationError`."""
    for name in names:
        if name not in FAULTS:
            raise ConfigurationError(f"there is no fault {name!r}: give any of {', '.join(FAULTS)}")
    return tuple(fault for name, fault in FAULTS.items() if not names or name in names)


def skipped(faults: Sequence[Fault]) -> dict[str, str]:
    """Return by name those that this machine cannot make, with the reason in a sentence."""
    reasons = {fault.name: lacking(fault.needs) for fault in faults}
    return {name: reason for name, reason in reasons.items() if reason}


def deal(faults: Sequence[Fault], random: random_module.Random) -> Iterator[Fault]:
    """Give faults without end: each once, in an order drawn anew, before any comes again."""
    deck = list(faults)
    while deck:
        random.shuffle(deck)
        yield from deck
