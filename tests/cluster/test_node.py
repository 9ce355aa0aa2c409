"""One node's life, as far as no cluster is needed to see it."""

import asyncio
import random as random_module

import pytest

from liferaft.cluster.config import NodeConfig
from liferaft.cluster.node import Node
from liferaft.link.memory import MemoryNetwork
from liferaft.replicated.machine import ReplicatedMachine
from liferaft.storage.disk import Disk
from liferaft.storage.faulty import FaultyDisk


def node_of(disk: Disk) -> Node:
    return Node(
        NodeConfig(node_id="n1", peers={"n1": "memory:n1"}, data="/data", segment_bytes=4096),
        ReplicatedMachine({}),
        dispatchers=lambda _driver, _addresses: {},
        network=MemoryNetwork(),
        disk=disk,
        random=random_module.Random(1),
    )


@pytest.mark.looptime
async def test_a_full_disk_and_its_end_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    disk = FaultyDisk(random_module.Random(1))
    node = node_of(disk)
    disk.capacity_bytes = 2000  # room for the node's identity, and not for its log
    await node.start()
    await asyncio.sleep(60)
    disk.capacity_bytes = None
    await asyncio.sleep(60)
    await node.stop()

    full, free = [record.getMessage() for record in caplog.records]

    assert full.startswith("node n1: no space is left for the log in /data: nothing is lost")
    assert "node n1: there is space again, and writes go on" == free
