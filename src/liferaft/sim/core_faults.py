"""What goes wrong around the cores, and when: a schedule drawn up front.

Each step of a schedule has a source of chance of its own, so that a run can be repeated with some
of its steps only and those do what they did, as far as the cluster is in the same state. Every step
ends before the faults do.
"""

from collections import Counter
from random import Random
from typing import Final

from liferaft.errors import ConfigurationError
from liferaft.sim import core_stories
from liferaft.sim.core_plan import CHANGES
from liferaft.sim.core_player import FaultPlayer, Kind, Step

NETWORK: Final[dict[str, Kind]] = {
    **dict.fromkeys(("loss", "duplicates", "long delays", "reordering"), FaultPlayer.foul_weather),
    **dict.fromkeys(
        (
            "one-way cut",
            "halves",
            "ring",
            "bridge",
            "isolated leader",
            "isolated node",
            "deaf node",
            "mute node",
        ),
        FaultPlayer.cut,
    ),
    "flapping": FaultPlayer.flap,
    "slow link": FaultPlayer.slow_link,
}

PROCESSES: Final[dict[str, Kind]] = {
    **dict.fromkeys(("crash", "crash of the leader", "crash of all"), FaultPlayer.crash),
    "bounce": FaultPlayer.bounce,
    "crash loop": FaultPlayer.crash_loop,
    "crash at a moment": FaultPlayer.crash_at_a_moment,
    **dict.fromkeys(("pause", "pause of the leader", "pause of all"), FaultPlayer.pause),
    "starved": FaultPlayer.starve,
}

DISKS: Final[dict[str, Kind]] = {
    "slow disk": FaultPlayer.slow_disk,
    "stuck disk": FaultPlayer.stuck_disk,
    **dict.fromkeys(("failed sync", "failed read"), FaultPlayer.failing_disk),
}

CLOCKS: Final[dict[str, Kind]] = dict.fromkeys(("clock rate", "clock jump"), FaultPlayer.clock)

STORIES: Final[dict[str, Kind]] = {
    "changed majority": core_stories.change_majority,
    "figure 8": core_stories.figure_8,
    "stale leader": core_stories.stale_leader,
    "overwritten write": core_stories.overwritten_write,
    "end of a lease": core_stories.end_of_a_lease,
}

KINDS: Final[dict[str, Kind]] = {**NETWORK, **PROCESSES, **DISKS, **CLOCKS, **STORIES}

ALL_KINDS: Final[dict[str, Kind]] = {**KINDS, **CHANGES}

FAMILY_OF: Final[dict[str, str]] = {
    **dict.fromkeys(NETWORK, "network"),
    **dict.fromkeys(PROCESSES, "process"),
    **dict.fromkeys(DISKS, "disk"),
    **dict.fromkeys(CLOCKS, "clock"),
}
"""What a kind goes wrong with; not of the stories and of what the operator does."""

PROFILES: Final[dict[str, tuple[str, ...]]] = {
    "calm": (),
    "network": tuple(NETWORK),
    "process": tuple(PROCESSES),
    "disk": (*DISKS, "crash", "bounce", "overwritten write"),
    "clock": (*CLOCKS, "stale leader", "isolated leader", "end of a lease"),
    "mixed": tuple(KINDS),
}


def draw_schedule(random: Random, *, profile: str, seconds: float) -> list[Step]:
    """Return the faults of a run, in the order of their times.

    A run has a few kinds only, others than the next: so each kind meets the cluster in states that
    the others would hinder. Raises `ConfigurationError` for a profile that there is not.
    """
    if profile not in PROFILES:
        raise ConfigurationError(
            f"there is no profile {profile!r}: choose one of {', '.join(PROFILES)}"
        )
    kinds = [kind for kind in PROFILES[profile] if random.random() < 0.4]
    kinds = kinds or list(PROFILES[profile])
    if not kinds:
        return []
    steps = []
    per_second = random.uniform(0.5, 4.0)
    at = random.expovariate(per_second)
    while at < seconds:
        lasting = min(random.choice((0.3, 1.0, 2.0)) * (0.1 + random.random()), seconds - at)
        steps.append(Step(at, random.choice(kinds), lasting, random.getrandbits(32)))
        at += random.expovariate(per_second)
    return steps


def counts_of(faults: Counter[str]) -> dict[str, int]:
    """Return how many faults of each kind were made, every kind named."""
    return {kind: faults[kind] for kind in ALL_KINDS}
