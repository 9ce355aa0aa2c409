"""Messages reach the node that they are for, in its own cluster, and nobody else."""

import logging
from collections.abc import Sequence
from random import Random

import pytest

from liferaft.cluster.envelope import Introduction, sealed
from liferaft.cluster.introductions import Introductions
from liferaft.cluster.links import MET_MAX, PEER_TIMING
from liferaft.cluster.peers import Mailbox, Peers
from liferaft.link.memory import MemoryNetwork
from liferaft.raft.messages import Message, RequestVote
from liferaft.rpc.caller_state import Silence


class Remembering:
    """A node that keeps what it got, and lies on the disk `d2`."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        self.source_disks: list[str] = []

    def receive(self, messages: Sequence[Message], source: Introduction) -> None:
        self.received += messages
        self.source_disks.append(source.disk_id)

    def is_taken_for(self, disk_id: str) -> bool:
        return disk_id == "d2"


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


def test_a_message_for_the_disk_that_had_this_name_before_is_dropped() -> None:
    receiver = Remembering()
    mailbox = Mailbox("blue", "n2", receiver)

    mailbox.deliver("blue", sealed(Introduction("d1"), "d2-lost", (vote_request("n2"),)))
    mailbox.deliver("blue", sealed(Introduction("d1"), "d2", (vote_request("n2"),)))

    assert ["d1"] == receiver.source_disks


def peers_of(addresses: dict[str, str]) -> Peers:
    return Peers(
        "blue",
        addresses,
        network=MemoryNetwork(),
        random=Random(1),
        introductions=Introductions("n2", Introduction()),
    )


async def test_who_is_known_is_not_met_again_and_who_is_nowhere_is_not_met() -> None:
    peers = peers_of({"n1": "memory:1"})

    met = [
        peers.meet("n1", "memory:elsewhere"),
        peers.meet("n4", "memory:4"),
        peers.meet("n4", "memory:elsewhere"),
        peers.meet("n5", "no address"),
    ]
    await peers.stop()

    assert [False, True, False, False] == met


async def test_of_many_that_no_log_tells_of_the_oldest_give_way() -> None:
    """Anybody may name some, where nodes have no tokens."""
    peers = peers_of({})

    for number in range(MET_MAX + 1):
        peers.meet(f"m{number}", f"memory:{number}")
    peers.reach({"m1": "memory:1"})  # the log tells of it after all
    again = [peers.meet(f"m{number}", f"memory:{number}") for number in (0, 1, 2)]
    await peers.stop()

    assert [True, False, False] == again


def test_a_peer_that_is_silent_is_asked_ten_times_before_it_is_left() -> None:
    silence = Silence(PEER_TIMING)
    asked, answered_within = 0, 0.1
    silence.begin(0.0)
    while True:
        ask_at, gone_at = silence.dues(is_busy=False, arrives_at=0.0)
        if ask_at + answered_within > gone_at:
            break
        silence.ping(ask_at, is_busy=False)
        asked += 1

    assert (10, 2.0) == (asked, gone_at)
