"""Equal states give equal bytes, in every process and under every hash seed."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from liferaft.errors import ConfigurationError
from liferaft.replicated.sessions import Session
from liferaft.replicated.state import (
    PIECE_ITEMS,
    encoded_pieces,
    encoded_sessions,
    encoded_state,
    has_own_state,
)


class Holder:
    def __init__(self, value: object) -> None:
        self.value = value


class Shelf(msgspec.Struct):
    titles: set[str]


@dataclass
class Room:
    shelves: list[Shelf] = field(default_factory=list)


def decoded(instance: object) -> Any:
    return msgspec.msgpack.decode(encoded_state("it", instance))


def test_attributes_are_the_state() -> None:
    assert {"value": {1: ["a", None]}} == msgspec.msgpack.decode(
        encoded_state("it", Holder({1: ("a", None)})), type=dict[str, dict[int, list[str | None]]]
    )


def test_a_snapshot_method_says_what_the_state_is() -> None:
    class Careful:
        def __init__(self) -> None:
            self.cache = object()

        def snapshot(self) -> list[int]:
            return [1, 2]

    assert [1, 2] == decoded(Careful())


def test_the_order_of_a_dictionary_is_part_of_the_state() -> None:
    one, other = Holder({"a": 1, "b": 2}), Holder({"b": 2, "a": 1})

    assert encoded_state("it", one) != encoded_state("it", other)


PROGRAM = """
from tests.replicated.test_state import Holder, Room, Shelf
from liferaft.replicated.state import encoded_state
words = {f"word {i}" for i in range(50)}
keys = {(1, frozenset(words)): 1, frozenset(words): 2}
print(encoded_state("it", Holder([words, Room([Shelf(words)]), {"k": frozenset(words)}])).hex())
print(encoded_state("it", Holder(keys)).hex())
"""


def test_the_order_of_a_set_does_not_show() -> None:
    """Two processes under two hash seeds iterate the same set in two orders."""
    states = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert 1 == len(states)


class Slotted:
    __slots__ = ("value",)


class Hollow:
    """Says yes to every attribute, and has none."""

    def __getattr__(self, name: str) -> object:
        return print


@pytest.mark.parametrize("value", [object(), 2**64, "\ud800", Slotted()])
def test_a_state_that_cannot_be_encoded_is_named(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"the state of it \(Holder\) cannot be encoded"):
        encoded_state("it", Holder(value))
    with pytest.raises(ConfigurationError, match=r"the state of it \(Slotted\) cannot be encoded"):
        encoded_state("it", Slotted())


def test_only_the_class_can_say_what_the_state_is() -> None:
    assert not has_own_state(Hollow())
    assert {} == decoded(Hollow())


def _pieces(instance: object) -> list[tuple[str, bytes]]:
    return list(encoded_pieces("Book", instance, {}))


class Pages:
    def __init__(self) -> None:
        self.title = "empty"
        self.pages: dict[int, str] = {}
        self.tags: set[str] = set()
        self.lines: list[str] = []


def test_what_is_compared_comes_in_small_pieces() -> None:
    pages = Pages()
    pages.pages = dict.fromkeys(range(20 * PIECE_ITEMS), "x" * 50)
    pages.lines = ["x" * 50] * (20 * PIECE_ITEMS)

    assert max(len(piece) for _, piece in _pieces(pages)) < 60 * PIECE_ITEMS


@pytest.mark.parametrize(
    "change",
    [
        lambda pages: pages.pages.update({3: "other"}),
        lambda pages: pages.pages.update({3: pages.pages.pop(3)}),
        lambda pages: pages.pages.pop(4999),
        lambda pages: pages.lines.append("more"),
        lambda pages: pages.tags.add("more"),
        lambda pages: setattr(pages, "title", "other"),
        lambda pages: setattr(pages, "more", None),
    ],
)
def test_whatever_differs_shows_in_the_pieces(change: Callable[[Pages], object]) -> None:
    """The order of a dictionary, too, for methods can see it."""
    one, other = Pages(), Pages()
    for pages in (one, other):
        pages.pages = dict.fromkeys(range(5000), "x")
    assert _pieces(one) == _pieces(other)

    change(other)

    assert _pieces(one) != _pieces(other)


def test_the_order_of_attributes_does_not_show_in_the_pieces() -> None:
    """One that a later version of the class added is at the end where a snapshot was restored."""
    one, other = Pages(), Pages()
    title = vars(other).pop("title")
    other.title = title

    assert _pieces(one) == _pieces(other)


def test_the_words_of_an_answer_are_not_compared() -> None:
    """The text of an exception may change with a version of Python; that there was one counts."""

    def sessions(**replies: bytes) -> list[bytes]:
        numbered = {int(number[1:]): reply for number, reply in replies.items()}
        return list(encoded_sessions({b"a" * 16: Session(1.0, 1, numbered)}))

    assert sessions(n1=b"x") == sessions(n1=b"y")
    assert sessions(n1=b"x") != sessions(n2=b"x")


def test_a_class_of_its_own_state_is_compared_by_that() -> None:
    class Own:
        def __init__(self) -> None:
            self.cache = object()

        def snapshot(self) -> list[int]:
            return [1, 2]

        def restore(self, state: list[int]) -> None: ...

    assert _pieces(Own()) == _pieces(Own())
