"""With which settings the nodes of a whole stack run: small limits, so that each is reached."""

from collections.abc import Callable
from random import Random
from typing import Final

import msgspec
from msgspec.structs import replace

from liferaft.cluster.divergence import COMPARE_INTERVAL
from liferaft.cluster.snapshot_policy import SnapshotPolicy
from liferaft.raft.config import RaftConfig

SEGMENT_BYTES: Final = 32 * 1024
"""Small, so that a run goes through many segments, and disks in memory stay small."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What all nodes of a world have in common; see `NodeConfig`."""

    raft: RaftConfig = msgspec.field(default_factory=RaftConfig)
    snapshots: SnapshotPolicy = msgspec.field(default_factory=SnapshotPolicy)
    segment_bytes: int = SEGMENT_BYTES
    compare_interval: float = COMPARE_INTERVAL

    def with_leases(self, clock_error: float | None) -> "Settings":
        """Return the same with this `RaftConfig.lease_clock_error`; None leaves it as it is."""
        if clock_error is None:
            return self
        return replace(self, raft=replace(self.raft, lease_clock_error=clock_error))


def draw_settings(source: Callable[[str], Random]) -> Settings:
    """Return the settings of a run; `source` gives the chance of one part of it."""
    draw = source("snapshots")
    keep_entries = draw.choice((1, 20, RaftConfig().keep_entries))
    raft = replace(_draw_raft_config(source("limits")), keep_entries=keep_entries)
    return Settings(
        raft=raft,
        snapshots=_draw_snapshot_policy(draw),
        compare_interval=source("comparisons").choice((*(COMPARE_INTERVAL,) * 3, 1.0)),
    )


def _draw_raft_config(draw: Random) -> RaftConfig:
    """Return the default settings, or ones with such small limits that each is reached."""
    if draw.random() < 0.4:
        return RaftConfig()
    append_bytes_max = draw.choice((512, 4096, 65536))
    return RaftConfig(
        append_bytes_max=append_bytes_max,
        inflight_messages_max=draw.choice((1, 2, 8)),
        inflight_bytes_max=draw.choice((1, 4)) * append_bytes_max,
        tail_bytes_max=draw.choice((1, 2048, 16384)),
        uncommitted_bytes_max=draw.choice((1, 8)) * append_bytes_max,
        apply_bytes_max=draw.choice((1, 1024, 65536)),
        read_bytes_max=draw.choice((1, 1024, 65536)),
    )


def _draw_snapshot_policy(draw: Random) -> SnapshotPolicy:
    """Return the default policy, by which a run is too short for snapshots, or one with many."""
    if draw.random() < 0.2:
        return SnapshotPolicy()
    return SnapshotPolicy(
        entries=draw.choice((5, 30, 150)),
        log_bytes=draw.choice((2_000, 100_000)),
        ratio=draw.choice((0.0, 1.0)),
        fetch_bytes_per_second=draw.choice((2_000, 100_000, 64_000_000)),
    )
