"""The core's settings: how long it waits, and how much it holds at once. Times are in seconds.

Every queue of the core has its bound here; relations between the settings are checked, and the
defaults keep them.
"""

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from liferaft.errors import ConfigurationError

HEARTBEATS_PER_ELECTION_TIMEOUT_MIN = 2
"""With fewer, one lost heartbeat would be an election."""


class RaftConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one core; the same on every node of a cluster, though nothing breaks if not.

    But for leases: with them nobody may have a shorter `election_timeout` than the leader, nor no
    `lease_clock_error`.

    - `election_timeout`: a follower campaigns after a silence drawn anew from [T, 2T); within T of
      hearing from its leader it refuses every other candidate; a leader that no quorum answered
      for T steps down.
    - `heartbeat_interval`: the leader's silence is never longer.
    - `append_bytes_max`: entries in one AppendEntries; one entry always fits, however large.
    - `inflight_messages_max`, `inflight_bytes_max`: sent to one follower and not yet answered.
    - `tail_bytes_max`: entries kept in memory beyond what still has to be stored or applied.
    - `uncommitted_bytes_max`: the leader's queue; beyond it proposals are rejected as overload.
    - `apply_bytes_max`: entries in one `Apply`; one always fits.
    - `read_bytes_max`: entries asked back from disk at once.
    - `keep_entries`: how many entries behind a snapshot stay in the log, for followers that are
      nearly there.
    - `disk_stall_max`: a leader whose disk does not finish a write for so long steps down.
    - `lease_clock_error`: None for no leases. Otherwise reads that ask for it may rely on that no
      node's clock runs faster than another's by more than this share, such as 0.1; and a node that
      starts helps nobody into office for an election timeout.
    """

    election_timeout: float = 0.3
    heartbeat_interval: float = 0.05
    append_bytes_max: int = 256 * 1024
    inflight_messages_max: int = 64
    inflight_bytes_max: int = 4 * 1024 * 1024
    tail_bytes_max: int = 16 * 1024 * 1024
    uncommitted_bytes_max: int = 64 * 1024 * 1024
    apply_bytes_max: int = 4 * 1024 * 1024
    read_bytes_max: int = 1024 * 1024
    keep_entries: int = 5_000
    disk_stall_max: float = 3.0
    lease_clock_error: float | None = None


PROFILES: Final[Mapping[str, RaftConfig]] = {
    "default": RaftConfig(),
    # Some 0.15 s without a leader. Eight heartbeats in a row must be lost before anybody campaigns
    # for nothing; what pauses for a tenth of a second is taken for dead.
    "lan": RaftConfig(election_timeout=0.1, heartbeat_interval=0.0125),
    # For nodes a tenth of a second and more apart.
    "wan": RaftConfig(election_timeout=1.5, heartbeat_interval=0.25),
}
"""Settings for networks that are faster or slower than most, by name."""


def checked(config: RaftConfig) -> RaftConfig:
    """Return `config` as it is; raises `ConfigurationError`, naming the setting that is wrong."""
    for name in ("election_timeout", "heartbeat_interval", "disk_stall_max"):
        seconds = getattr(config, name)
        if not (math.isfinite(seconds) and seconds > 0):
            raise ConfigurationError(f"{name} must be a positive number of seconds, not {seconds}")
    for name in [each.name for each in msgspec.structs.fields(config) if each.type is int]:
        if getattr(config, name) < 1:
            raise ConfigurationError(f"{name} must be at least 1, not {getattr(config, name)}")
    error = config.lease_clock_error
    if error is not None and not 0 <= error < 1:
        raise ConfigurationError(
            f"lease_clock_error must be a share from 0 to below 1, or None, not {error}"
        )
    shortest = config.heartbeat_interval * HEARTBEATS_PER_ELECTION_TIMEOUT_MIN
    if config.election_timeout < shortest:
        raise ConfigurationError(
            f"election_timeout {config.election_timeout} must be at least "
            f"{HEARTBEATS_PER_ELECTION_TIMEOUT_MIN} times heartbeat_interval "
            f"{config.heartbeat_interval}: otherwise one lost heartbeat is an election"
        )
    for name in ("inflight_bytes_max", "uncommitted_bytes_max"):
        if getattr(config, name) < config.append_bytes_max:
            raise ConfigurationError(
                f"{name} {getattr(config, name)} must not be below append_bytes_max "
                f"{config.append_bytes_max}: a full message could never be sent"
            )
    return config
