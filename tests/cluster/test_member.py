"""A member's life: what ends first, so that nothing is done any more by one that ends."""

import asyncio

import pytest

from tests.cluster.counting import Counting


@pytest.mark.looptime
@pytest.mark.parametrize("others", [2, 1])
async def test_a_leader_hands_over_at_once_and_stays_until_another_leads(others: int) -> None:
    """With one other it is its own vote that the other needs."""
    cluster = Counting()
    await cluster.start()
    leader = await cluster.leader()
    await cluster.write(3)
    for name in [each for each in cluster.peers if each != leader.config.node_id][others:]:
        await cluster.stop(name)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await leader.hand_over()
    passed, follows = loop.time() - began, leader.driver.core.leader
    await cluster.stop(leader.config.node_id)
    leads = [name for name, node in cluster.nodes.items() if node.status().role == "leader"]
    await cluster.stop()

    assert passed < leader.config.raft.election_timeout
    assert [follows] == leads


@pytest.mark.looptime
async def test_who_does_not_lead_or_has_nobody_to_hand_over_to_is_not_held_up() -> None:
    cluster = Counting()
    await cluster.start()
    leader = await cluster.leader()
    others = [node for node in cluster.nodes.values() if node is not leader]
    loop = asyncio.get_running_loop()
    times = [loop.time()]
    for node in others:
        await node.hand_over()
    times.append(loop.time())
    assert leader is await cluster.leader()
    await cluster.stop(*(node.config.node_id for node in others))
    times.append(loop.time())
    await leader.hand_over()
    times.append(loop.time())
    await cluster.stop()

    assert times[0] == times[1]
    assert times[3] - times[2] <= 2 * leader.config.raft.election_timeout


@pytest.mark.looptime
async def test_a_member_that_ends_takes_no_more_turns_whatever_else_must_end() -> None:
    """Here it leads, and is about to write down what it heard of the others."""
    cluster = Counting()
    await cluster.start()
    leader = (await cluster.leader()).member
    driver, introductions = leader.driver, leader.introductions
    while introductions._writing is None:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.001)
    stopping = asyncio.get_running_loop().create_task(leader.stop())
    await asyncio.sleep(0)
    is_stopped = driver.is_stopped
    await stopping
    is_writing = introductions._writing is not None
    await cluster.stop()

    assert is_stopped
    assert not is_writing
