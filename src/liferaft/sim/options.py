"""What a simulation can be told, and the command line that says the same."""

import shlex
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from liferaft.errors import ConfigurationError
from liferaft.sim.schedule import PROFILES, FaultStep

Fidelity = Literal["full", "core"]
Changes = Literal["no", "some", "all"]

GROUPS_MAX: Final = 64
"""As many as a run can use and end in time."""


class SimulationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One run but for its seed.

    With `groups` each node hosts so many; 0 stands for nodes of one cluster. `seconds` are virtual
    ones, during which faults are made. Each client makes `burst` calls at once, and then waits for
    all of them; 0 stands for one, and for up to 20 in about every second run, but in calm ones and
    with a user's class. The cores have loads of their own.

    `keep` names the steps of the fault schedule that are carried out, None for all. `changes` says
    in which runs members come and go and leadership is handed over: in none, in about every second
    one (but for calm ones, and those with groups), or in all; so it is with snapshots among the
    cores, which whole nodes take anyway. Programs are upgraded in none, in about every fourth run,
    or in all. `target`, `workload` and `invariants` are a user's own, as `module:name`; empty for
    those that ship.
    """

    fidelity: Fidelity = "full"
    nodes: int = 3
    groups: int = 0
    clients: int = 4
    commands_per_second: float = 60.0
    burst: int = 0
    seconds: float = 8.0
    profile: str = "mixed"
    changes: Changes = "some"
    keep: tuple[int, ...] | None = None
    target: str = ""
    workload: str = ""
    invariants: tuple[str, ...] = ()

    def kept(self, schedule: Sequence[FaultStep]) -> tuple[FaultStep, ...]:
        """Return the steps that are to be carried out."""
        if self.keep is None:
            return tuple(schedule)
        return tuple(step for step in schedule if step.number in self.keep)

    def command(self, seed: int) -> str:
        """Return the command that repeats the run of a seed."""
        words = ["liferaft", "sim", *([self.target] if self.target else []), "--seed", str(seed)]
        for field in msgspec.structs.fields(self):
            value = getattr(self, field.name)
            if field.name != "target" and value != field.default:
                words += _option(field.name, value)
        return shlex.join(words)


def _option(name: str, value: object) -> list[str]:
    if name == "keep":
        assert isinstance(value, tuple)
        return ["--keep", ",".join(map(str, value)) or "none"]
    if name == "invariants":
        assert isinstance(value, tuple)
        return [word for each in value for word in ("--invariant", each)]
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return [f"--{name.replace('_', '-')}", shown]


def checked(options: SimulationOptions) -> SimulationOptions:
    """Return the options as they are; raises `ConfigurationError` for what cannot be."""
    if not 1 <= options.nodes <= 15:
        raise ConfigurationError(f"{options.nodes} nodes: give 1 to 15")
    _check_groups(options)
    if options.clients < 1:
        raise ConfigurationError(f"{options.clients} clients: give 1 or more")
    if options.burst < 0:
        raise ConfigurationError(f"bursts of {options.burst} calls: give 1 or more, or 0")
    if not (options.seconds > 0 and options.commands_per_second > 0):
        raise ConfigurationError("seconds and commands a second must be above 0")
    if options.profile not in PROFILES:
        raise ConfigurationError(
            f"there is no profile {options.profile!r}: take one of {', '.join(PROFILES)}"
        )
    if (options.workload or options.invariants) and not options.target:
        raise ConfigurationError("a workload or an invariant needs the class that it is for")
    return options


def _check_groups(options: SimulationOptions) -> None:
    if not 0 <= options.groups <= GROUPS_MAX:
        raise ConfigurationError(f"{options.groups} groups: give 1 to {GROUPS_MAX}, or 0 for none")
    if options.groups and options.fidelity == "core":
        raise ConfigurationError("the cores alone know nothing of groups: take --fidelity full")
    if options.groups and options.changes == "all":
        raise ConfigurationError(
            "the members of groups do not change here: leave --changes all or --groups away"
        )
