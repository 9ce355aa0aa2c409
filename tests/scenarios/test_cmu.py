"""CMU 14-736, lab 2: Raft over one's own library of remote objects; whole nodes in the simulator.

Each test runs eight times, as the course runs it, with eight seeds. The scenarios of lab 1, remote
objects over links that lose, are all in tests/rpc: docs/correctness.md says where.
"""

import asyncio

import pytest

from liferaft.raft.config import RaftConfig
from liferaft.raft.types import NodeId
from tests.scenarios.kv_lab import Clerk, KvLab, kv_lab
from tests.scenarios.lab import ELECTION_SECONDS, Lab

SEEDS = pytest.mark.parametrize("seed", range(8))
TEN_HEARTBEATS_A_SECOND = RaftConfig(heartbeat_interval=0.1, election_timeout=0.6)
"""As many as the lab's last limit allows; ours by default are twenty."""


async def wait_other_leader(lab: KvLab, old: NodeId) -> NodeId:
    """Wait until another node leads."""
    async with asyncio.timeout(5 * ELECTION_SECONDS):
        while (leader := lab.cluster.leader) in (None, old):  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(0.01)
    assert leader is not None
    return leader


def isolate(lab: KvLab, *nodes: NodeId) -> None:
    """Cut nodes off from all others."""
    lab.cluster.partition(nodes)


def clerk_of(lab: KvLab, *nodes: NodeId) -> Clerk:
    """Return a client that reaches these nodes alone, until the network is healed."""
    clerk = lab.clerk()
    lab.cut_clerk(clerk, *(node for node in lab.cluster.nodes if node not in nodes))
    return clerk


async def assert_waits(*calls: "asyncio.Future[None]") -> None:
    """None of these calls is answered within two elections."""
    done, _ = await asyncio.wait(calls, timeout=2 * ELECTION_SECONDS)
    assert set() == done


@SEEDS
def test_setup_and_initial_election(seed: int) -> None:
    """All nodes run and agree on one leader and one term, which stay while nothing happens."""
    with kv_lab(3, seed=seed) as lab:
        lab.cluster.sleep(ELECTION_SECONDS)
        before = {(core.leader, core.current_term) for core in lab.cluster.world.cores().values()}
        lab.cluster.sleep(2 * ELECTION_SECONDS)
        after = {(core.leader, core.current_term) for core in lab.cluster.world.cores().values()}

        assert 3 == len(lab.cluster.world.cores())
        assert 1 == len(before)
        assert before == after


@SEEDS
def test_re_election(seed: int) -> None:
    """A leader that is cut off is replaced and comes back to follow; a minority elects nobody."""
    with kv_lab(3, seed=seed) as lab:

        async def story() -> None:
            first = await lab.cluster.wait_leader()
            isolate(lab, first)
            second = await wait_other_leader(lab, first)
            lab.heal()
            await asyncio.sleep(ELECTION_SECONDS)
            leaders = [lab.cluster.leader]
            lab.cluster.partition(*[[node] for node in lab.cluster.nodes])
            await asyncio.sleep(2 * ELECTION_SECONDS)
            leaders.append(lab.cluster.leader)
            assert [second, None] == leaders

            lab.heal()
            assert await lab.cluster.wait_leader(within=5 * ELECTION_SECONDS)

        lab.cluster.run(story)


@SEEDS
def test_basic_agree(seed: int) -> None:
    """Commands are carried out in their order, on every node."""
    with kv_lab(5, seed=seed) as lab:
        clerk = lab.clerk()

        async def story() -> None:
            for text in ("100 ", "200 ", "300 "):
                await clerk.append("k", text)
            await lab.cluster.wait_equal()
            assert "100 200 300 " == await clerk.get("k")

        lab.cluster.run(story)


@SEEDS
def test_fail_agree(seed: int) -> None:
    """A follower that was away gets all that it missed."""
    with kv_lab(3, seed=seed) as lab:
        clerk = lab.clerk()

        async def story() -> None:
            await clerk.put("k", "101")
            leader = await lab.cluster.wait_leader()
            isolate(lab, next(node for node in lab.cluster.nodes if node != leader))
            for text in ("102", "103", "104", "105"):
                await clerk.put("k", text)
            lab.heal()
            await clerk.put("k", "106")
            await lab.cluster.wait_equal(within=2 * ELECTION_SECONDS)

        lab.cluster.run(story)


@SEEDS
def test_fail_no_agree(seed: int) -> None:
    """With three of five away nothing is answered; when they are back, everything is, once."""
    with kv_lab(5, seed=seed) as lab:

        async def story() -> None:
            leader = await lab.cluster.wait_leader()
            ally = next(node for node in lab.cluster.nodes if node != leader)
            isolate(lab, leader, ally)
            clerk = clerk_of(lab, leader, ally)
            writing = asyncio.ensure_future(clerk.append("k", "20 "))
            await assert_waits(writing)
            lab.heal()
            await writing
            await clerk.append("k", "30 ")
            assert "20 30 " == await clerk.get("k")

        lab.cluster.run(story)


@SEEDS
def test_rejoin(seed: int) -> None:
    """Two leaders in turn are cut off with commands of their own; each is carried out once."""
    with kv_lab(3, seed=seed) as lab:
        clerk = lab.clerk()

        async def story() -> None:
            await clerk.append("k", "101 ")
            first = await lab.cluster.wait_leader()
            isolate(lab, first)
            clerks = [clerk_of(lab, first) for _ in range(3)]
            calls = [each.append("k", f"{n} ") for n, each in enumerate(clerks, 102)]
            writing = [asyncio.ensure_future(call) for call in calls]
            await clerk.append("k", "201 ")

            second = await wait_other_leader(lab, first)
            await assert_waits(*writing)
            lab.heal()
            isolate(lab, second)
            await clerk.append("k", "202 ")
            lab.heal()
            await asyncio.gather(*writing)
            texts = (await clerk.get("k") or "").split()
            assert ["101", "102", "103", "104", "201", "202"] == sorted(texts)

        lab.cluster.run(story)


@SEEDS
def test_backup(seed: int) -> None:
    """Two leaders in turn have 25 commands that they cannot commit: put right quickly.

    The commands are of clients that still wait, so they are carried out in the end, each once.
    """
    with kv_lab(5, seed=seed) as lab:

        async def story() -> None:
            clerk = lab.clerk()
            await clerk.put("k", "")
            first = await lab.cluster.wait_leader()
            waiting = await cut_off_with_work(lab, first)
            second = await wait_other_leader(lab, first)
            for number in range(25):
                await clerk.append("k", f"a{number} ")
            lab.heal()
            waiting += await cut_off_with_work(lab, second)
            await wait_other_leader(lab, second)
            for number in range(25):
                await clerk.append("k", f"b{number} ")
            lab.heal()
            async with asyncio.timeout(3 * ELECTION_SECONDS):
                await asyncio.gather(*waiting)
                await lab.cluster.wait_equal()

        lab.cluster.run(story)


async def cut_off_with_work(lab: KvLab, leader: NodeId) -> "list[asyncio.Future[None]]":
    """Cut a leader off with one other node, and give it 25 commands."""
    clerks = [clerk_of(lab, leader) for _ in range(25)]
    ally = next(node for node in lab.cluster.nodes if node != leader)
    connected = [clerk.get("k") for clerk in clerks]
    await asyncio.gather(*connected)
    isolate(lab, leader, ally)
    return [asyncio.ensure_future(clerk.put(clerk.name, "x")) for clerk in clerks]


@SEEDS
def test_count(seed: int) -> None:
    """7 to 75 calls to elect, at most 200 for ten commands, at most 20 in an idle second."""
    lab = Lab(3, seed=seed, config=TEN_HEARTBEATS_A_SECOND)
    leader = lab.leader()
    lab.run(ELECTION_SECONDS)
    assert 7 <= lab.calls <= 75

    before = lab.calls
    commands = [lab.command() for _ in range(10)]
    for command in commands:
        assert lab.propose(leader, command)
    assert lab.run_until(lambda: len(lab.holders(commands[-1])) == 3, ELECTION_SECONDS)
    assert lab.calls - before <= 200

    before = lab.calls
    lab.run(1.0)

    assert lab.calls - before <= 20
