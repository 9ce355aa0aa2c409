"""When a node takes a snapshot, and how fast it fetches one."""

import math

import msgspec

from liferaft.errors import ConfigurationError


class SnapshotPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot is taken when the log behind the last one has grown by any of these.

    - `entries`: so many entries; what a node applies again when it starts.
    - `log_bytes`: so many bytes of log.
    - `ratio`: but never before the log has grown by this many times the last snapshot's size, so
      that a large state is not written down over and over for a few small changes.
    - `fetch_bytes_per_second`: how fast a node fetches a snapshot from another, at most.
    """

    entries: int = 100_000
    log_bytes: int = 64 * 1024 * 1024
    ratio: float = 1.0
    fetch_bytes_per_second: float = 64 * 1024 * 1024

    def is_due(self, entries: int, log_bytes: int, snapshot_bytes: int) -> bool:
        """Return whether a log that has grown so much calls for a snapshot.

        `snapshot_bytes` is the size of the last one, 0 without one.
        """
        is_grown = entries >= self.entries or log_bytes >= self.log_bytes
        return is_grown and log_bytes >= self.ratio * snapshot_bytes


def checked_policy(policy: SnapshotPolicy) -> SnapshotPolicy:
    """Return the policy as it is, or raise `ConfigurationError`."""
    for name in ("entries", "log_bytes"):
        if getattr(policy, name) < 1:
            raise ConfigurationError(f"{name} must be at least 1, not {getattr(policy, name)}")
    if not (math.isfinite(policy.ratio) and policy.ratio >= 0):
        raise ConfigurationError(f"ratio must be a number from 0 on, not {policy.ratio}")
    if not policy.fetch_bytes_per_second > 0:
        raise ConfigurationError(
            f"fetch_bytes_per_second must be above 0, not {policy.fetch_bytes_per_second}"
        )
    return policy
