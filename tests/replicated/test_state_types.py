"""A type is taken when its values come back as what they were, and refused with a reason if not."""

import collections
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NewType, TypeVar

import msgspec
import pytest

from liferaft.errors import ConfigurationError
from liferaft.replicated.state_types import refuse_unfaithful

ThingT = TypeVar("ThingT")
Name = NewType("Name", str)


@dataclass
class Loose:
    payload: Any


class Tree(msgspec.Struct):
    children: "list[Tree]"


class Unsure(msgspec.Struct):
    children: "dict[str, Unsure]"
    lock: threading.Thread | None


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        (Any, "Any does not say"),
        (object, "does not know object"),
        (list, "Any does not say"),
        (list[ThingT], "Any does not say"),  # type: ignore[valid-type] # it is the case tried
        (dict[str, Any], "Any does not say"),
        (list[Loose], "Any does not say"),
        (threading.Thread, "does not know Thread"),
        (dict[str, Unsure], "does not know Thread"),
        (collections.deque[int], "does not know deque"),
        (collections.defaultdict[str, int], "does not know defaultdict"),
        (memoryview, "plain bytes"),
        (list[msgspec.Raw], "plain bytes"),
        (Tree | Loose, "more than one"),
    ],
)
def test_a_type_that_forgets_is_refused_with_the_reason(hint: object, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^Bank\.it could not .*{reason}") as caught:
        refuse_unfaithful("Bank.it", hint)

    assert "annotate the attribute" in str(caught.value)


def test_a_class_of_attrs_with_private_fields_is_refused() -> None:
    """Msgspec leaves them out; the real thing is not among our dependencies."""

    class Account:
        __attrs_attrs__ = (type("Attribute", (), {"name": "_balance"}),)

    from msgspec import inspect

    from liferaft.replicated.state_types import _fault_of

    fault = _fault_of(inspect.DataclassType(cls=Account, fields=()))

    assert fault is not None
    assert "leaves out" in fault


@pytest.mark.parametrize(
    "hint", [float, dict[Name, Tree], Literal[1, 2] | float, Sequence[int], Tree | None]
)
def test_what_msgspec_knows_is_taken(hint: object) -> None:
    refuse_unfaithful("Bank.it", hint)
