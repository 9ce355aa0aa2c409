"""Nodes of many groups: what they share, and that each group is a Raft of its own all the same."""

import asyncio

from tests.cluster.many import NODES, Many, failures, simulated

GROUPS = tuple(f"g{number}" for number in range(8))


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


def test_groups_that_are_not_used_fall_silent() -> None:
    async def story() -> None:
        cluster = Many(GROUPS)
        await cluster.start()
        for group in GROUPS:
            await cluster.write(group)
        await cluster.wait_silent()
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
        cluster = Many(GROUPS)
        await cluster.start()
        for group in GROUPS:
            await cluster.write(group)
        await cluster.wait_silent()
        leader = cluster.leader_now("g3")
        started = asyncio.get_running_loop().time()
        await cluster.write("g3", b"late")
        took = asyncio.get_running_loop().time() - started
        await cluster.wait_equal()
        await cluster.stop()

        assert took < 0.05
        assert cluster.leader_now("g3") in (None, leader)

    simulated(story)


def test_silent_groups_of_a_node_that_crashed_get_new_leaders() -> None:
    async def story() -> None:
        cluster = Many(GROUPS)
        await cluster.start()
        for group in GROUPS:
            await cluster.write(group)
        await cluster.wait_silent()
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
