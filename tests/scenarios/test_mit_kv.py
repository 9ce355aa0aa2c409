"""MIT 6.5840, lab 4 parts B and C: a key-value service on Raft, and with snapshots.

Times are virtual; rounds are as in the course, three of five seconds, but clients pause for some
20 ms between two calls. In part C a node takes a snapshot after 1,000 bytes of log, and whatever
happens no log may hold more than 8,000 behind its snapshot.
"""

import asyncio

import pytest

from tests.scenarios.kv_lab import KvLab, kv_lab

ROUNDS = 3
ROUND_SECONDS = 5.0


async def run_rounds(
    lab: KvLab,
    *,
    clients: int,
    crashes: bool = False,
    partitions: bool = False,
    seconds: float = ROUND_SECONDS,
) -> None:
    """Let clients work at keys of their own, while the network splits, and nodes lose power."""
    clerks = [lab.clerk() for _ in range(clients)]
    async with lab.logs_watched():
        for _ in range(ROUNDS):
            async with asyncio.TaskGroup() as group:
                for clerk in clerks:
                    group.create_task(lab.work(clerk, clerk.name, seconds))
                if partitions:
                    group.create_task(lab.make_partitions(seconds))
            if crashes:
                await lab.crash_all()
        for clerk in clerks:
            await clerk.get(clerk.name)


async def run_rounds_anywhere(lab: KvLab) -> None:
    """Let fifteen clients work at each other's keys, with partitions and power cuts."""
    clerks = [lab.clerk() for _ in range(15)]
    keys = [f"{number}" for number in range(10)]
    async with lab.logs_watched():
        for _ in range(ROUNDS):
            async with asyncio.TaskGroup() as group:
                for clerk in clerks:
                    group.create_task(lab.work_anywhere(clerk, keys, ROUND_SECONDS))
                group.create_task(lab.make_partitions(ROUND_SECONDS))
            await lab.crash_all()
        for key in keys:
            await clerks[0].get(key)


async def thousand_puts(lab: KvLab) -> float:
    """Return how many virtual seconds a thousand calls take, one after the other."""
    clerk = lab.clerk()
    async with lab.logs_watched():
        await clerk.put("x", "")
        began = lab.cluster.now
        for number in range(1000):
            await clerk.put("x", f"{number}")
        return lab.cluster.now - began


# Part 4B.


@pytest.mark.slow
def test_basic_one_client() -> None:
    with kv_lab(5) as lab:
        lab.cluster.run(run_rounds(lab, clients=1))


@pytest.mark.slow
def test_speed() -> None:
    """A thousand calls one after the other take at most 33.3 ms each."""
    with kv_lab(3) as lab:
        assert lab.cluster.run(thousand_puts(lab)) / 1000 <= 0.0333


@pytest.mark.slow
def test_concurrent_clients() -> None:
    with kv_lab(5) as lab:
        lab.cluster.run(run_rounds(lab, clients=5))


@pytest.mark.slow
def test_unreliable() -> None:
    """A tenth of all frames is lost, each way; nothing is executed twice for that."""
    with kv_lab(5, is_unreliable=True) as lab:
        lab.cluster.run(run_rounds(lab, clients=5))


@pytest.mark.slow
def test_many_clients_append_to_one_key() -> None:
    """Unreliable: each append of five clients is there once, each client's in its order."""
    with kv_lab(3, is_unreliable=True) as lab:
        clerks = [lab.clerk() for _ in range(5)]

        async def append(number: int) -> None:
            for count in range(10):
                await clerks[number].append("k", f"{number}.{count} ")

        async def story() -> list[str]:
            await asyncio.gather(*map(append, range(5)))
            return (await clerks[0].get("k") or "").split()

        texts = lab.cluster.run(story)

        assert 50 == len(texts)
        for number in range(5):
            own = [text for text in texts if text.startswith(f"{number}.")]
            assert [f"{number}.{count}" for count in range(10)] == own


@pytest.mark.slow
def test_one_partition() -> None:
    """Nothing is done in the minority within 1 s; all that waited is done 3 s after healing."""
    with kv_lab(5) as lab:
        cluster = lab.cluster
        leader = cluster.run(cluster.wait_leader)
        others = [node for node in cluster.nodes if node != leader]
        minority, majority = [leader, others[0]], others[1:]
        before, writer, reader, elsewhere = (lab.clerk() for _ in range(4))

        async def story() -> None:
            await before.put("1", "13")
            cluster.partition(minority, majority)
            for clerk in (writer, reader):
                lab.cut_clerk(clerk, *majority)
            lab.cut_clerk(elsewhere, *minority)
            await elsewhere.put("1", "14")
            assert "14" == await elsewhere.get("1")

            waiting = [
                asyncio.ensure_future(writer.put("1", "15")),
                asyncio.ensure_future(reader.get("1")),
            ]
            done, _ = await asyncio.wait(waiting, timeout=1.0)
            assert set() == done
            assert "14" == await elsewhere.get("1")
            await elsewhere.put("1", "16")
            assert "16" == await elsewhere.get("1")

            cluster.heal()
            async with asyncio.timeout(3.0):
                await asyncio.gather(*waiting)
            assert "15" == await before.get("1")

        cluster.run(story)


@pytest.mark.slow
@pytest.mark.parametrize("clients", [1, 5])
def test_many_partitions(clients: int) -> None:
    with kv_lab(5) as lab:
        lab.cluster.run(run_rounds(lab, clients=clients, partitions=True))


@pytest.mark.slow
@pytest.mark.parametrize("is_unreliable", [False, True], ids=["reliable", "unreliable"])
@pytest.mark.parametrize(
    ("clients", "partitions"),
    [(1, False), (5, False), (5, True)],
    ids=["one client", "concurrent", "partition"],
)
def test_persist(clients: int, *, partitions: bool, is_unreliable: bool) -> None:
    """After each round the power of all nodes fails; partitions and losses come on top."""
    with kv_lab(5, is_unreliable=is_unreliable) as lab:
        lab.cluster.run(run_rounds(lab, clients=clients, crashes=True, partitions=partitions))


@pytest.mark.slow
def test_persist_partition_unreliable_linearizable() -> None:
    """Fifteen clients at random keys, seven nodes, everything that can go wrong at once."""
    with kv_lab(7, is_unreliable=True) as lab:
        lab.cluster.run(run_rounds_anywhere(lab))
        assert len(lab.history) > 100


# Part 4C.


@pytest.mark.slow
def test_snapshot_rpc() -> None:
    """One of three misses so much that it needs a snapshot, and has to decide right after it."""
    with kv_lab(3, takes_snapshots=True) as lab:
        cluster = lab.cluster
        leader = cluster.run(cluster.wait_leader)
        other, late = (node for node in cluster.nodes if node != leader)
        first, second, last = (lab.clerk() for _ in range(3))

        async def story() -> None:
            async with lab.logs_watched():
                await first.put("a", "A")
                cluster.partition([leader, other], [late])
                lab.cut_clerk(first, late)
                for number in range(50):
                    await first.put(f"{number}", f"{number}")
                await asyncio.sleep(0.5)
                await first.put("b", "B")

                # Now the late one must decide with the leader of before: by the snapshot.
                cores = cluster.world.cores()
                assert cores[leader].state.log.base_index > cores[late].last_index
                lab.heal()
                cluster.partition([leader, late], [other])
                lab.cut_clerk(second, other)
                await second.put("c", "C")
                await second.put("d", "D")
                assert "A" == await second.get("a")
                assert "B" == await second.get("b")
                assert "49" == await second.get("49")

                lab.heal()
                await last.put("e", "E")
                for key, text in (("c", "C"), ("e", "E"), ("1", "1")):
                    assert text == await last.get(key)

        cluster.run(story)


@pytest.mark.slow
def test_snapshot_size() -> None:
    """800 calls leave a snapshot of at most 500 bytes beside the members' names, and no log."""
    with kv_lab(3, takes_snapshots=True) as lab:
        clerk = lab.clerk()

        async def story() -> None:
            async with lab.logs_watched():
                for _ in range(200):
                    await clerk.put("x", "0")
                    assert "0" == await clerk.get("x")
                    await clerk.put("x", "1")
                    assert "1" == await clerk.get("x")
            await lab.cluster.wait_equal()

        lab.cluster.run(story)
        for node in lab.cluster.nodes:
            assert 2 == len(lab.snapshot_bytes(node))
            assert max(lab.snapshot_bytes(node)) <= 500
            assert lab.segments(node) <= 2


@pytest.mark.slow
def test_speed_with_snapshots() -> None:
    """A thousand calls one after the other still take at most 33.3 ms each."""
    with kv_lab(3, takes_snapshots=True) as lab:
        assert lab.cluster.run(thousand_puts(lab)) / 1000 <= 0.0333


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clients", "seconds"), [(1, ROUND_SECONDS), (20, 1.0)], ids=["one client", "many clients"]
)
def test_recover(clients: int, seconds: float) -> None:
    """Recover, RecoverManyClients: all nodes lose power after each round; short ones for many."""
    with kv_lab(5, takes_snapshots=True) as lab:
        lab.cluster.run(run_rounds(lab, clients=clients, crashes=True, seconds=seconds))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("crashes", "partitions"),
    [(False, False), (True, False), (True, True)],
    ids=["unreliable", "recover", "concurrent partition"],
)
def test_unreliable_with_snapshots(*, crashes: bool, partitions: bool) -> None:
    """Unreliable, UnreliableRecover, UnreliableRecoverConcurrentPartition."""
    with kv_lab(5, is_unreliable=True, takes_snapshots=True) as lab:
        rounds = run_rounds(lab, clients=5, crashes=crashes, partitions=partitions)
        lab.cluster.run(rounds)


@pytest.mark.slow
def test_unreliable_recover_concurrent_partition_linearizable() -> None:
    """Fifteen clients at random keys, seven nodes, everything at once, and snapshots."""
    with kv_lab(7, is_unreliable=True, takes_snapshots=True) as lab:
        lab.cluster.run(run_rounds_anywhere(lab))
        assert len(lab.history) > 100
