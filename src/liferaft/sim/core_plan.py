"""What changes in a run of the cores, when, and how its nodes take snapshots."""

from random import Random
from typing import Final

import msgspec

from liferaft.raft.config import RaftConfig
from liferaft.sim.core_operator import DEEDS, HARMS
from liferaft.sim.core_player import Kind, Step
from liferaft.sim.core_shelf import SnapshotPace
from liferaft.sim.core_snapshot_faults import SNAPSHOTS
from liferaft.sim.options import SimulationOptions

CHANGES: Final[dict[str, Kind]] = {**DEEDS, **HARMS, **SNAPSHOTS}


class Plan(msgspec.Struct, frozen=True):
    """What the operator of a run does, and how its nodes take snapshots.

    `keep_entries` is as in `RaftConfig`; `may_follow` lets followers answer reads.
    """

    steps: tuple[Step, ...]
    keep_entries: int
    pace: SnapshotPace
    may_follow: bool

    @property
    def needs_wild_clocks(self) -> bool:
        """Whether a leader is to be so slow that it goes on for long; then there are no leases."""
        return any(step.kind == "go far ahead" for step in self.steps)

    def applied_to(self, config: RaftConfig) -> RaftConfig:
        """Return the settings of the run's nodes."""
        return msgspec.structs.replace(config, keep_entries=self.keep_entries)


NO_PLAN: Final = Plan((), RaftConfig().keep_entries, SnapshotPace(), may_follow=False)
"""Nothing changes, and nobody takes a snapshot."""


def plan_of(options: SimulationOptions, random: Random) -> Plan:
    """Return what changes in a run; "some" draws it in every second one that is not calm."""
    is_calm = options.profile == "calm"
    is_drawn = options.changes == "some" and not is_calm and random.random() < 0.5
    if options.changes == "all" or is_drawn:
        return _draw_plan(random, seconds=options.seconds, is_calm=is_calm)
    return NO_PLAN


def _draw_plan(random: Random, *, seconds: float, is_calm: bool) -> Plan:
    """Return what changes in a run; in a calm one, without doing harm.

    Where the members stay the same, they live long enough to fall behind and come back; snapshots
    are taken often then, and little is kept before them, for that takes less than the run.
    """
    families = [tuple(CHANGES), (*DEEDS, *HARMS), tuple(SNAPSHOTS)]
    among = tuple(DEEDS) if is_calm else random.choice(families)
    kinds = [kind for kind in among if random.random() < 0.6] or list(among)
    is_about_snapshots = among == tuple(SNAPSHOTS)
    pace = SnapshotPace(
        every=random.choice((5, 20) if is_about_snapshots else (5, 20, 60)),
        bytes_per_second=random.choice((1_000, 5_000, 20_000, 200_000)),
        chunks_max=random.choice((1, 4, 30)),
    )
    keep_entries = random.choice((1, 5) if is_about_snapshots else (1, 5, 40))
    may_follow = random.random() < 0.5
    per_second = random.uniform(0.5, 2.5)
    steps = []
    at = random.expovariate(per_second)
    while at < seconds:
        lasting = min(random.choice((0.3, 1.0, 2.0)) * (0.1 + random.random()), seconds - at)
        steps.append(Step(at, random.choice(kinds), lasting, random.getrandbits(32)))
        at += random.expovariate(per_second)
    return Plan(tuple(steps), keep_entries, pace, may_follow)
