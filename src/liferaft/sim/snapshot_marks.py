"""What should happen sometimes with snapshots: seen in the events and effects of a turn.

For each type of event, effect and message there is what tells its mark; `Marks` counts them.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from liferaft.raft.effects import Compact, Effect, RestoreSnapshot
from liferaft.raft.events import Event, SnapshotFetched, SnapshotLost, SnapshotStored
from liferaft.raft.messages import InstallSnapshot, InstallSnapshotReply, Message

SNAPSHOT_MARKS: Final = (
    "a snapshot is taken",
    "a snapshot is offered",
    "a snapshot that was offered is not needed any more",
    "a snapshot is fetched",
    "a snapshot could not be fetched",
    "a snapshot is installed, and the log begins anew",
    "a snapshot is installed, and the log behind it is kept",
    "the log is compacted",
)

Look: TypeAlias = Callable[..., str | None]
"""Returns the mark that something hits, None if it hits none."""


def _answered(reply: InstallSnapshotReply) -> str | None:
    is_useless = reply.match_index > reply.snapshot_index
    return "a snapshot that was offered is not needed any more" if is_useless else None


def _restored(effect: RestoreSnapshot) -> str:
    kept = "the log behind it is kept" if effect.keeps_log else "the log begins anew"
    return f"a snapshot is installed, and {kept}"


OF_EVENTS: Final[Mapping[type[Event], Look]] = {
    SnapshotStored: lambda _: "a snapshot is taken",
    SnapshotFetched: lambda _: "a snapshot is fetched",
    SnapshotLost: lambda _: "a snapshot could not be fetched",
}
OF_RECEIVED: Final[Mapping[type[Message], Look]] = {InstallSnapshotReply: _answered}
OF_SENT: Final[Mapping[type[Message], Look]] = {
    InstallSnapshot: lambda _: "a snapshot is offered",
}
OF_EFFECTS: Final[Mapping[type[Effect], Look]] = {
    RestoreSnapshot: _restored,
    Compact: lambda _: "the log is compacted",
}
