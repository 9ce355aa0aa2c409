"""The names of views, and what a stub's reads make of a name and of a call."""

from random import Random
from typing import get_args

import pytest

from liferaft.errors import ConfigurationError, NoSuchObject
from liferaft.link.address import Address
from liferaft.link.memory import MemoryNetwork
from liferaft.rpc.callee import ObjectDispatcher
from liferaft.rpc.interface import Interface
from liferaft.rpc.server import Server
from liferaft.rpc.views import (
    BOUND_KEY,
    ReadKind,
    Reads,
    View,
    Within,
    bound_of,
    parse_reads,
    view_metadata,
    view_suffix,
)


class Clock:
    def now(self) -> float:
        return 0.0


def hosting(*names: str) -> Server:
    server = Server(Address("memory", "here"), network=MemoryNetwork(), random=Random(1))
    for name in names:
        server.host(name, ObjectDispatcher(Clock(), Interface.of(Clock)))
    return server


def test_every_kind_of_reads_but_the_usual_one_has_a_view() -> None:
    kinds: list[Reads] = [*get_args(ReadKind), Within(1.0)]
    suffixes = [view_suffix(kind) for kind in kinds]

    assert ["", *(view.value for view in View)] == sorted(
        suffixes, key=["", *(view.value for view in View)].index
    )


def test_an_unknown_kind_of_reads_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match="'linearizable', 'lease', 'follower', 'stale'"):
        view_suffix("quorum")  # type: ignore[arg-type] # what a user without a type checker writes


def test_the_bound_of_an_answer_s_age_goes_with_every_call() -> None:
    metadata = view_metadata(Within(0.25))

    assert {BOUND_KEY: "0.25"} == metadata
    assert 0.25 == bound_of(metadata)


def test_other_reads_cost_no_metadata() -> None:
    assert [None] * 4 == [view_metadata(kind) for kind in get_args(ReadKind)]


@pytest.mark.parametrize("text", get_args(ReadKind))
def test_a_user_names_a_kind(text: str) -> None:
    assert text == parse_reads(text)


def test_a_user_gives_a_bound() -> None:
    assert Within(0.5) == parse_reads("within:0.5")


@pytest.mark.parametrize("text", ["", "within", "within:", "within:x", "within:-1", "fast"])
def test_what_is_no_kind_of_reads_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_reads(text)


# At a host.


def test_views_are_not_listed() -> None:
    assert ["Clock"] == hosting("Clock", "Clock@stale", "_own").object_names


def test_a_view_of_the_only_object_needs_no_more_than_its_own_name() -> None:
    server = hosting("Clock", "Clock@stale", "_own")

    assert "Clock@stale" == server.find("@stale")[0]
    assert "Clock" == server.find("")[0]


def test_with_several_objects_a_view_must_say_of_which() -> None:
    with pytest.raises(NoSuchObject, match="has Clock, Watch: say which one by name"):
        hosting("Clock", "Clock@stale", "Watch").find("@stale")


def test_a_host_without_views_says_so() -> None:
    with pytest.raises(NoSuchObject, match=r"there is no object 'Clock@stale' .* it has Clock"):
        hosting("Clock").find("@stale")
