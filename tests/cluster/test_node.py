"""One node's life, as far as no cluster is needed to see it."""

import random as random_module

import pytest

from liferaft.cluster.config import NodeConfig
from liferaft.cluster.node import Node
from liferaft.errors import DiskFailed, InvariantViolated, LiferaftError
from liferaft.link.memory import MemoryNetwork
from liferaft.replicated.machine import ReplicatedMachine
from liferaft.storage.disk import SystemDisk


@pytest.mark.parametrize(
    ("error", "has_traceback"),
    [(DiskFailed("the log could not be synced"), False), (InvariantViolated("a bug"), True)],
    ids=["the disk's fault", "our own fault"],
)
async def test_a_traceback_is_logged_for_faults_of_ours_alone(
    error: LiferaftError, has_traceback: bool, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node(
        NodeConfig(node_id="n1", peers={"n1": "memory:n1"}, data="unused"),
        ReplicatedMachine({}),
        dispatchers=lambda driver: {},
        network=MemoryNetwork(),
        disk=SystemDisk(),
        random=random_module.Random(1),
    )
    node._fail(error)
    (record,) = caplog.records

    assert f"node n1 ends: {error}" == record.getMessage()
    assert has_traceback == bool(record.exc_info)
