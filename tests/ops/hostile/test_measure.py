"""Attacks on real processes: they live on, answer, and do not grow."""

import asyncio
import subprocess
import sys

import msgspec
import pytest

from liferaft import api
from liferaft.ops.hostile.attacks import Attacker, Target
from liferaft.ops.hostile.measure import (
    GROWTH_BYTES_MOST,
    AsyncKeyValue,
    Outcome,
    measure,
    resident_bytes,
    table,
)
from liferaft.ops.processes import LocalCluster

pytestmark = [pytest.mark.slow, pytest.mark.processes]

MESSAGES = 2_000


async def test_a_cluster_bears_messages_with_huge_numbers() -> None:
    """faults.md, security, 13 and 14: at worst they are dropped."""
    async with LocalCluster(3, objects=["KeyValue=liferaft.recipes.kv:KeyValue"]) as cluster:
        before = await cluster.wait_leader()
        memory_before = resident_bytes(cluster.pid(before.node_id))
        host, _, port = cluster.addresses[before.node_id].rpartition(":")
        target = Target(host, int(port), "KeyValue", "get", node_ids=(before.node_id,))
        attacker = Attacker(target)
        attacking = asyncio.ensure_future(attacker.run("huge-numbers"))
        store = await api.aconnect(AsyncKeyValue, cluster.address, name="KeyValue", timeout=60.0)
        puts = 0
        while attacker.done < MESSAGES:
            puts += 1
            await store.put(b"honest", b"%d" % puts)
        attacking.cancel()
        await asyncio.gather(attacking, return_exceptions=True)
        found = await store.get(b"honest")
        await api.aclose(store)
        growth_bytes = resident_bytes(cluster.pid(before.node_id)) - memory_before

        assert b"%d" % puts == found
        assert all(cluster.is_running(node) for node in cluster.nodes)
        assert growth_bytes < GROWTH_BYTES_MOST
        assert (await cluster.wait_leader()).current_term < 10**9


async def test_a_host_bears_length_bombs_without_growing() -> None:
    outcome = await measure("length-bombs", 1.0)

    assert (True, 0) == (outcome.is_alive, outcome.failures)
    assert outcome.attacks > 0
    assert outcome.calls_under > 0
    assert 0 < outcome.memory_before
    assert outcome.growth_bytes < GROWTH_BYTES_MOST


def test_the_command_prints_json_and_says_by_its_status_what_was_borne() -> None:
    command = [sys.executable, "-m", "liferaft.ops.hostile", "--json", "--seconds", "0.2"]
    run = subprocess.run([*command, "--attack", "garbage"], capture_output=True, check=False)
    [row] = msgspec.json.decode(run.stdout)["outcomes"]

    assert "garbage" == row["attack"]
    assert row["is_borne"] == (run.returncode == 0)


def test_an_outcome_says_what_was_not_borne() -> None:
    good = Outcome("garbage", 1.0, 5, 100.0, 60.0, 0, 2**20, 2 * 2**20, is_alive=True)
    bad = [
        msgspec.structs.replace(good, calls_under=49.0),
        msgspec.structs.replace(good, failures=1),
        msgspec.structs.replace(good, memory_peak=102 * 2**20),
        msgspec.structs.replace(good, is_alive=False),
    ]

    assert [True, *[False] * 4] == [each.is_borne for each in (good, *bad)]
    assert "60% kept" in table([good])
    assert "NOT BORNE" in table(bad)
