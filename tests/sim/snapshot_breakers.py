"""Guards of snapshots and of the log behind them, taken out one at a time; see breakers.py."""

from collections.abc import Callable, Iterator
from weakref import WeakKeyDictionary

import pytest

from liferaft.cluster.driver import Driver
from liferaft.raft.effects import RestoreSnapshot
from liferaft.replicated.machine import Prepared, ReplicatedMachine
from liferaft.storage import snapshots
from liferaft.storage.disk import Disk


def restore_without_the_sessions(patch: pytest.MonkeyPatch) -> None:
    """Exactly once holds only if what was answered is part of the state."""
    install = ReplicatedMachine.install

    def broken(self: ReplicatedMachine, prepared: Prepared) -> None:
        sessions = dict(self.sessions.state())
        install(self, prepared)
        self.sessions.replace(sessions)

    patch.setattr(ReplicatedMachine, "install", broken)


def leave_the_log_as_it_was_behind_an_installed_snapshot(patch: pytest.MonkeyPatch) -> None:
    """Figure 13, step 7: discard the entire log."""

    def broken(self: Driver, effect: RestoreSnapshot) -> None:
        self._snapshots.restore(effect.snapshot)
        self.applied_index = effect.snapshot.index

    patch.setattr(Driver, "_restore_snapshot", broken)


def name_a_snapshot_before_its_directory_is_synced(patch: pytest.MonkeyPatch) -> None:
    """The log that it covers goes, and then so does its name."""

    def broken(disk: Disk, directory: str) -> None:
        """Trust the system."""

    patch.setattr(snapshots, "sync_directory", broken)


def start_without_the_newest_entries_of_the_state(patch: pytest.MonkeyPatch) -> None:
    """What a snapshot claims to hold is never applied again."""
    snapshot = ReplicatedMachine.snapshot
    kept: WeakKeyDictionary[ReplicatedMachine, list[bytes]] = WeakKeyDictionary()

    def broken(self: ReplicatedMachine) -> Iterator[bytes]:
        chunks = list(snapshot(self))
        before, kept[self] = kept.get(self, chunks), chunks
        return iter(before)

    patch.setattr(ReplicatedMachine, "snapshot", broken)


SNAPSHOT_BREAKERS: list[Callable[[pytest.MonkeyPatch], None]] = [
    restore_without_the_sessions,
    leave_the_log_as_it_was_behind_an_installed_snapshot,
    name_a_snapshot_before_its_directory_is_synced,
    start_without_the_newest_entries_of_the_state,
]
