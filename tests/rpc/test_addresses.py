"""Where a caller turns when a host does not help: pure, with the time as an argument."""

from random import Random

import pytest

from liferaft.errors import AddressError
from liferaft.link.address import Address, parse_address, parse_addresses
from liferaft.rpc.addresses import (
    ADDRESSES_MAX,
    BACKOFF_FIRST,
    BACKOFF_MAX,
    CONNECT_TIMEOUT,
    CONNECT_TIMEOUT_FIRST,
    DISBELIEF_MAX,
    REDIRECTS_AT_ONCE_MAX,
    AddressBook,
)

A, B, C = (parse_address(f"memory:{name}") for name in "abc")


def book_of(*addresses: Address) -> AddressBook:
    return AddressBook(addresses, Random(1))


def test_no_address_is_an_error_that_says_so() -> None:
    with pytest.raises(AddressError, match="no address"):
        book_of()


def test_the_others_are_asked_in_turn_after_a_short_while() -> None:
    book = book_of(*parse_addresses("memory:a,memory:b,memory:c"))

    pauses = [book.turn(0.0, is_gone=True)]
    second = book.current
    pauses.append(book.turn(0.0, is_gone=True))

    assert (B, C) == (second, book.current)
    assert all(BACKOFF_FIRST / 2 <= pause <= BACKOFF_FIRST for pause in pauses)


def test_the_only_address_is_asked_ever_more_seldom() -> None:
    book = book_of(A)
    pauses = [book.turn(0.0, is_gone=True) for _ in range(10)]

    for number, pause in enumerate(pauses):
        ceiling = min(BACKOFF_FIRST * 2**number, BACKOFF_MAX)
        assert ceiling / 2 <= pause <= ceiling


def test_one_that_is_gone_does_not_keep_the_caller_from_the_others() -> None:
    """In a second of an election a client asks the live nodes often and the dead one seldom."""
    book, now = book_of(A, B, C), 0.0
    asked = dict.fromkeys((A, B, C), 0)
    longest = 0.0
    while now < 1.0:
        address = book.current
        asked[address] += 1
        if address != A:
            book.redirected(A)  # they have not noticed yet
        pause = book.turn(now, is_gone=address == A)
        longest = max(longest, pause)
        now += pause

    assert longest < BACKOFF_MAX / 2
    assert min(asked[B], asked[C]) >= 5
    assert sum(asked.values()) < 30


def test_the_one_that_was_left_alone_for_longest_comes_first() -> None:
    book = book_of(A, B, C)
    for _ in range(5):
        book.turn(0.0, is_gone=True, stays=True)
    for _ in range(3):
        book.turn(0.0, is_gone=True)

    assert B == book.current, "A waits ten times as long"


def test_a_host_that_is_named_is_asked_at_once() -> None:
    book = book_of(A, B, C)
    book.redirected(C)

    assert 0.0 == book.turn(5.0, is_gone=False)
    assert C == book.current


def test_a_host_that_was_left_a_moment_ago_is_asked_at_once_when_it_is_named() -> None:
    """It did not lead then, and does now: that it sent the caller away is nothing against it."""
    book = book_of(A, B)
    book.turn(0.0, is_gone=False)
    book.redirected(A)

    assert 0.0 == book.turn(0.001, is_gone=False)
    assert A == book.current


def test_a_host_that_was_gone_a_moment_ago_is_not_asked_at_once_when_it_is_named() -> None:
    book = book_of(A, B, C)
    book.turn(0.0, is_gone=True)
    book.redirected(A)

    assert book.turn(0.001, is_gone=False) > 0.0
    assert C == book.current


def test_it_is_asked_when_it_was_left_alone_for_long_enough() -> None:
    book = book_of(A, B, C)
    book.turn(0.0, is_gone=True)
    book.redirected(A)

    assert 0.0 == book.turn(BACKOFF_FIRST, is_gone=False)
    assert A == book.current


def test_one_that_was_gone_for_long_is_asked_at_once_when_it_is_named() -> None:
    """Somebody has heard of it since."""
    book, now = book_of(A, B), 0.0
    while now < 30.0:
        now += book.turn(now, is_gone=book.current == A)
    if book.current == A:
        now += book.turn(now, is_gone=True)
    now += DISBELIEF_MAX
    book.redirected(A)

    assert 0.0 == book.turn(now, is_gone=False)


def test_hosts_that_name_each_other_are_asked_ever_more_seldom() -> None:
    book, now = book_of(A, B), 0.0
    pauses = []
    for _ in range(20):
        book.redirected(B if book.current == A else A)
        pauses.append(book.turn(now, is_gone=False))
        now += pauses[-1]

    assert [0.0] * REDIRECTS_AT_ONCE_MAX == pauses[:REDIRECTS_AT_ONCE_MAX]
    assert all(pause > 0 for pause in pauses[REDIRECTS_AT_ONCE_MAX:])
    assert pauses[-1] > BACKOFF_MAX / 4


def test_a_loss_ends_a_row_of_redirects() -> None:
    book, now = book_of(A, B), 0.0
    for _ in range(REDIRECTS_AT_ONCE_MAX):
        book.redirected(B if book.current == A else A)
        book.turn(now, is_gone=False)
    now += book.turn(now, is_gone=True)
    book.redirected(C)

    assert 0.0 == book.turn(now, is_gone=False)


def test_who_was_served_begins_anew_with_every_host() -> None:
    """Or a client that outlived many leaders would be slower to find the next one."""
    book, now = book_of(A, B), 0.0
    for _ in range(12):
        now += book.turn(now, is_gone=True)
    book.helped()
    now += BACKOFF_MAX

    asked = [book.current]
    while len(asked) < 4:
        now += book.turn(now, is_gone=True)
        asked.append(book.current)

    assert [A, B, A, B] == asked
    assert book.turn(now, is_gone=True) <= 2 * BACKOFF_FIRST


def test_the_same_host_is_asked_again_where_all_are_alike() -> None:
    book = book_of(A, B)

    pauses = [book.turn(0.0, is_gone=False, stays=True) for _ in range(8)]

    assert A == book.current
    assert pauses[-1] >= BACKOFF_MAX / 2


def test_an_address_beside_others_is_given_little_time_at_first() -> None:
    """Its machine may be gone, and say nothing; or be far away, and need more."""
    alone, book = book_of(A), book_of(A, B)
    alone.turn(0.0, is_gone=True)
    given = list[tuple[Address, float]]()
    for _ in range(6):
        given.append((book.current, book.connect_timeout))
        book.turn(0.0, is_gone=True)

    assert CONNECT_TIMEOUT == alone.connect_timeout
    doubled = 2 * CONNECT_TIMEOUT_FIRST
    assert [(A, 1.0), (B, 1.0), (A, doubled), (B, doubled), (A, 3.0), (B, 3.0)] == given
    book.helped()
    assert CONNECT_TIMEOUT_FIRST == book.connect_timeout


def test_the_others_are_all_but_the_current_one() -> None:
    book = book_of(A, B, C)
    book.turn(0.0, is_gone=True)

    assert [C, A] == book.others


def test_the_current_address_does_not_give_way_to_one_that_is_named() -> None:
    known = [parse_address(f"memory:a{number}") for number in range(ADDRESSES_MAX)]
    book = book_of(*known)
    for _ in known[1:]:
        book.turn(0.0, is_gone=True)
    book.redirected(A)

    assert known[-1] == book.current
    assert [*known[:-2], A] == sorted(book.others, key=[*known, A].index)


def test_redirects_cannot_grow_the_list_for_ever() -> None:
    book = book_of(A)
    for number in range(1000):
        book.redirected(parse_address(f"memory:b{number}"))
        book.turn(0.0, is_gone=False)

    assert ADDRESSES_MAX == len(book.addresses)
    assert A == book.addresses[0]
