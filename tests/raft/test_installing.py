"""Snapshots as the core sees them: Figure 13, and what can go wrong around it."""

from random import Random

import msgspec
import pytest

from liferaft.errors import InvariantViolated
from liferaft.raft.config import RaftConfig
from liferaft.raft.core import RaftCore
from liferaft.raft.effects import (
    Compact,
    FetchSnapshot,
    Persist,
    ReadRejected,
    RestoreSnapshot,
)
from liferaft.raft.events import Received, SnapshotFetched, SnapshotLost, SnapshotStored, Stored
from liferaft.raft.log import LogSummary
from liferaft.raft.messages import AppendEntries, InstallSnapshot, InstallSnapshotReply
from liferaft.raft.types import Configuration, HardState, Snapshot
from tests.raft.harness import Cluster, core_of, entries_of, sent

CONFIG = RaftConfig(keep_entries=1)
ABC = Configuration(voters=("a", "b", "c"))


def cluster_without_c() -> Cluster:
    """Return a cluster whose leader "a" has compacted what "c" still needs."""
    cluster = Cluster(3, config=CONFIG)
    cluster.elect("a")
    for number in range(5):
        cluster.propose("a", b"%d" % number)
        cluster.settle(cut=["c"])
    cluster.take_snapshot("a")
    assert 5 == cluster["a"].statistics().base_index
    return cluster


def beat(cluster: Cluster, *cut: str) -> None:
    cluster.pass_time(0.05)
    cluster.settle(cut=cut)


def offer(snapshot: Snapshot, term: int = 3) -> Received:
    return Received(InstallSnapshot(term, "b", "a", snapshot, 1))


def test_who_needs_what_the_log_no_longer_holds_fetches_the_snapshot_and_goes_on() -> None:
    cluster = cluster_without_c()
    beat(cluster)
    beat(cluster)
    wanted = cluster.nodes["c"].fetch
    cluster.fetch("c")
    cluster.settle()
    cluster.propose("a", b"after")
    cluster.settle()
    beat(cluster)

    assert wanted == FetchSnapshot("a", cluster.nodes["a"].snapshots[-1])
    assert [b"0", b"1", b"2", b"3", b"4", b"after"] == cluster.nodes["c"].commands
    assert "replicate" == cluster["a"].statistics().followers[1].state


def test_a_follower_that_is_nearly_there_needs_no_snapshot() -> None:
    """The entries behind a snapshot stay for a while."""
    cluster = Cluster(3, config=msgspec.structs.replace(CONFIG, keep_entries=3))
    cluster.elect("a")
    for number in range(5):
        cluster.propose("a", b"%d" % number)
        cluster.settle(cut=["c"] if number > 2 else [])
    cluster.take_snapshot("a")
    beat(cluster)
    beat(cluster)

    assert cluster.nodes["c"].fetch is None
    assert cluster["c"].commit_index == 6


def test_trap_2_an_offer_is_heard_as_a_heartbeat() -> None:
    """Check-quorum counts the answer, and the follower does not campaign."""
    cluster = cluster_without_c()
    cluster.crash("b")
    for _ in range(40):
        beat(cluster)

    assert (["a"], "follower") == (cluster.leaders, cluster["c"].role)


def test_trap_33_the_offer_stays_the_same_and_the_log_behind_it_is_kept() -> None:
    cluster = cluster_without_c()
    beat(cluster)
    beat(cluster)
    offered = cluster.nodes["a"].snapshots[-1]
    for number in range(5):
        cluster.propose("a", b"more %d" % number)
        cluster.settle()
        if number == 2:
            cluster.take_snapshot("a")
        beat(cluster)

    assert FetchSnapshot("a", offered) == cluster.nodes["c"].fetch
    cluster.fetch("c")
    cluster.settle()
    assert cluster["c"].last_index == cluster["a"].last_index, "no second snapshot is needed"


def test_who_was_away_is_offered_the_newest() -> None:
    """What it was offered before it left may be gone, and the log behind it is."""
    cluster = cluster_without_c()
    beat(cluster)
    cluster.crash("c")
    for number in range(2):
        cluster.propose("a", b"more %d" % number)
        cluster.settle()
        cluster.take_snapshot("a")
    for _ in range(10):
        beat(cluster)
    cluster.restart("c")
    beat(cluster)
    beat(cluster)

    assert FetchSnapshot("a", cluster.nodes["a"].snapshots[-1]) == cluster.nodes["c"].fetch


def test_a_snapshot_that_is_gone_is_replaced_by_the_newest() -> None:
    cluster = cluster_without_c()
    beat(cluster)
    beat(cluster)
    for number in range(2):
        cluster.propose("a", b"more %d" % number)
        cluster.settle()
        cluster.take_snapshot("a")  # the last two are kept
    cluster.fetch("c")
    beat(cluster)
    beat(cluster)
    assert FetchSnapshot("a", cluster.nodes["a"].snapshots[-1]) == cluster.nodes["c"].fetch
    cluster.fetch("c")
    beat(cluster)
    beat(cluster)

    assert cluster["c"].commit_index == cluster["a"].commit_index


def test_trap_32_an_older_snapshot_rolls_nothing_back() -> None:
    core = core_of(terms=[1, 1, 2])
    core.step(Received(AppendEntries(3, "b", "a", 3, 2, (), 3, 1)), 0.0)
    core.take_effects()
    core.step(offer(Snapshot(2, 1, ABC)), 0.0)
    core.step(SnapshotFetched(Snapshot(2, 1, ABC)), 0.0)
    effects = core.take_effects()

    assert [InstallSnapshotReply(3, "a", "b", 2, 3, is_failed=False, round=1)] == sent(effects)
    assert not [each for each in effects if isinstance(each, FetchSnapshot | RestoreSnapshot)]
    assert 3 == core.commit_index


def test_what_the_log_holds_is_not_fetched() -> None:
    """The leader's snapshot says of it that it is committed."""
    core = core_of(terms=[1, 1, 2])
    core.step(offer(Snapshot(2, 1, ABC)), 0.0)
    effects = core.take_effects()

    assert not [each for each in effects if isinstance(each, FetchSnapshot)]
    assert 2 == core.commit_index


@pytest.mark.parametrize(("term_at_4", "last_index"), [(2, 5), (1, 4)])
def test_trap_31_the_tail_is_kept_only_if_the_last_entry_of_the_snapshot_is_in_the_log(
    term_at_4: int, last_index: int
) -> None:
    """Entries that came while it was fetched are kept; a tail of another history is not."""
    core = core_of(terms=[1, 1, 1], hard_state=HardState(3))
    snapshot = Snapshot(4, 2, ABC)
    core.step(offer(snapshot), 0.0)
    more = entries_of([term_at_4, 2], first=4)
    core.step(Received(AppendEntries(3, "b", "a", 3, 1, more, 0, 1)), 0.0)
    mark = next(each.mark for each in core.take_effects() if hasattr(each, "mark"))
    core.step(Stored(mark), 0.0)
    core.step(SnapshotFetched(snapshot), 0.0)
    (restore,) = [each for each in core.take_effects() if isinstance(each, RestoreSnapshot)]

    assert RestoreSnapshot(snapshot, keeps_log=last_index == 5) == restore
    assert (4, last_index) == (core.commit_index, core.last_index)


def test_trap_31_a_crash_between_the_snapshot_and_the_logs_reset_is_survived() -> None:
    cluster = cluster_without_c()
    cluster.is_disk_fast = False
    beat(cluster)
    beat(cluster)
    cluster.fetch("c")
    cluster.crash("c")
    cluster.restart("c")

    assert (6, 6) == (cluster["c"].commit_index, cluster["c"].last_index)


def test_trap_15_the_part_of_an_append_below_the_snapshot_is_skipped() -> None:
    core = core_of(hard_state=HardState(3))
    snapshot = Snapshot(4, 2, ABC)
    core.step(offer(snapshot), 0.0)
    core.step(SnapshotFetched(snapshot), 0.0)
    core.take_effects()
    entries = entries_of([1, 2, 2, 3], first=2)
    core.step(Received(AppendEntries(3, "b", "a", 1, 1, entries, 5, 1)), 0.0)

    assert (5, 5) == (core.commit_index, core.last_index)


def test_trap_30_a_snapshot_brings_its_configuration() -> None:
    core = core_of(hard_state=HardState(3))
    other = Configuration(voters=("b", "x", "y"))
    core.step(offer(Snapshot(4, 2, other)), 0.0)
    core.step(SnapshotFetched(Snapshot(4, 2, other)), 0.0)

    assert other == core.configuration


def test_a_fetch_that_fails_is_told_and_the_same_offer_is_taken_again() -> None:
    core = core_of(hard_state=HardState(3))
    snapshot = Snapshot(4, 2, ABC)
    core.step(offer(snapshot), 0.0)
    core.take_effects()
    core.step(SnapshotLost(snapshot), 0.0)
    told = sent(core.take_effects())
    core.step(offer(snapshot), 0.0)

    assert [InstallSnapshotReply(3, "a", "b", 4, 0, is_failed=True, round=0)] == told
    assert FetchSnapshot("b", snapshot) in core.take_effects()


def test_a_repeated_offer_is_fetched_once() -> None:
    core = core_of(hard_state=HardState(3))
    for _ in range(3):
        core.step(offer(Snapshot(4, 2, ABC)), 0.0)

    assert 1 == sum(isinstance(each, FetchSnapshot) for each in core.take_effects())


def test_a_snapshot_of_what_was_not_applied_stops_the_node() -> None:
    core = core_of(terms=[1, 1])

    with pytest.raises(InvariantViolated, match="0 is applied"):
        core.step(SnapshotStored(Snapshot(2, 1, ABC)), 0.0)


def test_the_log_is_compacted_behind_the_snapshot_and_no_further() -> None:
    cluster = cluster_without_c()

    assert [Compact(5)] == [e for e in cluster.nodes["a"].effects if isinstance(e, Compact)]


def test_a_restart_goes_on_from_its_snapshot() -> None:
    cluster = cluster_without_c()
    cluster.crash("a")
    cluster.restart("a")

    assert (6, 6) == (cluster["a"].commit_index, len(cluster.nodes["a"].applied))
    assert ABC == cluster["a"].configuration


def test_a_leader_of_a_lower_term_learns_so_from_the_answer_to_its_offer() -> None:
    """It sends no heartbeats to who needs a snapshot: without the answer neither would ever learn.

    The follower campaigned in vain while it was cut off, and hears nobody of its own term.
    """
    cluster = cluster_without_c()
    beat(cluster)
    beat(cluster)
    cluster.nodes["c"].hard_state = HardState(7)
    cluster.crash("c")
    cluster.restart("c")
    for _ in range(20):
        beat(cluster)
        if cluster.nodes["c"].fetch is not None:
            cluster.fetch("c")

    assert 1 == len(cluster.leaders)
    assert cluster[cluster.leaders[0]].current_term > 7
    assert cluster["c"].commit_index == cluster[cluster.leaders[0]].commit_index


def committed_but_not_stored() -> tuple[RaftCore, Persist]:
    """Return a core that knows three entries as committed while their write is under way."""
    core = core_of(hard_state=HardState(3))
    core.step(Received(AppendEntries(3, "b", "a", 0, 0, entries_of([1, 1, 2]), 3, 1)), 0.0)
    (write,) = [each for each in core.take_effects() if isinstance(each, Persist)]
    return core, write


def test_the_answer_to_an_offer_promises_no_more_than_is_stored() -> None:
    core, write = committed_but_not_stored()
    core.step(offer(Snapshot(2, 1, ABC)), 0.0)
    (early,) = sent(core.take_effects())
    core.step(Stored(write.mark), 0.0)
    core.step(offer(Snapshot(2, 1, ABC)), 0.0)
    (late,) = sent(core.take_effects())

    assert isinstance(early, InstallSnapshotReply)
    assert isinstance(late, InstallSnapshotReply)
    assert (0, 3) == (early.match_index, late.match_index)


def test_nor_where_the_offer_itself_tells_what_is_committed() -> None:
    core = core_of(hard_state=HardState(3))
    core.step(Received(AppendEntries(3, "b", "a", 0, 0, entries_of([1, 1, 2]), 0, 1)), 0.0)
    core.take_effects()
    core.step(offer(Snapshot(2, 1, ABC)), 0.0)
    (reply,) = sent(core.take_effects())

    assert isinstance(reply, InstallSnapshotReply)
    assert (0, 2) == (reply.match_index, core.commit_index)


def test_an_older_snapshot_of_ones_own_replaces_no_newer_one() -> None:
    cluster = Cluster(3, config=CONFIG)
    cluster.elect("a")
    cluster.propose("a", b"x")
    cluster.settle()
    newer = cluster.take_snapshot("a")
    cluster.step("a", SnapshotStored(Snapshot(1, 1, ABC)))

    assert newer == cluster["a"].state.snapshot


def test_a_restart_takes_the_configuration_of_the_snapshot_and_those_behind_it() -> None:
    """The log may still hold entries that the snapshot covers."""
    cluster = Cluster(3, config=msgspec.structs.replace(CONFIG, keep_entries=3))
    cluster.elect("a")
    for address in ("here:1", "there:2"):
        target = msgspec.structs.replace(ABC, addresses=(("a", address),))
        cluster.change("a", target)
        cluster.settle()
        if address == "here:1":
            cluster.take_snapshot("a")
    cluster.crash("a")
    cluster.restart("a")

    assert (("a", "there:2"),) == cluster["a"].configuration.addresses
    assert 3 == cluster["a"].state.configurations.latest_index


def test_who_is_deposed_by_an_offer_says_who_leads() -> None:
    cluster = Cluster(3)
    cluster.elect("a")
    cluster.read("a", 7)
    cluster.step("a", Received(InstallSnapshot(9, "c", "a", Snapshot(8, 8, ABC), 1)))

    assert ReadRejected((7,), "c") in cluster.nodes["a"].effects


def test_a_restart_with_a_snapshot_of_a_later_term_than_the_stored_one_begins_in_that_term() -> (
    None
):
    """The snapshot was whole on disk before the write of the term that it was offered in."""
    snapshot = Snapshot(5, 3, ABC)
    core = RaftCore(
        "a",
        CONFIG,
        ABC,
        HardState(1, "b"),
        LogSummary(first=6, last=5, prior_term=3),
        now=0.0,
        random=Random(1),
        snapshot=snapshot,
    )

    assert HardState(3, None) == core.state.hard_state
    assert [Persist(1, HardState(3, None), ())] == core.take_effects()


def test_a_snapshot_that_does_not_tell_the_members_is_neither_offered_nor_compacted_for() -> None:
    """A node that was added applies entries from before the first that names the members."""
    cluster = Cluster(3, config=CONFIG)
    cluster.elect("a")
    for number in range(5):
        cluster.propose("a", b"%d" % number)
        cluster.settle()
    effects = cluster.step("a", SnapshotStored(Snapshot(5, 1, Configuration(voters=()))))

    assert [] == effects
    assert (0, None) == (cluster["a"].statistics().base_index, cluster["a"].state.snapshot)
