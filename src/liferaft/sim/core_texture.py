"""How the runs of the core fidelity differ besides their faults: settings, and what clients ask."""

from random import Random

from liferaft.raft.config import RaftConfig
from liferaft.sim.core_clients import Load


def draw_config(random: Random) -> RaftConfig:
    """Return settings for a run: roomy, small, or so small that every bound is met often."""
    election_timeout = random.choice((0.15, 0.3, 0.3, 0.5))
    heartbeat_interval = election_timeout / random.choice((3, 6, 10))
    unit = random.choice((0, 100, 1000))
    if not unit:
        return RaftConfig(election_timeout=election_timeout, heartbeat_interval=heartbeat_interval)
    append_bytes_max = unit * random.choice((1, 2, 5))
    return RaftConfig(
        election_timeout=election_timeout,
        heartbeat_interval=heartbeat_interval,
        append_bytes_max=append_bytes_max,
        inflight_messages_max=random.choice((1, 2, 8)),
        inflight_bytes_max=append_bytes_max * random.choice((1, 4)),
        tail_bytes_max=unit * random.choice((1, 10, 100)),
        uncommitted_bytes_max=append_bytes_max + unit * random.choice((10, 100)),
        apply_bytes_max=unit * random.choice((1, 10)),
        read_bytes_max=unit * random.choice((1, 10)),
    )


def draw_lease(random: Random) -> float | None:
    """Return by how much clocks may run apart in a run whose leaders answer by lease.

    None for one in which they do not, and clocks may do what they want: half of all.
    """
    return random.choice((None, None, 0.1, 0.3))


def draw_load(random: Random) -> Load:
    """Return what the clients of a run ask for: about 100 commands a second, in other shapes."""
    return Load(
        clients=random.choice((3, 5, 5, 10)),
        commands_per_second=random.choice((50.0, 100.0, 100.0, 200.0)),
        burst=random.choice((1, 3, 10, 10, 20)),
        large=random.choice((0.0, 0.0, 0.02)),
    )
