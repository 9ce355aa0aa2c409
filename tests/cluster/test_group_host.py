"""Nodes of many groups: what they share, and that each group is a Raft of its own all the same."""

import asyncio
import errno
from collections import Counter
from functools import partial
from random import Random

import pytest

from liferaft.cluster.hosted_group import HostedGroup, checked_name
from liferaft.cluster.snapshot_policy import SnapshotPolicy
from liferaft.errors import ConfigurationError, DataDirectoryError, DiskFailed, NoSuchObject
from liferaft.raft.types import Configuration
from tests.cluster.many import NODES, Many, failures, simulated

GROUPS = tuple(f"g{number}" for number in range(8))


async def at_rest() -> Many:
    """Return nodes whose groups were used once each, and rest."""
    cluster = Many(GROUPS)
    await cluster.start()
    for group in GROUPS:
        await cluster.write(group)
    await cluster.wait_silent()
    return cluster


def test_every_group_has_a_leader_and_a_log_of_its_own() -> None:
    async def story() -> None:
        cluster = Many(GROUPS)
        await cluster.start()
        for number, group in enumerate(GROUPS):
            for _ in range(number):
                await cluster.write(group, group.encode())
        await cluster.wait_equal()
        lines = {group: cluster.machines["n1", group].lines for group in GROUPS}
        await cluster.stop()

        assert {f"g{n}": [f"g{n}".encode()] * n for n in range(8)} == lines

    simulated(story)


def test_a_node_runs_only_once_it_has_taken_up_all_its_groups() -> None:
    """Who asks before, to stop it say, must not meet it half made."""

    async def story() -> None:
        cluster = Many(GROUPS, policy=SnapshotPolicy(entries=2))
        await cluster.start()
        for group in GROUPS * 4:
            await cluster.write(group)
        await cluster.wait_silent()
        await cluster.stop()
        host = cluster._make("n1")  # each of its groups has a snapshot to read now
        starting = asyncio.create_task(host.start())
        seen: set[tuple[bool, int]] = set()
        while not starting.done():
            seen.add((host.is_running, len(host.groups)))
            await asyncio.sleep(0.0005)
        await host.stop()

        assert {count for is_running, count in seen if is_running} <= {len(GROUPS)}
        assert {count for is_running, count in seen if not is_running} >= {1, 2}

    simulated(story)


def test_groups_that_are_not_used_fall_silent() -> None:
    async def story() -> None:
        cluster = await at_rest()
        await asyncio.sleep(60)
        before = dict(cluster.turns)
        leaders = {group: cluster.leader_now(group) for group in GROUPS}
        await asyncio.sleep(600)
        after = dict(cluster.turns)
        still = {group: cluster.leader_now(group) for group in GROUPS}
        await cluster.stop()

        assert before == after
        assert leaders == still
        assert not failures(cluster)

    simulated(story)


def test_a_silent_group_answers_at_once_when_it_is_used() -> None:
    async def story() -> None:
        cluster = await at_rest()
        leader = cluster.leader_now("g3")
        started = asyncio.get_running_loop().time()
        await cluster.write("g3", b"late")
        took = asyncio.get_running_loop().time() - started
        await cluster.wait_equal()
        await cluster.stop()

        assert took < 0.05
        assert cluster.leader_now("g3") in (None, leader)

    simulated(story)


def test_who_asks_a_silent_group_for_its_leader_is_not_kept_waiting() -> None:
    async def story() -> None:
        cluster = Many(("g",))
        await cluster.start()
        await cluster.write("g")
        await cluster.wait_silent()
        started = asyncio.get_running_loop().time()
        for node_id in NODES:
            await cluster.driver(node_id, "g").wait_leader(5.0)
        took = asyncio.get_running_loop().time() - started
        await cluster.stop()

        assert 0 == took

    simulated(story)


def test_silent_groups_of_a_node_that_crashed_get_new_leaders() -> None:
    async def story() -> None:
        cluster = await at_rest()
        crashed = cluster.leader_now("g0")
        assert crashed is not None
        led = [group for group in GROUPS if cluster.leader_now(group) == crashed]
        cluster.crash(crashed)
        await asyncio.sleep(2.0)
        leaders = [cluster.leader_now(group) for group in led]
        for group in GROUPS:
            await cluster.write(group, b"after")
        await cluster.wait_equal()
        await cluster.wait_silent()
        turns = dict(cluster.turns)
        await asyncio.sleep(60)
        turns_later = dict(cluster.turns)
        await cluster.start(crashed)
        await cluster.wait_equal()
        await cluster.wait_silent()
        lines = [cluster.machines[node_id, group].lines for node_id in NODES for group in GROUPS]
        await cluster.stop()

        assert None not in leaders
        assert turns == turns_later, "one node that is down keeps nobody awake"
        assert [[b"x", b"after"]] * 24 == lines

    simulated(story)


def test_a_node_hands_over_all_that_it_leads_and_wakes_no_other_group() -> None:
    async def story() -> None:
        cluster = await at_rest()
        leaving = cluster.leader_now("g0")
        assert leaving is not None
        led = [group for group in GROUPS if cluster.leader_now(group) == leaving]
        turns = dict(cluster.turns)
        began = asyncio.get_running_loop().time()
        await cluster.hosts[leaving].hand_over()
        took = asyncio.get_running_loop().time() - began
        woken = [group for group in GROUPS if cluster.turns[group] != turns[group]]
        leaders = {cluster.leader_now(group) for group in led}
        await cluster.stop()

        assert took < cluster.raft.election_timeout
        assert led == woken
        assert leaving not in leaders
        assert None not in leaders

    simulated(story)


def test_all_nodes_at_once_come_back_with_every_group() -> None:
    async def story() -> None:
        cluster = Many(GROUPS)
        await cluster.start()
        for group in GROUPS:
            await cluster.write(group, group.encode())
        for node_id in NODES:
            cluster.crash(node_id)
        await cluster.start()
        for group in GROUPS:
            await cluster.write(group, b"again")
        await cluster.wait_equal()
        lines = {group: cluster.machines["n2", group].lines for group in GROUPS}
        await cluster.stop()

        assert {group: [group.encode(), b"again"] for group in GROUPS} == lines

    simulated(story)


def test_one_group_is_brought_up_to_date_by_a_snapshot_while_the_others_rest() -> None:
    async def story() -> None:
        cluster = await at_rest()
        away = next(each for each in NODES if cluster.leader_now("g5") != each)
        others = [group for group in GROUPS if cluster.leader_now(group) not in (away, None)]
        cluster.crash(away)
        for _ in range(60):
            await cluster.write("g5", b"y")
        await cluster.wait_silent()
        turns = dict(cluster.turns)
        await cluster.start(away)
        await cluster.wait_equal()
        await cluster.wait_silent()
        prepared = cluster.machines[away, "g5"].prepared
        woken = {group for group in others if cluster.turns[group] > turns[group] + 10}
        await cluster.stop()

        assert 1 == prepared
        assert {"g5"} == woken, "of the others it needs to be told only that they rest"
        assert len(others) > 2

    simulated(story)


def test_a_group_can_be_added_and_removed_while_the_nodes_run() -> None:
    async def story() -> None:
        cluster = Many(("old",))
        await cluster.start()
        await cluster.write("old")
        cluster.groups.append("new")
        for host in cluster.hosts.values():
            await host.add("new")
        await cluster.write("new")
        await cluster.wait_equal()
        for host in cluster.hosts.values():
            await host.remove("new")
        with pytest.raises(NoSuchObject):
            await cluster.hosts["n1"].remove("new")
        statuses = [status.group for status in cluster.hosts["n1"].statuses()]
        await cluster.write("old")
        await cluster.stop()

        assert ["old"] == statuses

    simulated(story)


def test_a_group_that_was_added_is_hosted_after_a_restart() -> None:
    async def story() -> None:
        cluster = Many(("old",))
        await cluster.start()
        for host in cluster.hosts.values():
            await host.add("new")
        cluster.groups.append("new")
        await cluster.write("new", b"kept")
        cluster.groups.remove("new")
        for node_id in NODES:
            cluster.crash(node_id)
        await cluster.start()
        await cluster.write("new", b"more")
        await cluster.wait_equal()
        lines = cluster.machines[await cluster.leader("new"), "new"].lines
        await cluster.stop()

        assert [b"kept", b"more"] == lines

    simulated(story)


def test_a_group_that_cannot_be_made_is_not_added_and_keeps_no_node_from_starting() -> None:
    async def story() -> None:
        cluster = Many(("old",))
        cluster.refused.add("new")
        await cluster.start()
        with pytest.raises(ConfigurationError, match="new cannot be made"):
            await cluster.hosts["n1"].add("new")
        await cluster.stop("n1")
        await cluster.start("n1")
        cluster.refused.clear()
        await cluster.hosts["n1"].add("new")
        hosted = list(cluster.hosts["n1"].groups)
        await cluster.stop()

        assert ["old", "new"] == hosted

    simulated(story)


def test_a_group_that_was_removed_never_comes_back_to_the_node() -> None:
    """Neither with a restart nor by its name; and its snapshots take no room."""

    async def story() -> None:
        cluster = Many(("stays", "leaves"))
        await cluster.start()
        for _ in range(30):
            await cluster.write("leaves")
        await cluster.wait_equal()
        await cluster.wait_silent()
        before = [path for path in cluster.disks["n1"].paths() if "/leaves/" in path]
        await cluster.hosts["n1"].remove("leaves")
        await cluster.stop("n1")
        await cluster.start("n1")
        after = [path for path in cluster.disks["n1"].paths() if "/leaves/" in path]
        with pytest.raises(ConfigurationError, match="was removed from node n1"):
            await cluster.hosts["n1"].add("leaves")
        hosted = list(cluster.hosts["n1"].groups)
        await cluster.stop()

        assert ["stays"] == hosted
        assert before
        assert not after

    simulated(story)


def test_a_node_that_forgot_a_group_gives_no_vote_in_it_again() -> None:
    """Trap 28: with its empty log it would elect who lacks what it had acknowledged."""

    async def story() -> None:
        cluster = Many(("g",))
        await cluster.start()
        await cluster.write("g")
        await cluster.wait_equal()
        leader = await cluster.leader("g")
        witness, behind = (each for each in NODES if each != leader)
        heal = cluster.cut_off(behind)
        await cluster.write("g", b"acknowledged")
        await cluster.hosts[witness].remove("g")
        await cluster.stop(witness)
        cluster.crash(leader)
        heal()
        await cluster.start(witness)
        await asyncio.sleep(20)
        led_without, is_failed = cluster.leader_now("g"), failures(cluster)
        await cluster.start(leader)
        await cluster.write("g", b"later")
        lines = cluster.machines[await cluster.leader("g"), "g"].lines
        await cluster.stop()

        assert led_without is None
        assert not is_failed
        assert [b"x", b"acknowledged", b"later"] == lines

    simulated(story)


def test_a_crash_in_the_midst_of_a_removal_leaves_all_of_a_group_or_nothing() -> None:
    hosted: Counter[bool] = Counter()

    async def story(seed: int) -> None:
        cluster = Many(("stays", "leaves"), seed=seed)
        await cluster.start()
        for _ in range(25):
            await cluster.write("leaves")
        await cluster.wait_equal()
        removing = asyncio.create_task(cluster.hosts["n1"].remove("leaves"))
        await asyncio.sleep(Random(seed).uniform(0, 0.006))
        cluster.crash("n1")
        removing.cancel()
        await asyncio.gather(removing, return_exceptions=True)
        await cluster.start("n1")
        is_hosted = "leaves" in cluster.hosts["n1"].groups
        hosted[is_hosted] += 1
        kept = [path for path in cluster.disks["n1"].paths() if "/leaves/" in path]
        await cluster.write("leaves", b"last")
        await asyncio.sleep(2)
        await cluster.stop()

        assert is_hosted == bool(kept)

    for seed in range(40):
        simulated(partial(story, seed))

    assert hosted[True]
    assert hosted[False]


def test_a_node_can_be_stopped_while_a_group_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = HostedGroup.stop

    async def stop_slowly(self: HostedGroup) -> None:
        await asyncio.sleep(0.001)
        await stop(self)

    monkeypatch.setattr(HostedGroup, "stop", stop_slowly)

    async def story(delay: float) -> None:
        cluster = Many(GROUPS)
        await cluster.start()
        removing = asyncio.create_task(cluster.hosts["n1"].remove(GROUPS[-1]))
        await asyncio.sleep(delay)
        await asyncio.gather(cluster.stop("n1"), removing)
        await cluster.stop()

    for half_milliseconds in range(8):
        simulated(partial(story, half_milliseconds / 2000))


def test_a_group_that_is_added_while_its_node_is_stopped_is_stopped_with_it() -> None:
    async def story(delay: float) -> None:
        cluster = Many(("g",))
        await cluster.start()
        host = cluster.hosts["n1"]
        adding = asyncio.create_task(host.add("h"))
        await asyncio.sleep(delay)
        await cluster.stop("n1")
        await asyncio.gather(adding, return_exceptions=True)
        running = [hosted.member.is_running for hosted in host.groups.values()]
        await cluster.stop()

        assert not any(running)

    for half_milliseconds in range(16):
        simulated(partial(story, half_milliseconds / 2000))


def test_a_node_that_was_stopped_hosts_no_more_groups() -> None:
    async def story() -> None:
        cluster = Many(("g",))
        await cluster.start()
        host = cluster.hosts["n1"]
        await cluster.stop("n1")
        with pytest.raises(ConfigurationError, match="is being stopped"):
            await host.add("h")
        with pytest.raises(NoSuchObject):
            await host.remove("g")
        await cluster.stop()

    simulated(story)


def test_of_two_who_change_the_same_group_at_once_one_is_refused() -> None:
    async def story() -> None:
        cluster = Many(("g",))
        await cluster.start()
        host = cluster.hosts["n1"]
        added = await asyncio.gather(host.add("h"), host.add("h"), return_exceptions=True)
        removed = await asyncio.gather(host.remove("h"), host.remove("h"), return_exceptions=True)
        await cluster.stop()

        assert [type(None), ConfigurationError] == list(map(type, added))
        assert [type(None), NoSuchObject] == list(map(type, removed))

    simulated(story)


def test_a_disk_that_cannot_keep_that_a_group_was_removed_ends_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was told that it is no member; what it promised must not be forgotten unsaid."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    async def story() -> None:
        cluster = Many(("stays", "leaves"))
        await cluster.start()
        for group in cluster.groups:
            await cluster.write(group)
        leader = await cluster.leader("leaves")
        leaving = next(each for each in NODES if each != leader)
        others = tuple(each for each in NODES if each != leaving)
        await cluster.wait_silent()
        monkeypatch.setattr("liferaft.storage.group_catalog.write_line", refuse)
        await cluster.driver(leader, "leaves").change(Configuration(voters=others))
        async with asyncio.timeout(60):
            failure = await cluster.hosts[leaving].wait_failed()
        await cluster.stop()

        assert isinstance(failure, DiskFailed)
        assert "/data/catalog could not be written" in str(failure)

    simulated(story)


def test_a_group_that_is_there_already_cannot_be_added() -> None:
    async def story() -> None:
        cluster = Many(("g",))
        await cluster.start()
        with pytest.raises(ConfigurationError, match="'g' is hosted here already"):
            await cluster.hosts["n1"].add("g")
        await cluster.stop()

    simulated(story)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a@b", "a\0b", "é" * 51])
def test_what_cannot_be_the_name_of_a_directory_or_an_object_is_no_groups_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a group's name"):
        checked_name(name)


def test_a_node_that_lost_its_disk_is_refused_under_its_old_name() -> None:
    """Whether it has anything to say to a group or not: its disk gave votes that it forgot."""

    async def story() -> None:
        cluster = Many(GROUPS)
        await cluster.start()
        for group in GROUPS:
            await cluster.write(group)
        await cluster.wait_bound()
        await cluster.wait_silent()
        cluster.lose_disk("n3")
        await cluster.start("n3")
        failure = await cluster.hosts["n3"].wait_failed()
        for group in GROUPS:
            await cluster.write(group)
        await cluster.stop()

        assert isinstance(failure, DataDirectoryError)
        assert "is not the disk on which node n3" in str(failure)

    simulated(story)


def test_a_group_that_a_node_was_removed_from_ends_there_and_the_others_go_on() -> None:
    async def story() -> None:
        cluster = Many(("stays", "leaves"))
        await cluster.start()
        for group in cluster.groups:
            await cluster.write(group)
        leader = await cluster.leader("leaves")
        leaving = next(each for each in NODES if each != leader)
        others = tuple(each for each in NODES if each != leaving)
        await cluster.driver(leader, "leaves").change(Configuration(voters=others))
        await cluster.wait_silent()
        await asyncio.sleep(5)
        left = [status.group for status in cluster.hosts[leaving].statuses()]
        await cluster.stop(leaving)
        await cluster.start(leaving)
        await asyncio.sleep(5)
        left += cluster.hosts[leaving].groups
        await cluster.write("leaves")
        await cluster.write("stays")
        is_failed = failures(cluster)
        await cluster.stop()

        assert ["stays", "stays"] == left
        assert not is_failed

    simulated(story)
