"""LeakyNetwork: every link is leaky, settings reach those that live, and a seed repeats a run."""

import asyncio

import pytest

from liferaft.errors import ConnectionLost
from liferaft.link.address import Address
from liferaft.link.base import Link
from liferaft.link.leak import Leak, LeakCounts
from liferaft.link.leaky_network import LeakyNetwork
from liferaft.link.memory import MemoryNetwork
from tests.link.recorder import Acceptor, Recorder, end_all, make_pair, pass_turns

pytestmark = pytest.mark.looptime

A = Address(kind="memory", host="a")
B = Address(kind="memory", host="b")
LOSSY = Leak(loss=0.5)


def numbered(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(count)]


async def test_links_made_and_accepted_are_leaky() -> None:
    network = LeakyNetwork(MemoryNetwork(), seed=1, outgoing=Leak(loss=1))
    connecting, accepted, _ = await make_pair(network, A)
    here, there = Recorder(connecting), Recorder(accepted)
    connecting.send(b"lost")
    accepted.send(b"lost")
    await asyncio.sleep(1)

    assert [] == here.frames
    assert [] == there.frames
    assert LeakCounts(sent=2, lost=2) == network.statistics().outgoing


async def test_the_same_seed_repeats_the_run_of_every_link() -> None:
    arrived = []
    for seed in (3, 3, 4):
        network = LeakyNetwork(MemoryNetwork(), seed=seed, outgoing=LOSSY)
        first = await make_pair(network, A)
        second = await make_pair(network, B)
        recorders = [Recorder(first[1]), Recorder(second[1])]
        for frame in numbered(100):
            first[0].send(frame)
            second[0].send(frame)
        await asyncio.sleep(1)
        arrived.append([recorder.frames for recorder in recorders])

    assert arrived[0] == arrived[1]
    assert arrived[0] != arrived[2]
    assert arrived[0][0] != arrived[0][1]


class TestSettings:
    async def test_all_links_change_at_once_and_so_do_later_ones(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1)
        early, _, _ = await make_pair(network, A)
        network.set(outgoing=LOSSY)
        await make_pair(network, B)

        assert 4 == len(network.links)
        assert {LOSSY} == {link.outgoing for link in network.links}
        assert {Leak()} == {link.incoming for link in network.links}
        assert early is network.links[0]

    async def test_one_peer_s_links_change_alone(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1)
        await network.listen(A, Acceptor())
        await network.listen(B, Acceptor())
        await network.connect(A)
        network.set(incoming=LOSSY, peer=A)
        await network.connect(B)
        await network.connect(A)
        connected = [link for link in network.links if "#" not in link.peer]

        assert [("memory:a", LOSSY), ("memory:b", Leak()), ("memory:a", LOSSY)] == [
            (link.peer, link.incoming) for link in connected
        ]

    async def test_what_is_set_for_all_reaches_the_peers_that_have_their_own(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1)
        await network.listen(A, Acceptor())
        network.set(incoming=LOSSY, peer=A)
        network.set(outgoing=Leak(duplicate=1))
        await network.connect(A)

        assert Leak(duplicate=1) == network.links[0].outgoing
        assert LOSSY == network.links[0].incoming


class TestCut:
    async def test_everybody_is_cut_off_and_healed(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1, outgoing=Leak(duplicate=1))
        connecting, accepted, _ = await make_pair(network, A)
        there = Recorder(accepted)
        network.cut_all()
        connecting.send(b"lost")
        await asyncio.sleep(1)
        network.heal_all()
        connecting.send(b"healed")
        await asyncio.sleep(1)

        assert [b"healed", b"healed"] == there.frames

    async def test_one_peer_is_cut_off_in_one_direction(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1)
        to_a, from_a, _ = await make_pair(network, A)
        to_b, from_b, _ = await make_pair(network, B)
        recorders = [Recorder(link) for link in (to_a, from_a, to_b, from_b)]
        network.cut(A, incoming=False)
        for link in (to_a, from_a, to_b, from_b):
            link.send(b"frame")
        await asyncio.sleep(1)
        arrived = [len(recorder.frames) for recorder in recorders]
        network.heal(A)
        to_a.send(b"healed")
        await asyncio.sleep(1)

        assert [1, 0, 1, 1] == arrived
        assert [b"healed"] == recorders[1].frames

    async def test_connecting_through_a_cut_waits_until_it_is_healed(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1)
        acceptor = Acceptor()
        await network.listen(A, acceptor)
        network.cut(A)
        connecting = asyncio.create_task(network.connect(A))
        await asyncio.sleep(1000)
        network.set(outgoing=LOSSY)
        await asyncio.sleep(1000)
        accepted_while_cut = acceptor.waiting
        network.heal(A)
        link = await connecting
        await pass_turns()

        assert 0 == accepted_while_cut
        assert "memory:a" == link.peer
        assert 1 == acceptor.waiting

    async def test_connecting_through_a_cut_can_be_given_up(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1)
        acceptor = Acceptor()
        await network.listen(A, acceptor)
        network.cut_all()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await network.connect(A)
        network.heal_all()
        await pass_turns()

        assert 0 == acceptor.waiting
        assert () == network.links

    async def test_one_cut_does_not_hold_up_another_peer(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1)
        await network.listen(B, Acceptor())
        network.cut(A)
        link = await network.connect(B)

        assert "memory:b" == link.peer


class TestEnds:
    async def test_links_that_have_ended_are_forgotten_and_their_counts_kept(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1)
        connecting, accepted, _ = await make_pair(network, A)
        here, there = Recorder(connecting), Recorder(accepted)
        connecting.send(b"counted")
        await pass_turns()
        before = network.statistics()
        connecting.close()
        await there.wait_end()
        await here.wait_end()

        assert () == network.links
        assert before == network.statistics()
        assert 1 == before.outgoing.sent == before.incoming.sent

    async def test_links_that_were_never_started_are_forgotten(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1)
        pair: tuple[Link, Link, object] = await make_pair(network, A)
        await end_all(pair[0], pair[1])

        assert () == network.links

    async def test_an_end_hidden_by_a_cut_shows_when_all_is_healed(self) -> None:
        network = LeakyNetwork(MemoryNetwork(), seed=1)
        connecting, accepted, _ = await make_pair(network, A)
        here, there = Recorder(connecting), Recorder(accepted)
        await pass_turns()
        network.cut(A)
        there.link.close()
        await asyncio.sleep(100)
        ends_while_cut = list(here.ends)
        network.heal_all()
        reason = await here.wait_end()

        assert [] == ends_while_cut
        assert isinstance(reason, ConnectionLost)
