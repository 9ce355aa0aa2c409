"""What should happen sometimes with snapshots: seen in the events and effects of a turn.

Each row names a mark and says of which event or effect it is; `Marks` counts them.
"""

from typing import Final

from liferaft.raft.effects import Compact, Effect, RestoreSnapshot, Send
from liferaft.raft.events import Event, Received, SnapshotFetched, SnapshotLost, SnapshotStored
from liferaft.raft.messages import InstallSnapshot, InstallSnapshotReply

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


def mark_of_event(event: Event) -> str | None:
    """Return the mark that an event hits, None for most."""
    if isinstance(event, SnapshotStored):
        return "a snapshot is taken"
    if isinstance(event, SnapshotLost):
        return "a snapshot could not be fetched"
    if isinstance(event, Received) and isinstance(event.message, InstallSnapshotReply):
        is_useless = event.message.match_index > event.message.snapshot_index
        return "a snapshot that was offered is not needed any more" if is_useless else None
    return "a snapshot is fetched" if isinstance(event, SnapshotFetched) else None


def mark_of_effect(effect: Effect) -> str | None:
    """Return the mark that an effect hits, None for most."""
    if isinstance(effect, RestoreSnapshot):
        kept = "the log behind it is kept" if effect.keeps_log else "the log begins anew"
        return f"a snapshot is installed, and {kept}"
    if isinstance(effect, Compact):
        return "the log is compacted"
    is_offer = isinstance(effect, Send) and isinstance(effect.message, InstallSnapshot)
    return "a snapshot is offered" if is_offer else None
