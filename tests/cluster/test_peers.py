"""Messages reach the node that they are for, in its own cluster, and nobody else."""

import logging

import pytest

from liferaft.cluster.peers import Mailbox
from liferaft.raft.messages import Message, RequestVote


def vote_request(target: str) -> RequestVote:
    return RequestVote(term=1, source="n1", target=target, last_log_index=0, last_log_term=0)


def test_a_message_for_this_node_is_handed_on() -> None:
    received: list[Message] = []
    mailbox = Mailbox("blue", "n2", received.append)

    mailbox.deliver("blue", (vote_request("n2"), vote_request("n2")))

    assert [vote_request("n2")] * 2 == received


def test_a_message_of_another_cluster_is_dropped_and_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Trap 29: an address that was given to another cluster must not mix the two."""
    received: list[Message] = []
    mailbox = Mailbox("blue", "n2", received.append)

    with caplog.at_level(logging.WARNING, "liferaft.cluster"):
        mailbox.deliver("red", (vote_request("n2"),))
        mailbox.deliver("red", (vote_request("n2"),))

    assert [] == received
    assert 1 == len(caplog.records)


def test_a_message_for_another_node_is_dropped() -> None:
    received: list[Message] = []
    mailbox = Mailbox("blue", "n2", received.append)

    mailbox.deliver("blue", (vote_request("n3"),))

    assert [] == received


def test_a_long_name_of_a_stranger_neither_fills_the_log_nor_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mailbox = Mailbox("blue", "n2", lambda _: None)

    with caplog.at_level(logging.WARNING, "liferaft.cluster"):
        mailbox.deliver("red\n" * 100_000, (vote_request("n2"),))

    [record] = caplog.records
    assert len(record.getMessage()) < 500
    assert "\n" not in record.getMessage()
