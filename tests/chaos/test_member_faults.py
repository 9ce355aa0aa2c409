"""What a node must do that finds its disk damaged, and what becomes of it then."""

import random
from pathlib import Path

import pytest
from typing_extensions import override

from liferaft.chaos.crew import Crew
from liferaft.chaos.disk_faults import DAMAGED_STATUS
from liferaft.chaos.faults import FAULTS
from liferaft.chaos.narrator import SilentNarrator
from liferaft.chaos.options import ChaosOptions
from liferaft.chaos.run import ChaosRound, chaos_cluster
from liferaft.chaos.stage import Stage
from liferaft.cluster.admin import NodeStatus
from liferaft.ops.processes import LocalCluster, NodeDidNotStart
from liferaft.raft.types import NodeId

WHOLE = b"a segment that is full"


class Refusing(LocalCluster):
    """A node that does not start once it was killed, as far as anybody can tell from here."""

    def __init__(self, directory: Path, status: int, words: str) -> None:
        super().__init__(1, objects=["Todo=any:Todo"], directory=directory)
        self._ended = status, words
        self.data("n1").mkdir()
        for number in (1, 2):
            (self.data("n1") / f"{number}.log").write_bytes(WHOLE)

    @override
    async def statuses(self) -> list[NodeStatus]:
        return []

    @override
    async def kill(self, *nodes: NodeId) -> None:
        """End nothing: there is no process."""

    @override
    async def start(self, node: NodeId) -> None:
        flipped = [(self.data(node) / f"{number}.log").read_bytes() for number in (1, 2)]
        bits = [int.from_bytes(WHOLE) ^ int.from_bytes(found) for found in flipped]
        assert [1, 0] == [found.bit_count() for found in bits]
        raise NodeDidNotStart("it did not")

    @override
    async def wait_ended(self, node: NodeId) -> int:
        return self._ended[0]

    @override
    def last_words(self, node: NodeId) -> str:
        return self._ended[1]

    @override
    def succeed(self, old: NodeId) -> NodeId:
        raise Replaced


class Replaced(Exception):
    """As far as this goes here."""


@pytest.mark.parametrize(
    ("status", "words", "complaints"),
    [
        (DAMAGED_STATUS, "liferaft: 1.log is damaged", []),
        (1, "liferaft: 1.log is damaged", ["n1 ended with status 1 on a damaged disk: liferaft"]),
        (DAMAGED_STATUS, "Traceback", ["n1 ended with status 6 on a damaged disk: Traceback"]),
    ],
)
async def test_a_node_on_a_damaged_disk_must_say_so_and_is_replaced(
    tmp_path: Path, status: int, words: str, complaints: list[str]
) -> None:
    cluster = Refusing(tmp_path, status, words)
    said: list[str] = []
    stage = Stage(
        cluster,
        Crew(1, cluster.address, tmp_path, seed=1),
        {},
        random=random.Random(1),
        tell=lambda _: None,
        complain=said.append,
    )

    with pytest.raises(Replaced):
        await FAULTS["rot"].inflict(stage)

    assert complaints == [
        complaint[: len(expected)] for complaint, expected in zip(said, complaints, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.processes
async def test_nodes_outlive_bits_flipped_on_their_disks_starts_cut_off_and_broken_links(
    tmp_path: Path,
) -> None:
    names = {"rot", "crash-loop", "starve", "slow-links", "reset"}
    options = ChaosOptions(seconds=0.0, faults=tuple(names))
    async with chaos_cluster(options, tmp_path) as (cluster, disks):
        report = await ChaosRound(options, cluster, disks, SilentNarrator()).run()

    assert () == report.problems
    assert names == {name for name, times in report.faults.items() if times}
