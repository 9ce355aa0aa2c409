"""What nodes say of each other for all their groups, whatever happens to the beats."""

from collections.abc import Mapping
from random import Random

import pytest

from liferaft.cluster.beats import UNANSWERED_MAX, Acquaintance, Beat, Claims, News, Resting

SILENCE = 0.3


def resting(group: str, term: int = 1, last_index: int = 5) -> Resting:
    return Resting(group, term, last_index, term)


class Side:
    """One of two nodes."""

    def __init__(self, life: int) -> None:
        self.claims = Claims()
        self.other = Acquaintance("other", life, self.claims, SILENCE)


def exchange(a: Side, b: Side, now: float) -> tuple[News, News]:
    """Let each hear a beat of the other; return what each learned."""
    at_b = b.other.receive(a.other.beat(now), now)
    at_a = a.other.receive(b.other.beat(now), now)
    return at_a, at_b


def test_a_claim_is_told_with_the_next_beat() -> None:
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    news = b.other.receive(a.other.beat(1.0), 1.1)

    assert News((resting("g"),), (), is_back=True) == news
    assert {"g": resting("g")} == b.other.claims
    assert 1.1 == b.other.heard_at


def test_a_claim_is_told_again_until_it_is_known_and_then_no_more() -> None:
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    lost, told = a.other.beat(1.0), a.other.beat(1.1)
    b.other.receive(told, 1.1)
    a.other.receive(b.other.beat(1.1), 1.1)

    assert (resting("g"),) == lost.resting == told.resting
    assert () == a.other.beat(1.2).resting


def test_what_is_withdrawn_is_told_and_what_was_never_claimed_is_not() -> None:
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    exchange(a, b, 1.0)
    exchange(a, b, 1.1)
    a.claims.withdraw("g")
    a.claims.withdraw("other")
    _, news = exchange(a, b, 1.2)

    assert News((), ("g",)) == news
    assert {} == b.other.claims


def test_a_beat_that_was_overtaken_or_repeated_says_nothing() -> None:
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    early = a.other.beat(1.0)
    a.claims.withdraw("g")
    late = a.other.beat(1.1)
    b.other.receive(late, 1.1)

    assert News() == b.other.receive(early, 1.2) == b.other.receive(late, 1.2)
    assert ({}, 1.1) == (b.other.claims, b.other.heard_at)


def test_who_starts_anew_has_claimed_nothing_and_knows_nothing() -> None:
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    exchange(a, b, 1.0)
    exchange(a, b, 1.1)
    a_again, b_again = Side(3), Side(4)
    _, news = exchange(a_again, b, 1.2)
    b_again.other.receive(a.other.beat(1.2), 1.2)  # changes to what this life never heard
    a.other.receive(b_again.other.beat(1.3), 1.3)
    b_again.other.receive(a.other.beat(1.4), 1.4)

    assert News((), ("g",), is_back=True) == news
    assert {"g": resting("g")} == b_again.other.claims


def test_a_beat_that_could_not_be_understood_vouches_for_nothing() -> None:
    """Of what the other one claims it is not known then what still holds."""
    a, b = Side(1), Side(2)
    a.claims.claim(resting("g"))
    exchange(a, b, 1.0)
    exchange(a, b, 1.1)
    b_again = Side(3)
    news = b_again.other.receive(a.other.beat(1.2), 1.2)

    assert News() == news
    assert not b_again.other.is_alive(1.2)


def test_silence_ends_the_life_that_is_seen_and_a_beat_brings_it_back() -> None:
    a, b = Side(1), Side(2)
    _, first = exchange(a, b, 1.0)
    _, second = exchange(a, b, 1.2)
    alive = [b.other.is_alive(now) for now in (1.2, 1.49, 1.51)]
    _, third = exchange(a, b, 2.0)

    assert [True, False, True] == [news.is_back for news in (first, second, third)]
    assert [True, True, False] == alive


def test_an_answer_counts_from_when_the_beat_left() -> None:
    a, b = Side(1), Side(2)
    b.other.receive(a.other.beat(1.0), 1.2)
    a.other.beat(1.1)
    a.other.receive(b.other.beat(1.3), 1.4)

    assert 1.0 == a.other.answered_at


def test_an_answer_to_an_earlier_life_counts_for_nothing() -> None:
    a, b = Side(1), Side(2)
    exchange(a, b, 1.0)
    a_again = Side(3)
    a_again.other.beat(1.1)
    a_again.other.receive(b.other.beat(1.2), 1.2)

    assert float("-inf") == a_again.other.answered_at


def test_beats_that_nobody_answers_are_forgotten() -> None:
    a, b = Side(1), Side(2)
    first = a.other.beat(0.0)
    for number in range(UNANSWERED_MAX):
        a.other.beat(1.0 + number)
    b.other.receive(first, 99.0)
    a.other.receive(b.other.beat(99.0), 99.0)

    assert float("-inf") == a.other.answered_at


class Die:
    """Two nodes, of which the first claims, and what is on its way between them."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 0.0
        self.understood = 0
        self._lives = 1
        self._claimed: dict[str, Resting] = {}
        self._to_a: list[tuple[Beat, Mapping[str, Resting]]] = []
        self._to_b: list[tuple[Beat, Mapping[str, Resting]]] = []
        self._a, self._b = Side(0), Side(1)

    def throw(self) -> None:
        """Do one thing of all that can happen; mostly something arrives."""
        self.now += 0.01
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
        self._to_b.append((self._a.other.beat(self.now), dict(self._claimed)))

    def _send_to_a(self) -> None:
        self._to_a.append((self._b.other.beat(self.now), {}))

    def _arrive_at_a(self) -> None:
        for beat, _ in self._arriving(self._to_a):
            self._a.other.receive(beat, self.now)

    def _arrive_at_b(self) -> None:
        for beat, claimed_then in self._arriving(self._to_b):
            self._b.other.receive(beat, self.now)
            if self._b.other.heard_at == self.now:
                self.understood += 1
                assert claimed_then == self._b.other.claims

    def _arriving(
        self, way: list[tuple[Beat, Mapping[str, Resting]]]
    ) -> list[tuple[Beat, Mapping[str, Resting]]]:
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
