"""Equal states give equal bytes, in every process and under every hash seed."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from liferaft.errors import ConfigurationError
from liferaft.replicated.state import encoded_state, has_own_state


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
