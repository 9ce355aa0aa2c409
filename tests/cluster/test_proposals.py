"""A command and the entry that carries it find each other again, or the client is told."""

import pytest

from liferaft.cluster.proposals import Proposals
from liferaft.errors import InvariantViolated
from liferaft.raft.effects import Accepted, Rejected
from liferaft.raft.types import Entry, EntryKind, NodeId


class Client:
    """Notes what became of its proposal."""

    def __init__(self) -> None:
        self.fate: list[tuple[str, object]] = []

    def applied(self, outcome: bytes) -> None:
        self.fate.append(("applied", outcome))

    def lost(self, leader: NodeId | None) -> None:
        self.fate.append(("lost", leader))

    def rejected(self, leader: NodeId | None, *, is_overloaded: bool) -> None:
        self.fate.append(("overloaded" if is_overloaded else "rejected", leader))


def command(term: int, index: int) -> Entry:
    return Entry(term=term, index=index, kind=EntryKind.COMMAND, data=b"")


def accepted(*, first: int, clients: int, term: int = 1) -> tuple[Proposals, list[Client]]:
    """Return proposals of so many clients, appended from index `first` on."""
    proposals = Proposals()
    waiting = [Client() for _ in range(clients)]
    for client in waiting:
        proposals.add(b"", client)
    proposals.take()
    proposals.accepted(Accepted(term=term, first=first, count=clients))
    return proposals, waiting


def test_all_that_waits_is_taken_as_one_batch() -> None:
    proposals = Proposals()
    for data in (b"a", b"b", b"c"):
        proposals.add(data, Client())

    assert (b"a", b"b", b"c") == proposals.take()
    assert () == proposals.take()


def test_an_applied_entry_belongs_to_who_proposed_it() -> None:
    proposals, clients = accepted(first=7, clients=3)

    assert proposals.claim(command(1, 8)) is clients[1]
    assert 2 == len(proposals)


def test_an_entry_of_another_term_at_the_index_means_that_the_command_is_lost() -> None:
    """Trap 40: the outcome is unknown, not failed."""
    proposals, [client] = accepted(first=7, clients=1, term=1)

    assert proposals.claim(command(2, 7)) is None
    assert [("lost", None)] == client.fate


def test_a_command_that_was_proposed_elsewhere_belongs_to_nobody_here() -> None:
    proposals, _ = accepted(first=7, clients=1)

    assert proposals.claim(command(1, 3)) is None


def test_a_rejected_batch_goes_back_with_the_leader_s_name() -> None:
    proposals, client = Proposals(), Client()
    proposals.add(b"", client)
    proposals.take()

    proposals.rejected(Rejected(leader="n2"))

    assert [("rejected", "n2")] == client.fate


def test_losing_the_leadership_tells_everyone_once() -> None:
    proposals, clients = accepted(first=7, clients=2)

    proposals.lose_all("n3")
    proposals.lose_all("n1")

    assert [[("lost", "n3")]] * 2 == [client.fate for client in clients]


def test_a_new_leadership_at_the_same_indexes_loses_what_was_there() -> None:
    proposals, [first] = accepted(first=7, clients=1, term=1)
    second = Client()
    proposals.add(b"", second)
    proposals.take()

    proposals.accepted(Accepted(term=3, first=7, count=1))

    assert [("lost", None)] == first.fate
    assert proposals.claim(command(3, 7)) is second


def test_a_batch_of_another_size_than_was_proposed_is_a_broken_promise() -> None:
    proposals = Proposals()
    proposals.add(b"", Client())
    proposals.take()

    with pytest.raises(InvariantViolated, match="1 commands were proposed and 2 accepted"):
        proposals.accepted(Accepted(term=1, first=1, count=2))
