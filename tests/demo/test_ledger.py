"""What the clients report is put together, and the gaps are measured."""

from liferaft.demo.ledger import Ledger, Tally
from liferaft.demo.reports import Added, Asked, Completed, Saw, Unknown
from liferaft.ops.verdict import Witness


def test_what_was_asked_and_not_acknowledged_is_unknown() -> None:
    ledger = Ledger(["client 1"])
    ledger.record("client 1", Asked("milk"), 1.0)
    ledger.record("client 1", Added("milk", 1), 1.1)
    ledger.record("client 1", Asked("bread"), 1.2)
    ledger.record("client 1", Unknown("add 'bread'", "DeadlineExceeded"), 11.2)

    assert Witness({"milk": 1}, ("bread",), ()) == ledger.witness()


def test_an_item_whose_client_died_before_the_answer_is_unknown() -> None:
    ledger = Ledger(["client 1"])
    ledger.record("client 1", Asked("milk"), 1.0)

    assert ("milk",) == ledger.witness().unknown


def test_only_acknowledged_writes_count_as_writes() -> None:
    ledger = Ledger(["client 1"])
    ledger.record("client 1", Asked("milk"), 1.0)
    ledger.record("client 1", Added("milk", 1), 2.0)
    ledger.record("client 1", Saw(1, 0), 3.0)
    ledger.record("client 1", Completed(1, "client 1"), 4.0)

    assert [2.0, 4.0] == ledger.acknowledged_at


def test_each_client_has_its_own_tally() -> None:
    ledger = Ledger(["client 1", "client 2"])
    ledger.record("client 1", Added("milk", 1), 1.0)
    ledger.record("client 2", Completed(1, "client 2"), 2.0)
    ledger.record("client 2", Saw(1, 1), 3.0)

    expected = {
        "client 1": Tally(added=1),
        "client 2": Tally(completed=1, sees_items=1, sees_done=1),
    }

    assert expected == ledger.tallies
