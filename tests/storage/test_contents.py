"""Terms and places, against naive twins."""

from random import Random

from liferaft.raft.types import TermRun
from liferaft.storage.contents import Place, Places, Terms


def test_terms_follow_appends_and_replacements() -> None:
    for seed in range(50):
        random = Random(seed)
        terms = Terms(first=11, prior_term=1)
        twin = {10: 1}
        term = 1
        for _ in range(30):
            first = random.randint(max(11, terms.last - 3), terms.last + 1)
            term += random.randint(0, 1)
            last = first + random.randint(0, 3)
            terms.append(term=term, first=first, last=last)
            twin = {index: known for index, known in twin.items() if index < first}
            twin |= dict.fromkeys(range(first, last + 1), term)

            assert max(twin) == terms.last
            assert twin == {index: terms.term_at(index) for index in range(10, terms.last + 1)}


def test_runs_of_the_same_term_are_one() -> None:
    terms = Terms(first=1, prior_term=0)
    terms.append(term=1, first=1, last=3)
    terms.append(term=1, first=4, last=5)
    terms.append(term=4, first=5, last=9)

    assert (TermRun(1, 1), TermRun(4, 5)) == terms.runs


def test_a_gap_and_a_falling_term_are_seen() -> None:
    terms = Terms(first=5, prior_term=2)
    terms.append(term=3, first=5, last=6)

    assert terms.can_append(first=7, term=3)
    assert terms.can_append(first=5, term=2)
    assert not terms.can_append(first=8, term=3)
    assert not terms.can_append(first=7, term=2)
    assert not terms.can_append(first=4, term=3)


def test_places_follow_appends_and_replacements() -> None:
    for seed in range(50):
        random = Random(seed)
        places = Places(first=1)
        twin: dict[int, int] = {}
        for offset in range(1, 30):
            first = random.randint(max(1, places.last - 5), places.last + 1)
            last = first + random.randint(0, 3)
            places.append(Place(first=first, last=last, segment=1, offset=offset, length=10))
            twin = {index: known for index, known in twin.items() if index < first}
            twin |= dict.fromkeys(range(first, last + 1), offset)
            found = {
                index: place.offset
                for place in places.between(1, places.last, 2**40)
                for index in range(place.first, place.last + 1)
            }

            assert twin == found


def make_places() -> Places:
    places = Places(first=1)
    for number in range(5):
        first = number * 2 + 1
        places.append(Place(first, first + 1, segment=number, offset=52, length=100))
    return places


def test_between_stops_at_the_last_or_when_it_is_enough() -> None:
    places = make_places()

    assert [1, 2] == [place.segment for place in places.between(4, 5, 1000)]
    assert [1, 2, 3] == [place.segment for place in places.between(4, 10, 150)]
    assert [4] == [place.segment for place in places.between(10, 99, 1000)]


def test_tail_returns_enough_records_from_the_end() -> None:
    places = make_places()

    assert [4] == [place.segment for place in places.tail(1)]
    assert [3, 4] == [place.segment for place in places.tail(101)]
    assert [0, 1, 2, 3, 4] == [place.segment for place in places.tail(1000)]
    assert [] == Places(first=1).tail(1000)
