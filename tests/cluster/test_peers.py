"""Messages reach the node that they are for, in its own cluster, and nobody else."""

import logging
from collections.abc import Mapping, Sequence
from random import Random

import pytest

from liferaft.cluster.envelope import Introduction, sealed
from liferaft.cluster.introductions import Introductions
from liferaft.cluster.peers import MET_MAX, Mailbox, Peers
from liferaft.link.memory import MemoryNetwork
from liferaft.raft.messages import Message, RequestVote


class Remembering:
    """A node that keeps what it got, and lies on the disk `d2`."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.source_disks: list[str] = []
        self.met: dict[str, str] = {}

    def receive(self, messages: Sequence[Message], source: Introduction) -> None:
        self.received += messages
        self.source_disks.append(source.disk_id)

    def is_taken_for(self, disk_id: str) -> bool:
        return disk_id == "d2"

    def meet(self, addresses: Mapping[str, str]) -> None:
        self.met.update(addresses)


def vote_request(target: str) -> RequestVote:
    return RequestVote(term=1, source="n1", target=target, last_log_index=0, last_log_term=0)


def test_a_message_for_this_node_is_handed_on() -> None:
    receiver = Remembering()
    mailbox = Mailbox("blue", "n2", receiver)

    mailbox.deliver("blue", sealed(Introduction(""), "", (vote_request("n2"), vote_request("n2"))))

    assert [vote_request("n2")] * 2 == receiver.received


def test_a_message_of_another_cluster_is_dropped_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Trap 29: an address that was given to another cluster must not mix the two."""
    receiver = Remembering()
    mailbox = Mailbox("blue", "n2", receiver)

    with caplog.at_level(logging.WARNING, "liferaft.cluster"):
        mailbox.deliver("red", sealed(Introduction(""), "", (vote_request("n2"),)))
        mailbox.deliver("red", sealed(Introduction(""), "", (vote_request("n2"),)))

    assert [] == receiver.received
    assert 1 == len(caplog.records)


def test_a_message_for_another_node_is_dropped() -> None:
    receiver = Remembering()
    mailbox = Mailbox("blue", "n2", receiver)

    mailbox.deliver("blue", sealed(Introduction(""), "", (vote_request("n3"),)))

    assert [] == receiver.received


def test_a_long_name_of_a_stranger_neither_fills_the_log_nor_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mailbox = Mailbox("blue", "n2", Remembering())

    with caplog.at_level(logging.WARNING, "liferaft.cluster"):
        mailbox.deliver("red\n" * 100_000, sealed(Introduction(""), "", (vote_request("n2"),)))

    [record] = caplog.records
    assert len(record.getMessage()) < 500
    assert "\n" not in record.getMessage()


def test_a_node_learns_where_others_of_its_cluster_are_and_nothing_of_itself() -> None:
    receiver = Remembering()
    mailbox = Mailbox("blue", "n2", receiver)

    mailbox.introduce("blue", {"n4": "memory:4", "n2": "memory:elsewhere"})
    mailbox.introduce("red", {"n5": "memory:5"})

    assert {"n4": "memory:4"} == receiver.met


async def test_who_is_known_is_not_met_again_and_who_is_nowhere_is_not_met() -> None:
    peers = Peers(
        "blue",
        {"n1": "memory:1"},
        own=("n2", "memory:2"),
        network=MemoryNetwork(),
        random=Random(1),
        introductions=Introductions("n2", Introduction()),
    )

    met = peers.meet({"n1": "memory:elsewhere", "n4": "memory:4", "n5": "no address"})
    again = peers.meet({"n4": "memory:elsewhere"})
    await peers.stop()

    assert {"n4": "memory:4"} == met
    assert {} == again


async def test_of_many_that_no_log_tells_of_the_oldest_give_way() -> None:
    """Anybody may name some, where nodes have no tokens."""
    peers = Peers(
        "blue",
        {},
        own=("n2", "memory:2"),
        network=MemoryNetwork(),
        random=Random(1),
        introductions=Introductions("n2", Introduction()),
    )

    peers.meet({f"m{number}": f"memory:{number}" for number in range(MET_MAX + 1)})
    peers.reach({"m1": "memory:1"})  # the log tells of it after all
    known = peers.meet({"m1": "memory:1", "m2": "memory:2", "m0": "memory:0"})
    await peers.stop()

    assert {"m0": "memory:0"} == known


def test_a_message_for_the_disk_that_had_this_name_before_is_dropped() -> None:
    receiver = Remembering()
    mailbox = Mailbox("blue", "n2", receiver)

    mailbox.deliver("blue", sealed(Introduction("d1"), "d2-lost", (vote_request("n2"),)))
    mailbox.deliver("blue", sealed(Introduction("d1"), "d2", (vote_request("n2"),)))

    assert ["d1"] == receiver.source_disks
