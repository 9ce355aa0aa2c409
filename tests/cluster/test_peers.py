"""Messages reach the node that they are for, in its own cluster, and nobody else."""

import logging
from collections.abc import Sequence

import pytest

from liferaft.cluster.envelope import Introduction, sealed
from liferaft.cluster.peers import Mailbox
from liferaft.raft.messages import Message, RequestVote


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
