"""When one group of many falls silent, and what keeps it from that."""

from tests.cluster.many import NODES, Many, simulated


def test_no_group_rests_while_there_are_entries_left_to_apply() -> None:
    """Neither at its leader, which claims so, nor at a follower."""

    async def story() -> None:
        cluster = Many(("g",))
        await cluster.start()
        await cluster.write("g")
        await cluster.wait_silent()
        rests = [cluster.hosts[node_id].groups["g"].rest for node_id in NODES]
        idle = [rest.is_resting((), is_busy=False) for rest in rests]
        busy = [rest.is_resting((), is_busy=True) for rest in rests]
        claimed = [rest.is_at_rest for rest in rests]
        await cluster.stop()

        assert [True] * 3 == idle
        assert [False] * 3 == busy
        assert [False] * 3 == claimed

    simulated(story)
