"""How long the shared log is."""

from liferaft.storage.ledger import WRITE_BYTES, Ledger, size_of


def filled(*sizes: int) -> Ledger:
    ledger = Ledger(step_bytes=100)
    for number, size in enumerate(sizes, start=1):
        ledger.add(number, size)
    return ledger


def test_a_write_counts_more_than_its_data() -> None:
    assert 5 + WRITE_BYTES == size_of(b"12345")


def test_an_empty_log_has_no_length() -> None:
    ledger = filled()

    assert (0, 0, None) == (ledger.held_bytes, ledger.total_bytes, ledger.write_behind(0))


def test_a_step_begins_when_enough_lies_behind_the_last() -> None:
    ledger = Ledger(step_bytes=100)
    begins = [ledger.add(number, 60) for number in range(1, 6)]

    assert [True, False, True, False, True] == begins


def test_the_write_is_found_that_has_so_much_before_it() -> None:
    ledger = filled(*[60] * 10)

    assert [1, 3, 3, 5, 9, None] == [ledger.write_behind(n) for n in (0, 1, 120, 121, 480, 481)]


def test_what_lies_before_the_beginning_does_not_count() -> None:
    ledger = filled(*[60] * 10)
    ledger.begin_at(6)

    assert (360, 600) == (ledger.held_bytes, ledger.total_bytes), "it is known by steps"
    assert 7 == ledger.write_behind(1)
