"""What nodes say of each other for all their groups, whatever happens to the beats."""

from collections.abc import Mapping
from random import Random

import pytest

from liferaft.cluster.beats import Acquaintance, Beat, Claim, Claims, News

SILENT_MAX = 6


def resting(group: str, term: int = 1, last_index: int = 5) -> Claim:
    return Claim(group, term, last_index, term)


class Side:
    """One of two nodes."""

    def __init__(self, life: int) -> None:
        self.claims = Claims()
        self.other = Acquaintance("other", life, self.claims, SILENT_MAX)


def exchange(a: Side, b: Side) -> tuple[News, News]:
    """Let each hear a beat of the other; return what each learned."""
    at_b = b.other.receive(a.other.beat())
    at_a = a.other.receive(b.other.beat())
    return at_a, at_b


def test_a_claim_is_told_with_the_next_beat() -> None:
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    news = b.other.receive(a.other.beat())

    assert News((resting("g"),), (), is_back=True) == news
    assert {"g": resting("g")} == b.other.claims
    assert b.other.is_alive


def test_a_claim_is_told_again_until_it_is_known_and_then_no_more() -> None:
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    lost, told = a.other.beat(), a.other.beat()
    b.other.receive(told)
    a.other.receive(b.other.beat())

    assert (resting("g"),) == lost.claims == told.claims
    assert () == a.other.beat().claims


def test_what_is_withdrawn_is_told_and_what_was_never_claimed_is_not() -> None:
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    exchange(a, b)
    exchange(a, b)
    a.claims.withdraw("g")
    a.claims.withdraw("other")
    _, news = exchange(a, b)

    assert News((), ("g",)) == news
    assert {} == b.other.claims


def test_a_beat_that_was_overtaken_or_repeated_says_nothing() -> None:
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    early = a.other.beat()
    a.claims.withdraw("g")
    late = a.other.beat()
    b.other.receive(late)

    assert News() == b.other.receive(early) == b.other.receive(late)
    assert {} == b.other.claims


def test_who_starts_anew_has_claimed_nothing_and_knows_nothing() -> None:
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    exchange(a, b)
    exchange(a, b)
    a_again, b_again = Side(3), Side(4)
    _, news = exchange(a_again, b)
    b_again.other.receive(a.other.beat())  # changes to what this life never heard
    a.other.receive(b_again.other.beat())
    b_again.other.receive(a.other.beat())

    assert News((), ("g",), is_back=True) == news
    assert {"g": resting("g")} == b_again.other.claims


def test_a_beat_that_could_not_be_understood_vouches_for_nothing() -> None:
    """Of what the other one claims it is not known then what still holds."""
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    exchange(a, b)
    exchange(a, b)
    b_again = Side(3)
    news = b_again.other.receive(a.other.beat())

    assert News() == news
    assert not b_again.other.is_alive


def test_who_is_silent_for_some_beats_is_taken_for_dead_and_a_beat_brings_it_back() -> None:
    a, b = Side(1), Side(2)
    _, first = exchange(a, b)
    for _ in range(SILENT_MAX - 2):
        b.other.beat()
    is_alive = b.other.is_alive
    _, second = exchange(a, b)
    for _ in range(SILENT_MAX):
        b.other.beat()
    is_alive_later = b.other.is_alive
    _, third = exchange(a, b)

    assert [True, False, True] == [news.is_back for news in (first, second, third)]
    assert [True, False] == [is_alive, is_alive_later]


def test_an_answer_counts_by_the_beat_that_it_answers() -> None:
    a, b = Side(1), Side(2)
    b.other.receive(a.other.beat())
    a.other.beat()
    a.other.beat()
    unanswered = a.other.unanswered_for
    a.other.receive(b.other.beat())

    assert SILENT_MAX <= unanswered
    assert 2 == a.other.unanswered_for


def test_an_answer_to_an_earlier_life_counts_for_nothing() -> None:
    a, b = Side(1), Side(2)
    exchange(a, b)
    a_again = Side(3)
    a_again.other.beat()
    a_again.other.receive(b.other.beat())

    assert SILENT_MAX <= a_again.other.unanswered_for


class Die:
    """Two nodes, of which the first claims, and what is on its way between them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.understood = 0
        self._lives = 1
        self._claimed: dict[str, Claim] = {}
        self._to_a: list[tuple[Beat, Mapping[str, Claim]]] = []
        self._to_b: list[tuple[Beat, Mapping[str, Claim]]] = []
        self._a, self._b = Side(0), Side(1)

    def throw(self) -> None:
        """Do one thing of all that can happen; mostly something arrives."""
        rare = [self._claim, self._claim, self._withdraw, self._send_to_b, self._send_to_a] * 5
        often = [self._arrive_at_b, self._arrive_at_a] * 10
        self.random.choice([*rare, *often, self._restart_a, self._restart_b])()

    def _claim(self) -> None:
        claim = resting(self.random.choice("xyz"), self.random.randint(1, 3))
        self._claimed[claim.group] = claim
        self._a.claims.claim(claim)

    def _withdraw(self) -> None:
        group = self.random.choice("xyz")
        self._claimed.pop(group, None)
        self._a.claims.withdraw(group)

    def _restart_a(self) -> None:
        self._lives += 1
        self._a, self._claimed = Side(self._lives), {}

    def _restart_b(self) -> None:
        self._lives += 1
        self._b = Side(self._lives)

    def _send_to_b(self) -> None:
        self._to_b.append((self._a.other.beat(), dict(self._claimed)))

    def _send_to_a(self) -> None:
        self._to_a.append((self._b.other.beat(), {}))

    def _arrive_at_a(self) -> None:
        for beat, _ in self._arriving(self._to_a):
            self._a.other.receive(beat)

    def _arrive_at_b(self) -> None:
        for beat, claimed_then in self._arriving(self._to_b):
            self._b.other.silent_for = max(1, self._b.other.silent_for)
            self._b.other.receive(beat)
            if self._b.other.silent_for == 0:
                self.understood += 1
                assert claimed_then == self._b.other.claims

    def _arriving(
        self, way: list[tuple[Beat, Mapping[str, Claim]]]
    ) -> list[tuple[Beat, Mapping[str, Claim]]]:
        if not way:
            return []
        position = self.random.randrange(len(way))
        is_repeated = self.random.random() < 0.2
        return [way[position] if is_repeated else way.pop(position)]


@pytest.mark.parametrize("seed", range(100))
def test_what_is_known_is_what_was_claimed_when_the_last_beat_left(seed: int) -> None:
    """Beats are repeated and overtaken at will, and both ends start anew."""
    die = Die(seed)
    for _ in range(500):
        die.throw()

    assert die.understood > 5
